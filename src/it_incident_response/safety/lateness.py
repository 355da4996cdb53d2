"""How late it is for a request: the clock, and what the record says it has shown already."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.ids import IncidentId
from it_incident_response.ports import AuditTrail, Clock
from it_incident_response.ports.clock import Stopwatch

CLOCK_SKEW = timedelta(minutes=10)
"""How far apart the clocks of two of our machines may be; further, and one of them is wrong."""
MEMORY_S = 60.0
"""How long a time that was shown is remembered here: longer than housekeeping needs to write down
what was over by then, and no longer, since it may itself have been the wrong one."""


class DenyingClock:
    """The time by which things are denied: set back, it goes on from where it was for a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: datetime | None = None
        self._since = Stopwatch(clock)

    def now(self) -> datetime:
        """Return the time, or the later one that was shown within the last minute."""
        now = self._clock.now()
        if self._latest is None or now >= self._latest or self._since.elapsed_s > MEMORY_S:
            self._latest, self._since = now, Stopwatch(self._clock)
        return self._latest

    def now_for(self, approval: Approval, trail: Sequence[AuditEvent]) -> datetime:
        """Return how late it is for a request, even if the clock was set back while nobody ran."""
        now, shown = self.now(), shown_since(approval, trail)
        return now if shown is None else max(now, shown)


async def read_trail(trail: AuditTrail, incident_id: IncidentId) -> Sequence[AuditEvent]:
    """Return all audit events of an incident, in the order they were written."""
    read: list[AuditEvent] = []
    after = 0
    while events := await trail.events(incident_id=incident_id, after=after):
        read += events
        after = events[-1].sequence or 0
    return read


def shown_since(approval: Approval, events: Sequence[AuditEvent]) -> datetime | None:
    """Return the latest time that an incident's trail shows since a request, or its approval.

    The trail has an order of its own. So a request whose time was over does not come back when the
    clock is set back while nobody runs; what an earlier, wrong clock wrote before it counts not.
    """
    begun = (
        f"approval.{ApprovalStatus.APPROVED}"
        if approval.status is ApprovalStatus.APPROVED
        else "approval.requested"
    )
    marks = [
        place
        for place, event in enumerate(events)
        if event.kind == begun and event.details.get("approval") == approval.id
    ]
    return max((event.at for event in events[marks[-1] :]), default=None) if marks else None


def is_misdated(moment: datetime, now: datetime) -> bool:
    """Return whether a recorded time is so far ahead that the clock has been set back since."""
    return moment > now + CLOCK_SKEW
