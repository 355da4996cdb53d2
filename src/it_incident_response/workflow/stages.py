"""Which stage an incident needs next, judged from the record alone: pure, so any worker agrees."""

from datetime import timedelta
from enum import StrEnum

from it_incident_response.agents.undoing import describe_taking_back, undoable
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.verification import Verification, VerificationResult
from it_incident_response.safety.gate_task import ATTEMPTS_MAX
from it_incident_response.safety.lateness import is_misdated

_INVESTIGATING = IncidentStatus.INVESTIGATING

RETRY_S = 5.0
"""Before the second attempt at a step whose target could not be reached; then doubled each time."""


class Stage(StrEnum):
    """What has to be done next for an incident."""

    RECOVER = "recover"
    """A step was started and its end was never recorded: look before anything else."""
    CONFIRM_RECOVERY = "confirm_recovery"
    """Every alert has resolved: verify, then resolve."""
    DIAGNOSE = "diagnose"
    PLAN = "plan"
    AWAIT_APPROVAL = "await_approval"
    EXECUTE = "execute"
    VERIFY = "verify"
    ROLL_BACK = "roll_back"
    """A step failed, or the fix did not help: undo what can be undone."""
    ESCALATE = "escalate"
    WRITE_UP = "write_up"
    """It is over: record what happened, in short."""
    REST = "rest"
    """Nothing to do until something new happens."""


class Record(Value):
    """Everything stored about one incident that decides what comes next."""

    incident: Incident
    alerts: tuple[Alert, ...] = ()
    diagnosis: Diagnosis | None = None
    diagnosed_alerts: frozenset[str] = frozenset()
    """Fingerprints that the last diagnosis had seen."""
    plan: Plan | None = None
    """The newest of the incident's current episode: what came before it came back is over."""
    planned_for: Diagnosis | None = None
    """The diagnosis that the plan was made for."""
    approval: Approval | None = None
    executions: tuple[Execution, ...] = ()
    """Of the current plan, and any that still hangs of an earlier one, oldest first."""
    verification: Verification | None = None
    """Of the current plan."""


class Next(Value):
    """The next stage and why."""

    stage: Stage
    reason: str
    not_before: UtcTime | None = None
    step: int | None = None
    """Number of the plan's step to run or to undo."""


def next_stage(record: Record, now: UtcTime, *, refresh_s: float) -> Next:
    """Return the stage that the record asks for.

    `refresh_s` is the least time between two diagnoses when alerts keep joining.
    """
    incident = record.incident
    if _has(record, StepState.STARTED):
        return Next(stage=Stage.RECOVER, reason="a step was started and its end is unknown")
    if not incident.status.is_open:
        return _when_over(incident)
    if incident.status is IncidentStatus.RESOLVING:
        return _while_resolving(record, now)
    if _all_alerts_resolved(record):
        return Next(stage=Stage.CONFIRM_RECOVERY, reason="every alert has resolved")
    return _before_resolving(record, now, refresh_s)


def _when_over(incident: Incident) -> Next:
    if incident.written_up_at is None:
        return Next(stage=Stage.WRITE_UP, reason=f"it is {incident.status}")
    return Next(stage=Stage.REST, reason=f"it is {incident.status}")


def _while_resolving(record: Record, now: UtcTime) -> Next:
    if record.plan is None:
        return Next(stage=Stage.ESCALATE, reason="it is being resolved by hand, without a plan")
    obstacle = _obstacle(record)
    if obstacle is not None:
        return Next(stage=Stage.ESCALATE, reason=obstacle)
    failure = _failure(record, now)
    if failure is not None:
        return failure
    step = _step_to_run(record, record.plan)
    if step is not None:
        return Next(stage=Stage.EXECUTE, reason="the plan is approved and not finished", step=step)
    return _when_all_ran(record)


def _obstacle(record: Record) -> str | None:
    """Return why only a human can go on, or None."""
    if record.incident.halt:
        return record.incident.halt
    if _has(record, StepState.IN_DOUBT):
        return "nobody knows whether a step took effect"
    return "dry run: nothing was changed" if _has(record, StepState.DRY_RUN) else None


def _when_all_ran(record: Record) -> Next:
    if record.verification is None:
        return Next(stage=Stage.VERIFY, reason="every step has run")
    result, reason = record.verification.result, record.verification.reason
    if result is VerificationResult.VERIFIED:
        return Next(stage=Stage.CONFIRM_RECOVERY, reason="the fix is verified")
    if result is VerificationResult.UNVERIFIABLE:
        return Next(stage=Stage.ESCALATE, reason=reason)
    return _take_back(record, reason)


def _failure(record: Record, now: UtcTime) -> Next | None:
    """Return what follows from a step that failed: another attempt if none began, else undoing."""
    failed = [e for e in record.executions if e.state is StepState.FAILED]
    if not failed:
        return None
    last = failed[-1]
    done = {e.step for e in record.executions if _is_done(e) and e.is_undo is last.is_undo}
    if last.step in done:
        return None
    if last.is_undo:
        return Next(stage=Stage.ESCALATE, reason=f"an undo failed: {last.error}")
    if last.started_at is None and last.attempt < ATTEMPTS_MAX and last.ended_at is not None:
        pause = timedelta(seconds=RETRY_S * 2 ** (last.attempt - 1))
        reason = f"step {last.step} could not begin: {last.error}"
        due = None if is_misdated(last.ended_at, now) else last.ended_at + pause
        return Next(stage=Stage.EXECUTE, reason=reason, step=last.step, not_before=due)
    return _take_back(record, f"a step failed: {last.error or 'no reason given'}")


