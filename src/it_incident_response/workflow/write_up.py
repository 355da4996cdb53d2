"""The short summary that ends the record of an incident: facts of the record alone."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import JsonValue

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.workflow.stages import Record

SUMMARY_MAX = 2000
_MILESTONES = {
    "diagnosed": "diagnosis.made",
    "asked": "approval.requested",
    "approved": "approval.approved",
    "acted": "action.started",
    "resolved": "incident.resolved",
}
"""What is timed, and the event that marks it the first time."""


def write_up(record: Record, events: Sequence[AuditEvent], now: datetime) -> AuditEvent:
    """Return the event `incident.written_up`; times are seconds since the incident opened."""
    incident = record.incident
    top = record.diagnosis.top if record.diagnosis else None
    details: dict[str, JsonValue] = {
        "cause": top.cause if top else None,
        "confidence": top.confidence if top else None,
        "alerts": incident.total_alerts,
        "after_s": _times(incident.opened_at, events),
        "actions": [_action(e) for e in record.executions if e.started_at is not None],
        "escalated": sum(event.kind == "incident.escalated" for event in events),
    }
    cause = f"cause: {top.cause}" if top else "the cause was not found"
    took = (now - incident.opened_at).total_seconds()
    ran = [e for e in record.executions if e.state is StepState.FINISHED]
    did = f"{len(ran)} actions ran" if ran else "nothing was changed by us"
    text = f"{incident.key} is {incident.status} after {took:.0f} s; {cause}; {did}"
    return AuditEvent(
        at=now,
        actor="agent:coordinator",
        kind="incident.written_up",
        incident_id=incident.id,
        summary=text[:SUMMARY_MAX],
        details=details,
    )


def _times(opened_at: datetime, events: Sequence[AuditEvent]) -> dict[str, JsonValue]:
    first: dict[str, JsonValue] = {}
    for name, kind in _MILESTONES.items():
        at = next((event.at for event in events if event.kind == kind), None)
        if at is not None:
            first[name] = round((at - opened_at).total_seconds(), 3)
    return first


def _action(execution: Execution) -> JsonValue:
    return {
        "step": execution.step,
        "action": execution.action.kind,
        "target": str(execution.target),
        "state": str(execution.state),
        "is_undo": execution.is_undo,
    }
