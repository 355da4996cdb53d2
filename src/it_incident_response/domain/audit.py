"""AuditEvent: one thing that was decided, seen or done; append-only and hash-chained."""

from collections.abc import Mapping

from pydantic import JsonValue

from it_incident_response.domain.model import UtcTime, Value


class AuditEvent(Value):
    """One event; the trail sets `sequence`, `previous_hash` and `hash` when it is appended."""

    at: UtcTime
    actor: str
    """Who or what: `user:alice`, `agent:diagnostic`, `connector:alertmanager`, `system`."""
    kind: str
    """What happened, dotted: `incident.opened`, `approval.approved`, `action.started`..."""
    incident_id: str | None = None
    summary: str
    details: Mapping[str, JsonValue] = {}
    sequence: int | None = None
    previous_hash: str | None = None
    hash: str | None = None
