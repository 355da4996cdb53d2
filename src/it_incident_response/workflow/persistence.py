"""Goes on after whatever an outside system or the database did to us."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from it_incident_response.errors import IncidentResponseError

log = logging.getLogger(__name__)


class Persistent:
    """Tries one kind of work again and again; logs a failure once, until it works again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.is_failing = False

    async def attempt(self, work: Callable[[], Awaitable[bool]]) -> bool:
        """Return what `work` returns, or False if it failed."""
        try:
            done = await work()
        except IncidentResponseError as error:
            if not self.is_failing:
                log.warning("%s failed, trying again: %s", self._what, error)
            self.is_failing = True
            return False
        except Exception:  # workflow step boundary: a loop that ends would end the receiver too
            log.exception("%s failed unexpectedly, trying again", self._what)
            self.is_failing = True
            return False
        if self.is_failing:
            log.info("%s works again", self._what)
        self.is_failing = False
        return done


async def wait_for_event(event: asyncio.Event, limit_s: float) -> None:
    """Return when `event` is set, or after `limit_s`."""
    try:
        # Not `wait_for`: before Python 3.12 it may swallow a cancellation, and stopping hangs.
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
