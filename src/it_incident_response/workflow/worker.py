"""The worker: takes alerts in, carries due incidents forward, keeps house; many may run at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import Value
from it_incident_response.errors import IncidentResponseError, StoreUnavailable
from it_incident_response.ports import AlertSource, Clock, ConditionSource, WorkQueue
from it_incident_response.workflow.incident_workflow import IncidentWorkflow

log = logging.getLogger(__name__)

STOPPING_POLL_S = 0.1
FOREGROUND_LEASE_S = 3600.0

GIVE_WAY_S_MAX = 1.0
"""So that alerts still become incidents while others go on coming in."""
PRESSED_INCIDENTS_AT_ONCE = 2

Chore = Callable[[datetime], Awaitable[None]]


class WorkerSettings(Value):
    """How a worker paces itself; all times in seconds."""

    name: str
    incidents_at_once: int = 16
    lease_s: float = 30.0
    idle_s: float = 0.5
    """How long to wait when nothing is due and nobody wakes us."""
    poll_s: float = 15.0
    chores_s: float = 10.0
    retry_s: float = 15.0
    """After a stage failed because an outside system did."""
    grace_s: float = 20.0
    """How long an action under way may still take when the worker is stopped."""


class Worker:
    """Runs until cancelled; `wake()` makes it look at once."""

    def __init__(
        self,
        queue: WorkQueue,
        clock: Clock,
        detection: DetectionAgent,
        workflow: IncidentWorkflow,
        settings: WorkerSettings,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._detection = detection
        self._workflow = workflow
        self._settings = settings
        self._woken = asyncio.Event()
        self._running: dict[IncidentId, asyncio.Task[None]] = {}
        self._is_pressed: Callable[[], bool] = lambda: False

    def give_way_while(self, is_pressed: Callable[[], bool]) -> None:
        """Work at half the pace while `is_pressed()`: senders wait for an answer, we need not."""
        self._is_pressed = is_pressed

    def wake(self) -> None:
        """Look for work now: something was accepted or decided in this process."""
        self._woken.set()

    async def run(
        self,
        *,
        source: AlertSource | None,
        conditions: ConditionSource | None,
        chore: Chore,
    ) -> None:
        """Work until cancelled; then let actions under way end, and give everything back."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._handle())
                group.create_task(self._every(self._settings.chores_s, chore, "housekeeping"))
                if source is not None:
                    group.create_task(self._poll(source, conditions))
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Stop carrying incidents; one that is being acted on gets `grace_s` for that.

        An action that is cut off is settled by whoever starts next: the journal says it was begun.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.grace_s
        told: set[IncidentId] = set()
        while self._running:
            is_late = loop.time() >= deadline
            for incident_id in self._running.keys() - told:
                if is_late or incident_id not in self._workflow.acting:
                    told.add(incident_id)
                    self._running[incident_id].cancel()
            await asyncio.wait(self._running.values(), timeout=STOPPING_POLL_S)

    async def drain(self) -> None:
        """Handle everything that is due now, in the foreground; for demos, tests and the façade."""
        while True:
            while await self._detection.ingest() is not None:
                continue
            # Long enough that nobody has to renew it: a virtual clock would run on meanwhile.
            due = await self._claim(lease_s=FOREGROUND_LEASE_S)
            if not due:
                return
            for incident_id in due:
                await self._carry(incident_id)

    async def _handle(self) -> None:
        while True:
            self._woken.clear()
            began = asyncio.get_running_loop().time()
            busy = await self._guarded(self._look(), "looking for work")
            if not busy:
                await self._idle()
            elif self._is_pressed():
                took_s = asyncio.get_running_loop().time() - began
                await self._clock.sleep(min(took_s, GIVE_WAY_S_MAX))

    async def _look(self) -> bool:
        outcome = await self._detection.ingest()
        for incident_id in await self._claim(lease_s=self._settings.lease_s):
            kept = self._carry_with_lease(incident_id)
            task = asyncio.create_task(kept, name=f"incident {incident_id}")
            self._running[incident_id] = task
            task.add_done_callback(partial(self._finished, incident_id))
        return outcome is not None

    def _finished(self, incident_id: IncidentId, _: asyncio.Task[None]) -> None:
        self._running.pop(incident_id, None)
        self._woken.set()

    async def _claim(self, *, lease_s: float) -> list[IncidentId]:
        at_once = self._settings.incidents_at_once
        if self._is_pressed():
            at_once = min(at_once, PRESSED_INCIDENTS_AT_ONCE)
        free = at_once - len(self._running)
        if free <= 0:
            return []
        return list(
            await self._queue.claim_due(
                self._clock.now(),
                worker=self._settings.name,
                lease_s=lease_s,
                limit=free,
            )
        )

    async def _carry_with_lease(self, incident_id: IncidentId) -> None:
        own = asyncio.current_task()
        keeper = asyncio.create_task(self._keep_lease(incident_id, own))
        try:
            await self._carry(incident_id)
        finally:
            keeper.cancel()

    async def _carry(self, incident_id: IncidentId) -> None:
        due: datetime | None = None
        try:
            due = await self._workflow.advance(incident_id)
        except IncidentResponseError as error:
            log.warning("incident %s: %s; trying again", incident_id, error.message)
            due = self._clock.now() + timedelta(seconds=self._settings.retry_s)
        except Exception:  # workflow step boundary: one bad incident must not stop the others
            log.exception("incident %s: unexpected error; trying again later", incident_id)
            due = self._clock.now() + timedelta(seconds=10 * self._settings.retry_s)
        except asyncio.CancelledError:
            # Due at once for whoever works next, who need not wait for our lease to run out.
            await self._give_back(incident_id, self._clock.now())
            raise
        await self._give_back(incident_id, due)

    async def _give_back(self, incident_id: IncidentId, due: datetime | None) -> None:
        release = self._queue.release(incident_id, worker=self._settings.name, due_again_at=due)
        await self._guarded(_true_after(release), "giving back a lease")

    async def _keep_lease(self, incident_id: IncidentId, own: asyncio.Task[None] | None) -> None:
        is_ours = True
        while is_ours:
            await self._clock.sleep(self._settings.lease_s / 3)
            until = self._clock.now() + timedelta(seconds=self._settings.lease_s)
            renewal = self._queue.renew(incident_id, worker=self._settings.name, until=until)
            is_ours = await self._renewed(renewal)
        log.warning("incident %s: another worker has it now; stopping here", incident_id)
        if own is not None:
            own.cancel()

    async def _renewed(self, renewal: Awaitable[bool]) -> bool:
        try:
            return await renewal
        except StoreUnavailable as error:
            log.warning("a lease cannot be renewed yet: %s", error.message)
            return True

    async def _idle(self) -> None:
        try:
            # Not `wait_for`: before Python 3.12 it may swallow a cancellation, and stopping hangs.
            async with asyncio.timeout(self._settings.idle_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _poll(self, source: AlertSource, conditions: ConditionSource | None) -> None:
        async def once(_: datetime) -> None:
            if await self._detection.poll(source, conditions):
                self.wake()

        await self._every(self._settings.poll_s, once, "reading alerts")

    async def _every(self, interval_s: float, chore: Chore, what: str) -> None:
        while True:
            await self._guarded(_true_after(chore(self._clock.now())), what)
            await self._clock.sleep(interval_s)

    async def _guarded(self, work: Awaitable[bool], what: str) -> bool:
        """Log what an outside system or the database did to us, and go on."""
        try:
            return await work
        except IncidentResponseError as error:
            log.warning("%s failed, trying again: %s", what, error)
        except Exception:  # workflow step boundary: a worker that ends would end the receiver too
            log.exception("%s failed unexpectedly, trying again", what)
        return False


async def _true_after(work: Awaitable[object]) -> bool:
    await work
    return True
