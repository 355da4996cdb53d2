"""The append-only, hash-chained record of what was decided, seen and done."""

from collections.abc import Sequence
from typing import Protocol

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.model import Value

Events = Sequence[AuditEvent]


class ChainReport(Value):
    """The result of checking the audit chain."""

    events: int
    is_intact: bool
    broken_at: int | None = None
    """Sequence of the first event that does not fit."""
    reason: str | None = None


class AuditTrail(Protocol):
    """The append-only, hash-chained record."""

    async def append(self, events: Events) -> None:
        """Append events."""
        ...

    async def events(
        self, *, incident_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[AuditEvent]:
        """Return events in order, from the one after sequence `after`."""
        ...

    async def last_sequence(self) -> int:
        """Return the sequence of the last event, 0 if there is none."""
        ...

    async def verify_chain(self) -> ChainReport:
        """Recompute every hash."""
        ...
