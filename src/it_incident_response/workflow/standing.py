"""Where an incident stands and why, in plain words: pure, from the record and what it asks for."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from it_incident_response.domain.approval import Approval, Notice, NoticeKind
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.workflow.stages import Next, Record, Stage

ERROR_SHOWN = 300
"""Characters of a failure's text in a sentence; the record and the engine have all of it."""


class EngineStatus(StrEnum):
    """What the engine knows of an incident's workflow."""

    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"
    """There was none, or the engine has forgotten it."""
    UNREACHABLE = "unreachable"
    """The engine could not be asked."""


class PendingActivity(Value):
    """Something that the engine has handed to a worker, or will again after a failure."""

    activity: str
    attempt: int = 1
    last_failure: str | None = None
    next_attempt_at: UtcTime | None = None
    """None while it runs, or waits for a worker."""
    queue: str | None = None


class EngineState(Value):
    """An incident's workflow as the engine sees it."""

    status: EngineStatus
    run_id: str | None = None
    pending: tuple[PendingActivity, ...] = ()
    started_at: UtcTime | None = None
    history_length: int | None = None
    waits_for: str | None = None
    """What the workflow itself says it waits for; None if it was not asked, or is working."""
    looks_again_at: UtcTime | None = None


class EngineLook(Protocol):
    """Asks the engine about workflows."""

    async def __call__(self, ids: Sequence[IncidentId]) -> Mapping[IncidentId, EngineState]:
        """Return the state of each; `unreachable` for what cannot be asked, without raising.

        An embedded engine that nobody runs knows none.
        """
        ...


class Refusal(Value):
    """Why the gate did not let a step begin: a limit, a freeze, a locked target..."""

    at: UtcTime
    reason: str


class Situation(Value):
    """Where one incident stands."""

    headline: str
    """One sentence, without its stop."""
    details: tuple[str, ...] = ()
    """What else a person wants to know, most important first."""


def situation(
    record: Record,
    step: Next,
    now: datetime,
    *,
    approvers: str = "anybody with a role",
    refusal: Refusal | None = None,
    engine: EngineState | None = None,
) -> Situation:
    """Return in words where the incident stands; `step` is what the record asks for next.

    `approvers` names who may approve its plan; `refusal` is why a step could not begin last.
    """
    headline = _stopped(record, now) or _by_stage(record, step, now, approvers)
    if refusal is not None and step.stage in (Stage.EXECUTE, Stage.ROLL_BACK):
        again = _again(engine, now)
        headline += f"; refused at {clock_time(refusal.at, now)}, {refusal.reason}{again}"
    return Situation(headline=headline, details=tuple(_details(record, step, now, engine)))


def clock_time(moment: datetime, now: datetime) -> str:
    """Return a UTC time of day, with its date unless that is today's."""
    is_today = moment.date() == now.date()
    return f"{moment:%H:%M:%SZ}" if is_today else f"{moment:%Y-%m-%d %H:%M:%SZ}"


def told_so_far(notices: Sequence[Notice]) -> str:
    """Return how often people were reminded and to whom it was escalated; empty if neither."""
    reminders = sum(notice.kind is NoticeKind.REMINDED for notice in notices)
    times = {0: "", 1: "reminded once", 2: "reminded twice"}.get(
        reminders, f"reminded {reminders} times"
    )
    names = [notice.to for notice in notices if notice.kind is NoticeKind.ESCALATED and notice.to]
    escalated = f"escalated to {', '.join(names)}" if names else ""
    return ", ".join(part for part in (times, escalated) if part)


def _stopped(record: Record, now: datetime) -> str | None:
    incident = record.incident
    if not incident.halt or not incident.status.is_open:
        return None
    running = _started(record)
    if running is None:
        return f"stopped, {incident.halt}"
    return f"being stopped, {incident.halt}; {_running(record, running, now)}"


def _by_stage(record: Record, step: Next, now: datetime, approvers: str) -> str:
    running = _started(record)
    if running is not None:
        return _running(record, running, now)
    if step.stage is Stage.AWAIT_APPROVAL and record.approval is not None:
        return _waiting(record.approval, now, approvers)
    return _ABOUT_TO[step.stage].format(
        reason=step.reason,
        step=_step_words(record, step),
        until=_until(step, now),
    )


