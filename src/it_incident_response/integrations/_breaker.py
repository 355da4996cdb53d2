"""A circuit breaker: after repeated failures, stop asking a system for a while."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

FAILURES_MAX = 5
"""Consecutive failed requests after which the circuit opens."""
COOL_DOWN_S = 5.0
"""How long it stays open. Short: during an incident, a recovered monitoring system has to be
noticed at once; long enough to spare a struggling one the load of every waiting request."""


class CircuitState(StrEnum):
    """Whether requests pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass
class CircuitBreaker:
    """Closed: all pass. Open: none. Half open: one passes, and its result decides."""

    failures_max: int = FAILURES_MAX
    cool_down_s: float = COOL_DOWN_S
    failures: int = 0
    _opened_at: datetime | None = None
    _probe_since: datetime | None = None

    def state(self, now: datetime) -> CircuitState:
        """Return where it stands at `now`."""
        if self._opened_at is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self.wait_s(now) > 0 else CircuitState.HALF_OPEN

    def wait_s(self, now: datetime) -> float:
        """Return the seconds until it lets a request through again; 0 if it may already."""
        since = self._probe_since or self._opened_at
        if since is None or now < since:  # a clock set back must not keep it open for long
            return 0.0
        return max(0.0, self.cool_down_s - (now - since).total_seconds())

    def admit(self, now: datetime) -> bool:
        """Return whether a request may go out now; a half-open circuit admits a single one.

        That one is presumed lost if it has not come back within another cool-down.
        """
        state = self.state(now)
        if state is CircuitState.HALF_OPEN:
            self._probe_since = now
        return state is not CircuitState.OPEN

    def succeeded(self) -> None:
        """Record an answer, whatever it says: the system is alive."""
        self.failures, self._opened_at, self._probe_since = 0, None, None

    def failed(self, now: datetime) -> None:
        """Record that no usable answer came."""
        self.failures += 1
        if self.failures >= self.failures_max:
            self._opened_at, self._probe_since = now, None
