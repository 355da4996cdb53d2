"""From the record to the engine: wakes the workflow of each incident that is due."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import Value
from it_incident_response.ports import Clock, SystemClock, WorkQueue
from it_incident_response.workflow.persistence import Persistent, wait_for_event

WakeWorkflow = Callable[[IncidentId], Awaitable[None]]


class OutboxSettings(Value):
    """How it paces itself; all times in seconds."""

    name: str
    """Of this process among all that share the database."""
    batch: int = 100
    at_once: int = 16
    """Workflows woken at the same time."""
    lease_s: float = 30.0
    """What a process that died had taken out is due again after this time."""
    idle_s: float = 0.5
    """How long to wait when nothing is due and nobody tells us."""
    retry_s: float = 2.0
    """After the engine or the database did not answer."""


class Outbox:
    """Runs until cancelled; `tell()` makes it look at once.

    An incident that is due stays in the work queue until the engine has taken the signal, so that
    nothing is lost while the engine is away.
    """

    def __init__(self, queue: WorkQueue, clock: Clock, settings: OutboxSettings) -> None:
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Look for work now: something was decided or taken in in this process."""
        self._told.set()

    async def run(self, wake_workflow: WakeWorkflow) -> None:
        """Wake workflows until cancelled."""
        persistent = Persistent("waking workflows")
        while True:
            self._told.clear()
            busy = await persistent.attempt(lambda: self._send_batch(wake_workflow))
            if persistent.is_failing:
                await SystemClock().sleep(self._settings.retry_s)
            elif not busy:
                await wait_for_event(self._told, self._settings.idle_s)

    async def _send_batch(self, wake_workflow: WakeWorkflow) -> bool:
        settings = self._settings
        due = await self._queue.claim_due(
            self._clock.now(), worker=settings.name, lease_s=settings.lease_s, limit=settings.batch
        )
        gate = asyncio.Semaphore(settings.at_once)

        async def send(incident_id: IncidentId) -> None:
            async with gate:
                await wake_workflow(incident_id)

        answers = await asyncio.gather(*map(send, due), return_exceptions=True)
        await self._settle(due, answers)
        return bool(due)

    async def _settle(
        self, due: Sequence[IncidentId], answers: Sequence[BaseException | None]
    ) -> None:
        """Take out what the engine knows; put the rest back for later."""
        later = self._clock.now() + timedelta(seconds=self._settings.retry_s)
        for incident_id, answer in zip(due, answers, strict=True):
            again = None if answer is None else later
            await self._queue.release(incident_id, worker=self._settings.name, due_again_at=again)
        failure = next((answer for answer in answers if answer is not None), None)
        if failure is not None:
            raise failure