_ABOUT_TO: Mapping[Stage, str] = {
    Stage.RECOVER: "finding out how a step ended: {reason}",
    Stage.CONFIRM_RECOVERY: "making sure that it is over: {reason}",
    Stage.DIAGNOSE: "being diagnosed: {reason}",
    Stage.PLAN: "being planned: {reason}",
    Stage.AWAIT_APPROVAL: "{reason}{until}",
    Stage.EXECUTE: "{step} is next: {reason}{until}",
    Stage.VERIFY: "checking whether the fix helped: {reason}",
    Stage.ROLL_BACK: "{step} is being undone: {reason}",
    Stage.ESCALATE: "about to be handed to a human: {reason}",
    Stage.WRITE_UP: "{reason}; what happened is being written up",
    Stage.REST: "{reason}{until}",
}


def _until(step: Next, now: datetime) -> str:
    if step.not_before is None or step.not_before <= now:
        return ""
    return f"; tries again at {clock_time(step.not_before, now)}"


def _again(engine: EngineState | None, now: datetime) -> str:
    if engine is None or engine.looks_again_at is None or engine.looks_again_at <= now:
        return ""
    return f"; tries again at {clock_time(engine.looks_again_at, now)}"


def _step_words(record: Record, step: Next) -> str:
    if step.step is None or record.plan is None:
        return "the plan"
    return f"step {step.step} of {len(record.plan.steps)}"


def _started(record: Record) -> Execution | None:
    return next((e for e in record.executions if e.state is StepState.STARTED), None)


def _running(record: Record, row: Execution, now: datetime) -> str:
    plan = record.plan
    is_of_plan = plan is not None and plan.id == row.plan_id
    of = f" of {len(plan.steps)}" if plan is not None and is_of_plan else ""
    what = "the undo of step" if row.is_undo else "step"
    where = f" on {row.host or row.target}"
    since = f" since {clock_time(row.started_at, now)}" if row.started_at else ""
    return f"{what} {row.step}{of} is running{where}{since}"


def _waiting(approval: Approval, now: datetime, approvers: str) -> str:
    told = told_so_far(approval.notices)
    return (
        f"waiting for {approvers} to approve plan {approval.plan_digest[:12]}, "
        f"since {clock_time(approval.requested_at, now)}, "
        f"denied at {clock_time(approval.expires_at, now)}" + (f"; {told}" if told else "")
    )


def _details(
    record: Record, step: Next, now: datetime, engine: EngineState | None
) -> Iterator[str]:
    incident = record.incident
    if incident.status.is_open and (incident.halt or incident.escalation):
        yield from _with_human(record)
    if step.stage is Stage.AWAIT_APPROVAL and record.approval is not None:
        yield f"decide: iir approvals show {record.approval.id}"
    for row in record.executions:
        if row.state is StepState.IN_DOUBT:
            yield _in_doubt(incident.key, row)
    if engine is not None:
        yield from _engine_lines(engine, now)


def _with_human(record: Record) -> Iterator[str]:
    incident = record.incident
    if incident.assignee:
        yield f"{incident.assignee} has it"
    else:
        yield f"nobody has taken it: iir incidents take-over {incident.key}"
    if incident.halt and incident.escalation and incident.halt != incident.escalation:
        yield f"it was handed to a human: {incident.escalation}"
    yield f"to have it diagnosed afresh: iir incidents rediagnose {incident.key}"


def _in_doubt(key: str, row: Execution) -> str:
    return (
        f"nobody knows whether step {row.step} took effect on {row.host or row.target}: look, then "
        f"iir incidents settle {key} {row.step} --took-effect (or --no-effect) --reason ..."
    )


def _engine_lines(engine: EngineState, now: datetime) -> Iterator[str]:
    if engine.status is EngineStatus.UNREACHABLE:
        yield "the engine cannot be reached, so nothing moves until it is back"
        return
    since = f" since {clock_time(engine.started_at, now)}" if engine.started_at else ""
    if engine.status is EngineStatus.RUNNING:
        length = f", {engine.history_length} events of history" if engine.history_length else ""
        yield f"its workflow is running{since} (run {engine.run_id or 'unknown'}{length})"
    elif engine.status is EngineStatus.ENDED:
        yield f"its workflow has ended (run {engine.run_id or 'unknown'})"
    else:
        yield "it has no workflow; a worker starts one when the incident is due"
    if engine.waits_for:
        yield f"it waits: {engine.waits_for}{_again(engine, now)}"
    for activity in engine.pending:
        yield _pending(activity, now)


def _pending(activity: PendingActivity, now: datetime) -> str:
    queue = f" on queue {activity.queue}" if activity.queue else ""
    if activity.last_failure is None:
        return f"{activity.activity} is under way{queue}, attempt {activity.attempt}"
    again = (
        f"; tries again at {clock_time(activity.next_attempt_at, now)}"
        if activity.next_attempt_at
        else f"; attempt {activity.attempt} is under way"
    )
    return f"{activity.activity}{queue} failed: {activity.last_failure[:ERROR_SHOWN]}{again}"
