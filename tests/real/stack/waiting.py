"""Waiting for a condition with a deadline: the only way a test here ever waits."""

import inspect
import time
from asyncio import sleep as asyncio_sleep
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25


class NotInTime(AssertionError):
    """The condition did not come true before its deadline."""


class WaitUntil(Protocol):
    """Type of the `wait_until` fixture."""

    def __call__(self, condition: Callable[[], T], deadline_s: float, what: str) -> T:
        """Return the first truthy value of `condition`; raise `NotInTime` after `deadline_s`."""
        ...


class Eventually(Protocol):
    """Type of the `eventually` fixture."""

    async def __call__(
        self, condition: Callable[[], Awaitable[Any] | Any], deadline_s: float, what: str
    ) -> Any:
        """Do the same for a condition that may be a coroutine function."""
        ...


class _Attempts:
    """What was seen so far, and when to stop looking."""

    def __init__(self, deadline_s: float, what: str) -> None:
        self._what = what
        self._deadline_s = deadline_s
        self._ends_at = time.monotonic() + deadline_s
        self._last = "was never asked"
        self._cause: Exception | None = None

    def saw(self, value: object) -> None:
        self._last, self._cause = f"last value was {value!r}", None

    def raised(self, error: Exception) -> None:
        self._last, self._cause = f"last attempt raised {type(error).__name__}: {error}", error

    def pauses(self) -> Iterator[float]:
        """Yield growing pauses; raise `NotInTime` with the last state when time is up."""
        pause = _FIRST_PAUSE_S
        while time.monotonic() < self._ends_at:
            yield pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        raise NotInTime(
            f"waited {self._deadline_s:g} s for {self._what}; {self._last}"
        ) from self._cause


def wait_until(condition: Callable[[], T], deadline_s: float, what: str) -> T:
    """Return the first truthy value of `condition`, asking until `deadline_s` have passed.

    An exception counts as "not yet" and is shown if it was the last thing seen.
    """
    attempts = _Attempts(deadline_s, what)
    for pause in attempts.pauses():
        try:
            if value := condition():
                return value
            attempts.saw(value)
        except Exception as error:  # noqa: BLE001 - whatever a condition raises means not yet
            attempts.raised(error)
        time.sleep(pause)
    raise AssertionError("unreachable: pauses() raises")


async def eventually(
    condition: Callable[[], Awaitable[Any] | Any], deadline_s: float, what: str
) -> Any:
    """Do as `wait_until` without blocking the event loop; `condition` may be asynchronous."""
    attempts = _Attempts(deadline_s, what)
    for pause in attempts.pauses():
        try:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            attempts.saw(value)
        except Exception as error:  # noqa: BLE001 - whatever a condition raises means not yet
            attempts.raised(error)
        await asyncio_sleep(pause)
    raise AssertionError("unreachable: pauses() raises")
