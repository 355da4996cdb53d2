"""The clock of the simulated world: virtual and instant, or real time at a chosen speed."""

import asyncio
import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

DEFAULT_START = datetime(2026, 1, 14, 14, 0, tzinfo=UTC)
"""A Wednesday afternoon: the shop is busy, nothing is at its daily extreme."""

_QUIET_TURNS = 3
"""Turns of the event loop in which other tasks may still run before virtual time moves on."""


class VirtualClock:
    """A `ports.Clock` whose time moves only when somebody sleeps, and then at once.

    Sleepers are woken in the order of their times, ties in the order in which they fell asleep, so
    a run is the same every time as long as it waits for nothing but this clock. Work that waits
    for the outside (a database thread, a socket) should be done inside `hold()`, or time may move
    on meanwhile. One event loop only; not thread-safe.
    """

    def __init__(self, start: datetime = DEFAULT_START) -> None:
        self._now = start.astimezone(UTC)
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = count()
        self._holds = 0
        self._pump: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        """Return the virtual time, UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` of virtual time have passed; waits for no real time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deadline = self._now + timedelta(seconds=seconds)
        heapq.heappush(self._sleepers, (deadline, next(self._order), woken))
        self._start_pump()
        await woken

    def advance(self, seconds: float) -> None:
        """Move the time by hand, waking the sleepers whose time has come."""
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        end = self._now + timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= end:
            self._wake_next()
        self._now = end

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep time from moving by itself while the block runs."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._sleepers and not self._holds:
                self._start_pump()

    def _start_pump(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._sleepers:
            for _ in range(_QUIET_TURNS):
                await asyncio.sleep(0)
            if self._holds:
                return
            self._wake_next()

    def _wake_next(self) -> None:
        if not self._sleepers:
            return
        deadline, _, woken = heapq.heappop(self._sleepers)
        if woken.done():
            return
        self._now = max(self._now, deadline)
        woken.set_result(None)


class PacedClock:
    """A `ports.Clock` that runs with real time, `speed` times as fast; starts at `start`."""

    def __init__(self, start: datetime, speed: float = 1.0) -> None:
        if not 0 < speed <= 10_000:
            raise ValueError(f"speed must be above 0 and at most 10000, not {speed}")
        self._start = start.astimezone(UTC)
        self._origin = time.monotonic()
        self.speed = speed

    def now(self) -> datetime:
        """Return the world's time, UTC."""
        passed = (time.monotonic() - self._origin) * self.speed
        return self._start + timedelta(seconds=passed)

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` of the world's time have passed."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)
