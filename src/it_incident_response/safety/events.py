"""How safety writes to the audit trail."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from it_incident_response.domain.approval import Approval
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.errors import IncidentResponseError, PolicyDelayed, TargetLocked
from it_incident_response.safety.people import as_actor

GATE = "system:gate"
"""The actor of everything that the gate does by itself."""


def approval_event(
    approval: Approval, now: datetime, *, kind: str, by: str, summary: str
) -> AuditEvent:
    """Return the event of something that happened to a request: who, when, why, through what."""
    return AuditEvent(
        at=now,
        actor=as_actor(by),
        kind=f"approval.{kind}",
        incident_id=approval.incident_id,
        summary=summary,
        details={
            "approval": approval.id,
            "plan": approval.plan_id,
            "digest": approval.plan_digest,
            "via": approval.decided_via,
            "reason": approval.reason,
        },
    )


def action_event(
    row: Execution,
    now: datetime,
    *,
    kind: str,
    summary: str,
    commands: Sequence[Sequence[str]] = (),
) -> AuditEvent:
    """Return the event of one transition in the journal; `commands` until the row has results."""
    details: dict[str, JsonValue] = {
        "key": row.key,
        "plan": row.plan_id,
        "digest": row.plan_digest,
        "step": row.step,
        "action": row.action.model_dump(mode="json"),
        "target": str(row.target),
        "host": row.host,
        "commands": [list(r.command) for r in row.results] or [list(c) for c in commands],
        "exit_statuses": [result.exit_status for result in row.results],
        "error": row.error,
    }
    return AuditEvent(
        at=now,
        actor=GATE,
        kind=f"action.{kind}",
        incident_id=row.incident_id or None,
        summary=summary,
        details=details,
    )


def refusal_event(
    incident_id: str, step: PlanStep, refusal: IncidentResponseError, now: datetime
) -> AuditEvent:
    """Return the event of a step that the gate did not let through."""
    return AuditEvent(
        at=now,
        actor=GATE,
        kind="action.refused",
        incident_id=incident_id or None,
        summary=f"refused: {refusal.message}",
        details={
            "step": step.number,
            "action": step.action.model_dump(mode="json"),
            "target": str(step.target),
            "host": step.host,
            "error": type(refusal).__name__,
        },
    )


def delay_event(
    plan: Plan, step: PlanStep, wait: PolicyDelayed | TargetLocked, now: datetime, *, is_undo: bool
) -> AuditEvent:
    """Return the event of a step that has to wait for a freeze, a limit or a lock."""
    details: dict[str, JsonValue] = {
        "plan": plan.id,
        "step": step.number,
        "is_undo": is_undo,
        "target": str(step.target),
        "waits_for": wait.rule if isinstance(wait, PolicyDelayed) else "lock",
    }
    return AuditEvent(
        at=now,
        actor=GATE,
        kind="action.delayed",
        incident_id=plan.incident_id,
        summary=f"has to wait: {wait.message}",
        details=details,
    )


def is_same_wait(event: AuditEvent, last: AuditEvent | None) -> bool:
    """Tell whether `last` said already what `event` says: nothing else happened in between."""
    return last is not None and (last.kind, last.details) == (event.kind, event.details)