def _take_back(record: Record, reason: str) -> Next:
    """Return the next undo, last step first; a human has it when there is nothing left to undo."""
    plan, rows = record.plan, record.executions
    left = undoable(plan, rows) if plan is not None else ()
    if left:
        return Next(stage=Stage.ROLL_BACK, reason=reason, step=left[0])
    if plan is not None and any(row.is_undo for row in rows):
        reason = f"{reason}; {describe_taking_back(plan, rows)}"
    return Next(stage=Stage.ESCALATE, reason=reason)


def _before_resolving(record: Record, now: UtcTime, refresh_s: float) -> Next:
    incident, diagnosis = record.incident, record.diagnosis
    has_unseen = bool(_firing(record) - record.diagnosed_alerts)
    if incident.halt:
        return Next(stage=Stage.REST, reason=f"a human has it: {incident.halt}")
    if incident.escalation and not (has_unseen and incident.status is _INVESTIGATING):
        return Next(stage=Stage.REST, reason=f"a human has it: {incident.escalation}")
    if diagnosis is None:
        return Next(stage=Stage.DIAGNOSE, reason="nobody has looked at it yet")
    if incident.status is _INVESTIGATING:
        return _rediagnose(diagnosis, now, refresh_s)
    if _is_granted(record):
        return _begin(record, "the plan is approved")
    if has_unseen:
        return _rediagnose(diagnosis, now, refresh_s)
    return _by_plan(record, diagnosis)


def _by_plan(record: Record, diagnosis: Diagnosis) -> Next:
    plan = record.plan
    if plan is None or not _same_cause(record.planned_for, diagnosis):
        return Next(stage=Stage.PLAN, reason="the diagnosis has no plan yet")
    if record.executions:
        return Next(stage=Stage.ESCALATE, reason="the plan has been tried")
    if plan.is_forbidden:
        return Next(stage=Stage.ESCALATE, reason=f"policy forbids it: {plan.is_forbidden}")
    if not plan.needs_approval:
        return _begin(record, "policy lets it run without approval")
    return _by_approval(record.approval)


def _is_granted(record: Record) -> bool:
    approval = record.approval
    is_approved = approval is not None and approval.status is ApprovalStatus.APPROVED
    return is_approved and record.plan is not None and not record.executions


def _rediagnose(diagnosis: Diagnosis, now: UtcTime, refresh_s: float) -> Next:
    due = diagnosis.made_at + timedelta(seconds=refresh_s)
    # One dated ahead was made before the clock was set back: its time may be long in coming.
    if now < due and not is_misdated(diagnosis.made_at, now):
        return Next(stage=Stage.REST, reason="alerts are still joining", not_before=due)
    return Next(stage=Stage.DIAGNOSE, reason="something changed since the last diagnosis")


def _same_cause(one: Diagnosis | None, other: Diagnosis) -> bool:
    """True if a plan made for one diagnosis fits the other as well."""
    if one is None or one.top is None or other.top is None:
        return False
    fields = {"cause_id", "entity", "suggestions"}
    return one.top.model_dump(include=fields) == other.top.model_dump(include=fields)


def _firing(record: Record) -> set[str]:
    return {alert.fingerprint for alert in record.alerts if alert.is_firing}


def _by_approval(approval: Approval | None) -> Next:
    if approval is None or approval.status is ApprovalStatus.VOIDED:
        return Next(stage=Stage.PLAN, reason="the plan has no valid request for approval")
    if approval.status is ApprovalStatus.PENDING:
        return Next(
            stage=Stage.AWAIT_APPROVAL,
            reason="waiting for a human to approve the plan",
            not_before=approval.expires_at,
        )
    if approval.status is ApprovalStatus.REJECTED:
        why = f": {approval.reason}" if approval.reason else ""
        return Next(stage=Stage.ESCALATE, reason=f"{approval.decided_by} rejected the plan{why}")
    return Next(stage=Stage.ESCALATE, reason="nobody approved the plan in time: it is denied")


def _all_alerts_resolved(record: Record) -> bool:
    return bool(record.alerts) and not any(alert.is_firing for alert in record.alerts)


def _has(record: Record, state: StepState) -> bool:
    return any(execution.state is state for execution in record.executions)


def _begin(record: Record, reason: str) -> Next:
    step = record.plan.steps[0].number if record.plan and record.plan.steps else None
    return Next(stage=Stage.EXECUTE, reason=reason, step=step)


def _is_done(execution: Execution) -> bool:
    return execution.state is StepState.FINISHED


def _step_to_run(record: Record, plan: Plan) -> int | None:
    done = {e.step for e in record.executions if _is_done(e) and not e.is_undo}
    return next((step.number for step in plan.steps if step.number not in done), None)
