"""What `iir serve` and `iir worker` share: handling incidents until stopped."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from it_incident_response.config import Settings
    from it_incident_response.system import Runtime


async def work_until_stopped(runtime: "Runtime", *, only_sites: bool = False) -> None:
    """Take in alerts and carry incidents until SIGINT or SIGTERM; then end in good order.

    With `only_sites` this process carries out what belongs to its sites, and nothing else.
    """
    from it_incident_response.system.durable import DurableService
    from it_incident_response.workflow.engine_worker import WorkerSettings

    given, adapters = runtime.settings.worker, runtime.adapters
    worker = WorkerSettings(
        queue_prefix=runtime.settings.engine.queue_prefix,
        executors=tuple(sorted(adapters.executors)),
        is_core=not only_sites,
        **given.model_dump(),
    )
    jobs: list[Coroutine[Any, Any, None]] = [DurableService(runtime, runtime.outbox, worker).run()]
    if not only_sites:
        chore = Housekeeping(runtime).run
        jobs.append(
            runtime.taking_in.run(
                source=adapters.alerts,
                conditions=runtime.conditions,
                chore=chore,
                also=runtime.polled,
            )
        )
        if adapters.annotator is not None:
            jobs.append(runtime.dashboard_marks(adapters.annotator).run())
    await _until_stopped(jobs)


async def _until_stopped(jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Run the jobs until a signal; an error of one of them ends all and is raised."""
    stopped = asyncio.create_task(stop_signal().wait())
    tasks = [asyncio.create_task(job) for job in jobs]
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, *tasks):
        task.cancel()
    await asyncio.gather(stopped, *tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()


class Housekeeping:
    """What has to be done now and then: deny what nobody approved, keep the record bounded."""

    def __init__(self, runtime: "Runtime") -> None:
        from it_incident_response.workflow.clock_watch import ClockWatch

        self._runtime = runtime
        self._clock_watch = ClockWatch(runtime.store, runtime.clock)
        self._next_prune: datetime | None = None

    async def run(self, now: datetime) -> None:
        """Do what is due at `now`."""
        runtime = self._runtime
        await self._clock_watch.look()
        await runtime.approvals.expire_due()
        retention = runtime.settings.store.retention
        if self._next_prune is not None and now >= self._next_prune:
            await runtime.store.prune(
                older_than=now - timedelta(days=retention.days),
                max_bytes=retention.max_size_bytes,
                now=now,
                dry_run=False,
            )
        if self._next_prune is None or now >= self._next_prune:
            self._next_prune = now + timedelta(seconds=retention.every_s)


def mode(settings: "Settings") -> str:
    """Return in plain words what may be changed."""
    if settings.ports.execution == "simulated":
        return "only in the simulated world"
    if settings.may_change_real_systems:
        approval = "after approval" if settings.resolution.require_approval else "as policy says"
        return f"on real systems, {approval}"
    return "never (dry run: shows what would run)"


def stop_signal() -> asyncio.Event:
    """Return an event that is set when the process is asked to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def log_to_stderr(*, debug: bool) -> None:
    """Log what we do, and of libraries only what is wrong."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
    quiet = logging.INFO if debug else logging.WARNING
    for name in ("httpx", "httpcore", "asyncssh", "alembic", "aiosqlite", "uvicorn", "temporalio"):
        logging.getLogger(name).setLevel(quiet)
