"""Which steps of a plan can be taken back, and in what order; pure, from plan and journal alone."""

from collections.abc import Iterable, Sequence

from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.plan import Plan, PlanStep


def undoable(plan: Plan, executions: Sequence[Execution]) -> tuple[int, ...]:
    """Return the numbers of the steps still to be undone, in the order in which to do it.

    Those that have finished, have an undo and were not undone yet, the last one first.
    """
    ran, undone = _finished(plan, executions, is_undo=False), _undone(plan, executions)
    steps = (step for step in plan.steps if step.undo is not None and step.number in ran - undone)
    return tuple(sorted((step.number for step in steps), reverse=True))


def lasting(plan: Plan, executions: Sequence[Execution]) -> tuple[PlanStep, ...]:
    """Return the steps that may have changed something that no undo of ours takes back."""
    begun = {row.step for row in _rows(plan, executions, is_undo=False) if row.started_at}
    undone = _undone(plan, executions)
    return tuple(step for step in plan.steps if step.number in begun - undone)


def describe_taking_back(plan: Plan, executions: Sequence[Execution]) -> str:
    """Return what was undone and what was not, a sentence or two for a human."""
    undone = sorted(_undone(plan, executions), reverse=True)
    said = [f"undone: {_numbers(undone)}"] if undone else ["nothing was undone"]
    for step in lasting(plan, executions):
        why = "its undo has not finished" if step.undo else "has no undo"
        said.append(f"step {step.number} ({step.action.kind}): {why}")
    return "; ".join(said)


def _undone(plan: Plan, executions: Sequence[Execution]) -> set[int]:
    return _finished(plan, executions, is_undo=True)


def _finished(plan: Plan, executions: Sequence[Execution], *, is_undo: bool) -> set[int]:
    rows = _rows(plan, executions, is_undo=is_undo)
    return {row.step for row in rows if row.state is StepState.FINISHED}


def _rows(plan: Plan, executions: Sequence[Execution], *, is_undo: bool) -> Iterable[Execution]:
    return (r for r in executions if r.plan_id == plan.id and r.is_undo is is_undo)


def _numbers(steps: Sequence[int]) -> str:
    return f"step{'s' if len(steps) > 1 else ''} {', '.join(str(number) for number in steps)}"
