"""What people do to incidents by hand: open, note, assign, change the status; all recorded."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Footprint, Incident, IncidentStatus
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import InputRejected
from it_incident_response.ports import Clock, Store

TITLE_MAX = 500
TEXT_MAX = 100_000
"""Characters kept of what a person writes; longer text is refused, never cut silently."""


class IncidentDesk:
    """Takes people's word for it, within the legal transitions."""

    def __init__(self, store: Store, clock: Clock, inventory: Inventory) -> None:
        self._store = store
        self._clock = clock
        self._inventory = inventory

    async def open_incident(
        self,
        *,
        title: str,
        description: str,
        severity: Severity,
        affected_systems: Sequence[str],
        tags: Sequence[str] = (),
        by: str,
    ) -> Incident:
        """Open an incident that no alert reported, and have it looked at."""
        _require_text("title", title, TITLE_MAX)
        _require_text("description", description, TEXT_MAX, empty_ok=True)
        now = self._clock.now()
        systems = tuple(dict.fromkeys(s.strip() for s in affected_systems if s.strip()))
        incident = Incident(
            id=IncidentId(new_id(now)),
            key="",
            title=title,
            description=description,
            severity=severity,
            affected_systems=systems,
            tags=tuple(tags),
            opened_at=now,
            updated_at=now,
            footprint=Footprint(entities=frozenset(self._entities(systems))),
        )
        event = self._event(now, incident.id, "incident.opened", by, f"opened by hand: {title}")
        stored = await self._store.create_incident(incident, [event])
        await self._store.wake(stored.id, now)
        return stored

    async def note(self, id_or_key: str, text: str, *, by: str) -> Incident:
        """Add a note to the incident's timeline."""
        _require_text("note", text, TEXT_MAX)
        incident = await self._store.incident(id_or_key)
        event = self._event(self._clock.now(), incident.id, "incident.note", by, text)
        await self._store.append([event])
        return incident

    async def assign(self, id_or_key: str, person: str, *, by: str) -> Incident:
        """Give the incident to a person."""
        _require_text("assignee", person, 200)
        incident, now = await self._store.incident(id_or_key), self._clock.now()
        changed = incident.model_copy(update={"assignee": person, "updated_at": now})
        event = self._event(now, incident.id, "incident.assigned", by, f"assigned to {person}")
        return await self._store.save_incident(changed, [event])

    async def set_status(
        self,
        id_or_key: str,
        status: IncidentStatus,
        *,
        by: str,
        notes: str | None = None,
        remediation_steps: Sequence[str] = (),
    ) -> Incident:
        """Change the status by hand; raises `IllegalTransition` with the reason.

        Investigating, for an open incident that was handed to a human, means: diagnose it afresh.
        """
        incident, now = await self._store.incident(id_or_key), self._clock.now()
        if status is incident.status is IncidentStatus.INVESTIGATING and incident.escalation:
            begun = {"episode": incident.episode + 1, "escalation": None, "updated_at": now}
            changed = incident.model_copy(update=begun)
        else:
            changed = incident.moved_to(status, now).model_copy(update={"escalation": None})
        why = f": {notes}" if notes else ""
        event = self._event(
            now,
            incident.id,
            f"incident.{status}",
            by,
            f"{incident.status} → {status} by hand{why}",
            {"remediation_steps": list(remediation_steps)} if remediation_steps else {},
        )
        stored = await self._store.save_incident(changed, [event])
        await self._store.wake(stored.id, now)
        return stored

    async def record(self, kind: str, by: str, summary: str) -> None:
        """Put something that belongs to no incident on the audit trail."""
        await self._store.append([self._event(self._clock.now(), None, kind, by, summary)])

    def _entities(self, systems: Sequence[str]) -> list[Entity]:
        return [entity for name in systems for entity in self._inventory.named(name)]

    def _event(
        self,
        now: datetime,
        incident_id: str | None,
        kind: str,
        by: str,
        summary: str,
        details: Mapping[str, JsonValue] | None = None,
    ) -> AuditEvent:
        return AuditEvent(
            at=now,
            actor=f"user:{by}",
            kind=kind,
            incident_id=incident_id,
            summary=summary,
            details=details or {},
        )


def _require_text(what: str, text: str, limit: int, *, empty_ok: bool = False) -> None:
    if not empty_ok and not text.strip():
        raise InputRejected(f"the {what} is empty")
    if len(text) > limit:
        raise InputRejected(f"the {what} has {len(text)} characters; at most {limit} are kept")
