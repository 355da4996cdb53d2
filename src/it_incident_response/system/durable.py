"""Runs incidents on the durable engine: the embedded server, or a cluster, and our workers."""

import asyncio
import logging
import os
import socket
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import ConnectorUnavailable, StoreUnavailable
from it_incident_response.ports import IncidentFilter, Lease, Stopwatch, SystemClock
from it_incident_response.safety.reminders import ApprovalNotices
from it_incident_response.system.composition import Runtime
from it_incident_response.system.overview import notice_settings
from it_incident_response.workflow.activities import ActivitySettings, IncidentActivities
from it_incident_response.workflow.engine.connection import connect, until_ready
from it_incident_response.workflow.engine.embedded import EmbeddedServer, running_address
from it_incident_response.workflow.engine_worker import IncidentEngine, WorkerSettings, working
from it_incident_response.workflow.outbox import Outbox
from it_incident_response.workflow.persistence import Persistent

log = logging.getLogger(__name__)

POST = "engine"
"""The lease of who runs the embedded engine of a database."""
POST_S = 30.0
STANDBY_S = 2.0
READY_S = 60.0
RECONCILE_S = 300.0
_OPEN = tuple(status for status in IncidentStatus if status.is_open)


class DurableService:
    """Carries incidents until cancelled; entered and run in one task."""

    def __init__(self, runtime: Runtime, outbox: Outbox, worker: WorkerSettings) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._worker = worker
        settings = runtime.settings
        self._engine = settings.engine
        self._place = f"{socket.gethostname()}:{self._engine.folder.absolute()}"
        self._holder = f"{self._place}:{os.getpid()}:{new_id(runtime.clock.now())[-8:]}"
        self._seen: tuple[int, datetime] | None = None
        """Token and end of another holder's lease, when it was looked at last."""
        self._silence = Stopwatch(SystemClock())
        self.is_working = asyncio.Event()
        """Set while workflows can be started and are worked on."""

    async def run(self) -> None:
        """Work until cancelled; waits while another process runs the embedded engine."""
        if not self._engine.is_embedded:
            return await self._work_at_cluster()
        while True:
            await self._until_post_is_free()
            try:
                async with EmbeddedServer(self._engine, on_fresh=self._rebuild) as server:
                    await Persistent("running the engine").attempt(partial(self._at_post, server))
            except (ConnectorUnavailable, StoreUnavailable, OSError) as error:
                # Such as a full disk; alerts go on being received and taken in meanwhile.
                log.warning("the engine cannot be run, trying again: %s", error)
            await SystemClock().sleep(STANDBY_S)

    async def _at_post(self, server: EmbeddedServer) -> bool:
        await self._take_post(server.address)
        try:
            await self._work_beside(server)
        finally:
            await self._runtime.store.drop_lease(POST, holder=self._holder)
        return True

    async def _work_at_cluster(self) -> None:
        persistent = Persistent(f"working with Temporal at {self._engine.address}")
        while True:
            await persistent.attempt(lambda: self._work(None))
            await SystemClock().sleep(STANDBY_S)

    async def _work_beside(self, server: EmbeddedServer) -> None:
        """Work until another process has our post: we were away for too long."""
        tasks: set[asyncio.Task[Any]] = {
            asyncio.create_task(self._work(server.address)),
            asyncio.create_task(self._keep_post(server.address)),
            asyncio.create_task(server.wait()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _work(self, address: str | None) -> bool:
        client = await connect(self._engine, address)
        await until_ready(client, READY_S)
        engine = IncidentEngine(client, self._engine.queue_prefix)
        async with working(client, self._activities(), self._worker):
            self.is_working.set()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._outbox.run(engine.wake))
                    group.create_task(self._reconcile(engine))
            finally:
                self.is_working.clear()
        return True

    def _activities(self) -> IncidentActivities:
        runtime = self._runtime
        notices = ApprovalNotices(runtime.store, notice_settings(runtime.settings.approval))
        settings = ActivitySettings(
            queue_prefix=self._engine.queue_prefix, pace=runtime.adapters.pace
        )
        return IncidentActivities(
            runtime.stages, runtime.clock, runtime.inventory, settings, notify=notices.send_due
        )

    async def _rebuild(self) -> None:
        """Have every open incident told to the new engine: it knows none of them."""
        woken = await self._runtime.store.wake_open(self._runtime.clock.now())
        log.info("the engine begins anew: %d open incidents are told to it", woken)

    async def _reconcile(self, engine: IncidentEngine) -> None:
        """Wake open incidents that have no workflow: it was ended at the engine by hand."""
        persistent = Persistent("comparing the record with the engine")

        async def compare() -> bool:
            known = await engine.running()
            for incident in await self._open_incidents():
                if incident not in known:
                    await self._runtime.store.wake(incident, self._runtime.clock.now())
            return True

        while True:
            await persistent.attempt(compare)
            await SystemClock().sleep(RECONCILE_S)

    async def _open_incidents(self) -> list[IncidentId]:
        found: list[IncidentId] = []
        page = await self._page(None)
        while page:
            found += page
            page = await self._page(page[-1])
        return found

    async def _page(self, before: IncidentId | None) -> list[IncidentId]:
        which = IncidentFilter(statuses=_OPEN, limit=1000, before=before)
        return [incident.id for incident in await self._runtime.store.incidents(which)]

    async def _until_post_is_free(self) -> None:
        """Return when nobody else runs an embedded engine for our database."""
        persistent = Persistent("asking who runs the engine")
        is_told = False
        while not await persistent.attempt(self._may_take_post):
            if not is_told and not persistent.is_failing:
                log.info("another process runs the engine; standing by, receiving only")
                is_told = True
            await SystemClock().sleep(STANDBY_S)

    async def _may_take_post(self) -> bool:
        lease = await self._runtime.store.lease(POST)
        return lease is None or lease.holder == self._holder or await self._is_gone(lease)

    async def _is_gone(self, lease: Lease) -> bool:
        if lease.holder.startswith(f"{self._place}:"):
            # A predecessor in our own folder that no longer runs will not come back.
            return await asyncio.to_thread(running_address, self._engine) is None
        # Clocks of machines differ, and are set: for how long it is silent is measured by ours.
        if (lease.token, lease.until) != self._seen:
            self._seen = (lease.token, lease.until)
            self._silence = Stopwatch(SystemClock())
        return self._silence.elapsed_s >= POST_S

    async def _take_post(self, address: str) -> None:
        """Take the post for good, from whoever had it and is gone."""
        store = self._runtime.store
        before = await store.lease(POST)
        is_ours_by_place = before is not None and before.holder.startswith(f"{self._place}:")
        if before is not None and (is_ours_by_place or (before.token, before.until) == self._seen):
            await store.drop_lease(POST, holder=before.holder)
        lease = await self._hold_post(address)
        if lease.holder != self._holder:
            raise ConnectorUnavailable("temporal", f"{lease.holder} runs the engine meanwhile")

    async def _keep_post(self, address: str) -> None:
        while True:
            await SystemClock().sleep(POST_S / 3)
            try:
                lease = await self._hold_post(address)
            except StoreUnavailable as error:
                log.warning("the engine's lease cannot be prolonged yet: %s", error.message)
                continue
            if lease.holder != self._holder:
                log.warning("%s runs the engine now: standing by", lease.holder)
                return

    async def _hold_post(self, address: str) -> Lease:
        # The lease is between processes of real machines, whatever the world's clock says.
        now = SystemClock().now()
        until = now + timedelta(seconds=POST_S)
        return await self._runtime.store.hold_lease(
            POST, holder=self._holder, now=now, until=until, detail=address
        )
