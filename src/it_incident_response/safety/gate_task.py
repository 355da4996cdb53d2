"""What the gate works on: one step of the stored plan, its typed action and its journal rows."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from it_incident_response.domain.action import Action, ActionRecord
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.errors import (
    ActionError,
    ActionInDoubt,
    ApprovalRequired,
    Conflict,
    IncidentHalted,
    NotFound,
    PolicyDenied,
)
from it_incident_response.safety.judge import SafetyStore
from it_incident_response.safety.site import BY_HAND

_HANGING = (StepState.STARTED, StepState.IN_DOUBT)

ATTEMPTS_MAX = 5
"""Attempts at a step of which none began, before the last one's failure is final."""


@dataclass(frozen=True)
class GateTask:
    """One step to run, or to undo."""

    plan: Plan
    """As stored."""
    step: PlanStep
    """As stored; for an undo, what the undo does, under the number of its step."""
    action: Action
    is_undo: bool
    rows: tuple[Execution, ...]
    """The journal of this very plan, oldest first."""

    @property
    def holder(self) -> str:
        """Who holds the lock on the target: the incident, so that its next worker may go on."""
        return f"incident {self.plan.incident_id}"

    @property
    def latest(self) -> Execution | None:
        """The last attempt at this step, if there was any."""
        return self._latest(self.step.number, is_undo=self.is_undo)

    @property
    def intentions(self) -> tuple[str, ...]:
        """Keys of the intention that a worker left behind: it is ours, and no action of others."""
        row = self.latest
        return (row.key,) if row is not None and row.state is StepState.INTENDED else ()

    def outcome(self, *, is_rehearsal: bool, running: Collection[str]) -> Execution | None:
        """Return the row of a step that has ended, or None if it may be begun.

        Raises `Conflict` while it is running, `ActionInDoubt` if nobody knows how it ended.
        """
        row = self.latest
        if row is None or row.state is StepState.INTENDED:
            return None
        if row.key in running:
            raise Conflict(f"step {self.step.number} is being run at this moment")
        if row.state in (StepState.STARTED, StepState.IN_DOUBT):
            raise ActionInDoubt(
                f"step {self.step.number} was started, and nobody knows how it ended",
                hint="it is never run again by itself: look at the target, then settle it",
            )
        if row.state is StepState.DRY_RUN:
            return row if is_rehearsal else None
        certainly_nothing_ran = row.state is StepState.FAILED and row.started_at is None
        return None if certainly_nothing_ran and row.attempt < ATTEMPTS_MAX else row

    def require_order(self, *, is_rehearsal: bool) -> None:
        """Raise `ActionError` unless what has to come first has succeeded."""
        if self.is_undo:
            self._require_undo_order()
            return
        self._require_not_taken_back()
        good = {StepState.FINISHED} | ({StepState.DRY_RUN} if is_rehearsal else set())
        for earlier in self.plan.steps:
            if earlier.number >= self.step.number:
                continue
            row = self._latest(earlier.number, is_undo=False)
            if row is None or row.state not in good:
                state = row.state if row is not None else "not run"
                raise ActionError(
                    f"step {self.step.number} has to wait for step {earlier.number}: it is {state}"
                )

    def _require_not_taken_back(self) -> None:
        """A plan of which anything was undone, or was about to be, is over."""
        for row in self.rows:
            if row.is_undo and row.state is not StepState.DRY_RUN:
                raise ActionError(
                    f"plan {self.plan.id} is being taken back: step {row.step} was to be undone",
                    hint="have the incident planned again",
                )

    def _require_undo_order(self) -> None:
        """What is undone has ended, nothing else hangs, and what came after it was undone first."""
        number = self.step.number
        done = self._latest(number, is_undo=False)
        if done is None or done.started_at is None:
            raise ActionError(f"step {number} was never run: nothing to undo")
        hanging = next((r for r in self.rows if r.state in _HANGING and not self._is_own(r)), None)
        if hanging is not None:
            raise ActionInDoubt(
                f"step {number} is not undone while nobody knows how step {hanging.step} ended",
                hint="look at its target, then settle it",
            )
        for later in self.plan.steps:
            ran = self._latest(later.number, is_undo=False)
            if later.number <= number or later.undo is None or ran is None:
                continue
            undone = self._latest(later.number, is_undo=True)
            if ran.state is StepState.FINISHED and not _is_finished(undone):
                raise ActionError(f"step {later.number} has to be undone before step {number}")

    def _is_own(self, row: Execution) -> bool:
        return row.step == self.step.number and row.is_undo

    def row(self, state: StepState, row_id: str, now: datetime) -> Execution:
        """Return the journal row of the next attempt."""
        latest = self.latest
        attempt = latest.attempt + 1 if latest is not None else 1
        digest = self.plan.digest
        key = f"{self.plan.incident_id}/{digest}/{self.step.number}/{attempt}"
        return Execution(
            id=row_id,
            key=f"{key}/undo" if self.is_undo else key,
            incident_id=self.plan.incident_id,
            plan_id=self.plan.id,
            plan_digest=digest,
            step=self.step.number,
            attempt=attempt,
            action=self.action.record(),
            target=self.step.target,
            host=self.step.host,
            state=state,
            intended_at=now,
            is_undo=self.is_undo,
        )

    @property
    def ran_until(self) -> datetime | None:
        """When the step that is to be undone ended; None for a step that is to be run."""
        done = self._latest(self.step.number, is_undo=False) if self.is_undo else None
        return done.ended_at if done is not None else None

    def _latest(self, number: int, *, is_undo: bool) -> Execution | None:
        own = [r for r in self.rows if r.step == number and r.is_undo is is_undo]
        return max(own, key=lambda row: row.attempt, default=None)


