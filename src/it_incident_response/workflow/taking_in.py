"""From the inbox, and from what is read, to incidents; and the chores of an installation."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.domain.model import Value
from it_incident_response.ports import AlertSource, Clock, ConditionSource, SystemClock
from it_incident_response.workflow.persistence import Persistent, wait_for_event

GIVE_WAY_S_MAX = 1.0
"""So that alerts still become incidents while others go on coming in."""

Chore = Callable[[datetime], Awaitable[None]]


@dataclass(frozen=True)
class Polled:
    """A further source of alerts, read at its own times; its failure holds up no other."""

    source: AlertSource
    conditions: ConditionSource | None
    interval_s: float
    what: str
    """In messages: reading what failed."""


class TakingInSettings(Value):
    """How it paces itself; all times in seconds."""

    idle_s: float = 0.5
    """How long to wait when nothing is there and nobody wakes us."""
    poll_s: float = 15.0
    chores_s: float = 10.0


class TakingIn:
    """Runs until cancelled; needs the database only, so alerts become incidents without an engine.

    `wake()` makes it look at once; `then` is called when incidents may have become due.
    """

    def __init__(
        self,
        clock: Clock,
        detection: DetectionAgent,
        settings: TakingInSettings,
        *,
        then: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._detection = detection
        self._settings = settings
        self._then = then
        self._arrived = asyncio.Event()
        self._is_pressed: Callable[[], bool] = lambda: False

    def give_way_while(self, is_pressed: Callable[[], bool]) -> None:
        """Work at half the pace while `is_pressed()`: senders wait for an answer, we need not."""
        self._is_pressed = is_pressed

    def wake(self) -> None:
        """Look for work now: something was accepted in this process."""
        self._arrived.set()

    async def run(
        self,
        *,
        source: AlertSource | None,
        conditions: ConditionSource | None,
        chore: Chore,
        also: Sequence[Polled] = (),
    ) -> None:
        """Work until cancelled; what is not taken in by then stays in the inbox."""
        settings = self._settings
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_in())
            group.create_task(self._every(settings.chores_s, chore, "housekeeping"))
            if source is not None:
                poll = self._reader(source, conditions)
                group.create_task(self._every(settings.poll_s, poll, "reading alerts"))
            for more in also:
                poll = self._reader(more.source, more.conditions)
                group.create_task(self._every(more.interval_s, poll, more.what))

    async def _take_in(self) -> None:
        persistent = Persistent("taking in alerts")
        while True:
            self._arrived.clear()
            began = asyncio.get_running_loop().time()
            if not await persistent.attempt(self._ingest):
                await wait_for_event(self._arrived, self._settings.idle_s)
                continue
            self._then()
            if self._is_pressed():
                took_s = asyncio.get_running_loop().time() - began
                await SystemClock().sleep(min(took_s, GIVE_WAY_S_MAX))

    async def _ingest(self) -> bool:
        return await self._detection.ingest() is not None

    def _reader(self, source: AlertSource, conditions: ConditionSource | None) -> Chore:
        async def read(_: datetime) -> None:
            if await self._detection.poll(source, conditions):
                self._then()

        return read

    async def _every(self, interval_s: float, chore: Chore, what: str) -> None:
        persistent = Persistent(what)

        async def once() -> bool:
            await chore(self._clock.now())
            return True

        while True:
            await persistent.attempt(once)
            await self._clock.sleep(interval_s)
