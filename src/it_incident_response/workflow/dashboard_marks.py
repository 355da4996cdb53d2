"""Marks the course of incidents on people's dashboards, read off the audit trail as it grows."""

from datetime import timedelta
from typing import Protocol

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.ports import Annotator, AuditTrail, Clock, Leases
from it_incident_response.workflow.persistence import Persistent

MARKED = frozenset(
    {
        "incident.opened",
        "incident.escalated",
        "incident.taken_over",
        "incident.cancelled",
        "incident.resolved",
        "action.started",
        "action.finished",
        "action.failed",
        "action.in_doubt",
    }
)
POST = "dashboard-marks"
POST_S = 60.0
EVERY_S = 10.0
TEXT_MAX = 500
ATTEMPTS = 5


class _Store(AuditTrail, Leases, Protocol):
    """What it reads, and where it is agreed which process marks."""


class DashboardMarks:
    """Marks what happens from its start on; one process of a database does it at a time.

    A convenience and no record: what happens while nobody holds the post is not marked later, and
    a mark that the dashboard refuses five times is left out.
    """

    def __init__(self, store: _Store, annotator: Annotator, clock: Clock, *, name: str) -> None:
        self._store = store
        self._annotator = annotator
        self._clock = clock
        self._name = name
        self._read_to: int | None = None
        self._failed = 0

    async def run(self) -> None:
        """Mark until cancelled."""
        persistent = Persistent("marking incidents on dashboards")
        while True:
            await persistent.attempt(self.mark)
            await self._clock.sleep(EVERY_S)

    async def mark(self) -> bool:
        """Mark what is new on the trail; raises `ConnectorError` with the mark kept for later."""
        now = self._clock.now()
        until = now + timedelta(seconds=POST_S)
        lease = await self._store.hold_lease(POST, holder=self._name, now=now, until=until)
        if lease.holder != self._name or self._read_to is None:
            self._read_to = await self._store.last_sequence()
            return False
        for event in await self._store.events(after=self._read_to):
            if event.kind in MARKED:
                await self._mark(event)
            self._read_to, self._failed = event.sequence or self._read_to, 0
        return True

    async def _mark(self, event: AuditEvent) -> None:
        if self._failed >= ATTEMPTS:
            return
        self._failed += 1
        tags = ("iir", event.kind, event.incident_id or "")
        await self._annotator.annotate(
            event.summary[:TEXT_MAX], start=event.at, tags=tuple(tag for tag in tags if tag)
        )