async def read_task(
    store: SafetyStore,
    plan: Plan,
    step: PlanStep,
    parse: Callable[[ActionRecord], Action],
    *,
    is_undo: bool,
) -> GateTask:
    """Return the task as the record has it now.

    Raises `ApprovalRequired` if plan or step are not those in the record, or the step is not what
    its action says of itself; and what `parse` raises.
    """
    try:
        stored = await store.plan(plan.id)
    except NotFound:
        raise ApprovalRequired(f"plan {plan.id} is not in the record") from None
    listed = next((s for s in stored.steps if s.number == step.number), None)
    if stored.digest != plan.digest or listed is None or _bare(listed) != _bare(step):
        raise ApprovalRequired(f"step {step.number} of plan {plan.id} is not the one in the record")
    if listed.executor == BY_HAND:
        raise ActionError(f"step {step.number} is carried out by a person, not by us")
    action = parse(listed.action)
    _require_truthful(listed, action)
    if is_undo:
        if listed.undo is None:
            raise ActionError(f"step {step.number} cannot be undone")
        action = parse(listed.undo)
        listed = described_step(action, number=step.number)
    rows = await store.executions_of(stored.incident_id)
    own = tuple(row for row in rows if row.plan_digest == stored.digest)
    return GateTask(plan=stored, step=listed, action=action, is_undo=is_undo, rows=own)


async def require_standing(store: SafetyStore, plan: Plan) -> None:
    """Raise `PolicyDenied` or `IncidentHalted` unless this plan is still to be acted on."""
    incident = await store.incident(plan.incident_id)
    if not incident.status.is_open:
        raise PolicyDenied(f"incident {incident.key} is {incident.status}: nothing to repair")
    if incident.halt is not None:
        raise IncidentHalted(
            f"incident {incident.key} is not acted on: {incident.halt}",
            hint="it is again once it has been diagnosed afresh",
        )
    if plan.episode != incident.episode:
        raise IncidentHalted(
            f"plan {plan.id} is of an earlier episode of incident {incident.key}",
            hint="have the incident planned again",
        )


def described_step(action: Action, *, number: int = 0) -> PlanStep:
    """Return a step that says of an action what the action says of itself."""
    return PlanStep(
        number=number,
        action=action.record(),
        executor=action.executor,
        target=action.target,
        host=action.host,
        commands=action.commands(),
        description=action.describe(),
        risk=action.risk,
        reversibility=action.reversibility,
    )


def _require_truthful(step: PlanStep, action: Action) -> None:
    """A plan that calls a risky action harmless, or names another target, is refused."""
    said = (step.action.kind, step.executor, step.target, step.host, step.risk, step.reversibility)
    true = (
        action.kind,
        action.executor,
        action.target,
        action.host,
        action.risk,
        action.reversibility,
    )
    if said != true:
        raise ApprovalRequired(
            f"step {step.number} is described wrongly: {action.kind} is not what the plan says",
            hint="have the incident planned again",
        )


def _is_finished(row: Execution | None) -> bool:
    return row is not None and row.state is StepState.FINISHED


def _bare(step: PlanStep) -> PlanStep:
    """The step without what its digest leaves out."""
    return step.model_copy(update={"policy": "", "notes": ()})
