"""A clock that somebody sets: what it shows jumps, while the seconds go on as ever."""

from datetime import datetime, timedelta
from typing import Any


class JumpyClock:
    """Shows another clock's time plus `offset`; sleeps and counts seconds as that one does.

    `jumps` are seconds by which it is set, one before each reading, until they are used up.
    """

    def __init__(self, inner: Any, jumps: Any = ()) -> None:
        self._inner = inner
        self._jumps = iter(jumps)
        self.offset = timedelta(0)
        self.readings = 0

    def now(self) -> datetime:
        self.readings += 1
        self.set_by(next(self._jumps, 0))
        return self._inner.now() + self.offset

    def monotonic(self) -> float:
        return self._inner.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    def set_by(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.offset += timedelta(seconds=seconds)
