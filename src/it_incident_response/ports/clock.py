"""Time, injected: real in production, virtual in the simulated world and in tests."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of the current time."""

    def now(self) -> datetime:
        """Return the current time, UTC and timezone-aware."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's own time; the only place in the package that reads it."""

    def now(self) -> datetime:
        """Return the current time, UTC and timezone-aware."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed."""
        await asyncio.sleep(seconds)


def utc(timestamp: float) -> datetime:
    """Return the UTC time of a Unix timestamp."""
    return datetime.fromtimestamp(timestamp, tz=UTC)
