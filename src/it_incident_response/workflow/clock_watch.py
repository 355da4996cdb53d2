"""Notices that the machine's clock was set, and has everything looked at again that waits by it."""

import logging
from datetime import datetime
from typing import Protocol

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.ports import AuditTrail, Clock, Stopwatch, WorkQueue

log = logging.getLogger(__name__)

JUMP_S = 30.0
"""A smaller step is no news: time servers slew, and a busy machine reads late."""


class _Store(AuditTrail, WorkQueue, Protocol):
    """What it reads and writes."""


class ClockWatch:
    """Compares what the clock shows with the seconds that have passed; one a process.

    What is due in an hour by a clock that was then set back by an hour would be due in two. So
    every open incident is made due: looking once too often is harmless. Set forward, a clock makes
    things due too early, and they are looked at anyway.
    """

    def __init__(self, store: _Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen = clock.now()
        self._since = Stopwatch(clock)

    async def look(self) -> float:
        """Return by how many seconds the clock was set since the last look; 0 if it was not."""
        now, passed_s = self._clock.now(), self._since.elapsed_s
        jump_s = (now - self._seen).total_seconds() - passed_s
        if abs(jump_s) >= JUMP_S:
            await self._tell(now, jump_s)
            if jump_s < 0:
                await self._store.wake_open(now)
        else:
            jump_s = 0.0
        # Only now: if the database was away, the next look finds the same jump again.
        self._seen, self._since = now, Stopwatch(self._clock)
        return jump_s

    async def _tell(self, now: datetime, jump_s: float) -> None:
        where = "forward" if jump_s > 0 else "back"
        summary = f"this machine's clock was set {where} by {abs(jump_s):.0f} s"
        log.warning("%s; times in the record before and after differ by that", summary)
        event = AuditEvent(at=now, actor="system", kind="clock.set", summary=summary)
        await self._store.append([event.model_copy(update={"details": {"seconds": round(jump_s)}})])
