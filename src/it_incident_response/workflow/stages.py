"""Which stage an incident needs next, judged from the record alone: pure, so any worker agrees."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.verification import Verification, VerificationResult

_INVESTIGATING = IncidentStatus.INVESTIGATING


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
    ESCALATE = "escalate"
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


def next_stage(record: Record, now: UtcTime, *, refresh_s: float) -> Next:
    """Return the stage that the record asks for.

    `refresh_s` is the least time between two diagnoses when alerts keep joining.
    """
    incident = record.incident
    if _has(record, StepState.STARTED):
        return Next(stage=Stage.RECOVER, reason="a step was started and its end is unknown")
    if not incident.status.is_open:
        return Next(stage=Stage.REST, reason=f"it is {incident.status}")
    if incident.status is IncidentStatus.RESOLVING:
        return _while_resolving(record)
    if _all_alerts_resolved(record):
        return Next(stage=Stage.CONFIRM_RECOVERY, reason="every alert has resolved")
    return _before_resolving(record, now, refresh_s)


def _while_resolving(record: Record) -> Next:
    if record.plan is None:
        return Next(stage=Stage.ESCALATE, reason="it is being resolved by hand, without a plan")
    if _has(record, StepState.IN_DOUBT):
        return Next(stage=Stage.ESCALATE, reason="nobody knows whether a step took effect")
    if _has(record, StepState.FAILED):
        return Next(stage=Stage.ESCALATE, reason=f"a step failed: {_error_of(record.executions)}")
    if _has(record, StepState.DRY_RUN):
        return Next(stage=Stage.ESCALATE, reason="dry run: nothing was changed")
    if _finished_steps(record) < len(record.plan.steps):
        return Next(stage=Stage.EXECUTE, reason="the plan is approved and not finished")
    if record.verification is None:
        return Next(stage=Stage.VERIFY, reason="every step has run")
    if record.verification.result is VerificationResult.VERIFIED:
        return Next(stage=Stage.CONFIRM_RECOVERY, reason="the fix is verified")
    return Next(stage=Stage.ESCALATE, reason=record.verification.reason)


def _before_resolving(record: Record, now: UtcTime, refresh_s: float) -> Next:
    incident, diagnosis = record.incident, record.diagnosis
    has_unseen = bool(_firing(record) - record.diagnosed_alerts)
    if incident.escalation and not (has_unseen and incident.status is _INVESTIGATING):
        return Next(stage=Stage.REST, reason=f"a human has it: {incident.escalation}")
    if diagnosis is None:
        return Next(stage=Stage.DIAGNOSE, reason="nobody has looked at it yet")
    if incident.status is _INVESTIGATING:
        return _rediagnose(diagnosis, now, refresh_s)
    if _is_granted(record):
        return Next(stage=Stage.EXECUTE, reason="the plan is approved")
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
        return Next(stage=Stage.EXECUTE, reason="policy lets it run without approval")
    return _by_approval(record.approval)


def _is_granted(record: Record) -> bool:
    approval = record.approval
    is_approved = approval is not None and approval.status is ApprovalStatus.APPROVED
    return is_approved and record.plan is not None and not record.executions


def _rediagnose(diagnosis: Diagnosis, now: UtcTime, refresh_s: float) -> Next:
    due = diagnosis.made_at + timedelta(seconds=refresh_s)
    if now < due:
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


def _finished_steps(record: Record) -> int:
    done = {e.step for e in record.executions if e.state is StepState.FINISHED and not e.is_undo}
    return len(done)


def _error_of(executions: Sequence[Execution]) -> str:
    errors = [e.error for e in executions if e.state is StepState.FAILED and e.error]
    return errors[-1] if errors else "no reason given"
