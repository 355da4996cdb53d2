"""Which incidents are due, and who has the posts of which there is only one: all by lease."""

from collections.abc import Sequence
from typing import Protocol

from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value


class WaitingWork(Value):
    """An incident that is due and that no living worker has."""

    incident_id: IncidentId
    since: UtcTime
    """When it became due, or when the lease of its worker ran out."""
    worker: str | None = None
    """The worker that had it and is gone; None if nobody took it."""


class WorkQueue(Protocol):
    """Which incidents are due, and who has them: by lease, so that a dead worker's come back."""

    async def wake(self, incident_id: IncidentId, at: UtcTime) -> None:
        """Make the incident due at `at`, or earlier if it is due earlier already."""
        ...

    async def wake_open(self, at: UtcTime) -> int:
        """Make every open incident due at `at`; returns how many: after the engine was lost."""
        ...

    async def claim_due(
        self, now: UtcTime, *, worker: str, lease_s: float, limit: int
    ) -> Sequence[IncidentId]:
        """Lease due incidents that no living worker has, the longest waiting first."""
        ...

    async def work_backlog(self, now: UtcTime, *, limit: int) -> Sequence[WaitingWork]:
        """Return what `claim_due` would lease, the longest waiting first; leases nothing."""
        ...

    async def renew(self, incident_id: IncidentId, *, worker: str, until: UtcTime) -> bool:
        """Prolong the lease; False if another worker has it now."""
        ...

    async def release(
        self, incident_id: IncidentId, *, worker: str, due_again_at: UtcTime | None
    ) -> None:
        """Give the lease back; the incident is due again at `due_again_at`.

        If it was woken while it was leased, the earlier of the two times counts.
        """
        ...


class Lease(Value):
    """Who has the one post of a name, and until when."""

    name: str
    holder: str
    until: UtcTime
    token: int
    """Fencing token: larger with every change of holder."""
    detail: str = ""
    """What others must know of the holder, such as an address."""


class Leases(Protocol):
    """Posts of which there is only one among all processes of a database."""

    async def hold_lease(
        self, name: str, *, holder: str, now: UtcTime, until: UtcTime, detail: str = ""
    ) -> Lease:
        """Take the post if it is free or lapsed, or prolong one's own; returns who has it now."""
        ...

    async def drop_lease(self, name: str, *, holder: str) -> None:
        """Give the post back; no error if another has it."""
        ...

    async def lease(self, name: str) -> Lease | None:
        """Return who had the post last, lapsed or not; None if nobody or it was given back."""
        ...
