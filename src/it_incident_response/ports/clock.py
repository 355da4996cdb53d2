"""Time, injected: real in production, virtual in the simulated world and in tests."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable


class Clock(Protocol):
    """The only source of the current time."""

    def now(self) -> datetime:
        """Return the current time, UTC and timezone-aware."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed on this clock."""
        ...


@runtime_checkable
class SteadyClock(Protocol):
    """A clock whose time may be set, and that therefore counts seconds in another way too."""

    def monotonic(self) -> float:
        """Return seconds since some moment, never set forward or back."""
        ...


class SystemClock:
    """The machine's own time; the only place in the package that reads it."""

    def now(self) -> datetime:
        """Return the current time, UTC and timezone-aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some moment; time in which the machine slept may be missing."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed."""
        await asyncio.sleep(seconds)


class Stopwatch:
    """Measures how long something takes here, whatever is done to the clock meanwhile.

    The difference of two `now()` is no duration: NTP, an operator or a resumed machine may set the
    clock in between. A clock that is no `SteadyClock` cannot be set, so its own time is taken.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = self._read()

    @property
    def elapsed_s(self) -> float:
        """Seconds since this stopwatch was made."""
        return self._read() - self._began

    def _read(self) -> float:
        clock = self._clock
        return clock.monotonic() if isinstance(clock, SteadyClock) else clock.now().timestamp()


def utc(timestamp: float) -> datetime:
    """Return the UTC time of a Unix timestamp."""
    return datetime.fromtimestamp(timestamp, tz=UTC)
