"""`iir serve`: receiver and worker in one process."""

import asyncio
import gc
import logging
import signal
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from it_incident_response.cli.runtime import load_config, run_async

if TYPE_CHECKING:
    from it_incident_response.config import Settings
    from it_incident_response.system import Runtime


_SWITCH_INTERVAL_S = 0.001


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default: server.port; 0: any free.")
@click.option("--fault", "faults", multiple=True, help="Begin this fault in the simulated world.")
@click.pass_context
@run_async
async def serve(ctx: click.Context, port: int | None, faults: tuple[str, ...]) -> None:
    """Receive alerts, open incidents and carry them forward until stopped.

    Point Alertmanager at the printed webhook address. Several of these may share one PostgreSQL.
    """
    from it_incident_response.system import make_world, open_configured

    _log_to_stderr(debug=bool(getattr(ctx.obj, "debug", False)))
    loaded = load_config(ctx)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    settings = loaded.settings
    if port is not None:
        settings = settings.model_copy(
            update={"server": settings.server.model_copy(update={"port": port})}
        )
    world = make_world(settings)
    async with open_configured(settings, world) as runtime:
        for fault in faults:
            if world is None:
                raise click.UsageError("--fault needs a simulated world; every port is real")
            world.inject(fault)
        await _serve(runtime)


async def _serve(runtime: "Runtime") -> None:
    from it_incident_response.integrations import check_alerts, check_webhook
    from it_incident_response.ports import SystemClock
    from it_incident_response.servers.app import create_app
    from it_incident_response.servers.intake import Intake
    from it_incident_response.servers.listening import serving

    settings, worker = runtime.settings, runtime.worker
    stop = _stop_signal()
    intake = Intake(
        runtime.store,
        SystemClock(),
        held_bytes_max=settings.server.max_waiting_bytes,
        on_stored=worker.wake,
    )
    worker.give_way_while(intake.is_pressed)
    _prefer_short_pauses()
    async with intake:
        checks = {"alertmanager": check_webhook, "alerts": check_alerts}
        app = create_app(intake, settings=settings.server, checks=checks)
        async with serving(app, settings.server) as url:
            click.echo(f"listening on {url}; Alertmanager's webhook: {url}/webhooks/alertmanager")
            click.echo(f"acting: {_mode(settings)}; stop with Ctrl-C")
            work = asyncio.create_task(
                worker.run(
                    source=runtime.adapters.alerts,
                    conditions=runtime.adapters.conditions,
                    chore=Housekeeping(runtime).run,
                )
            )
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            await _end(work)
    click.echo("stopped; nothing that was acknowledged is lost")


def _prefer_short_pauses() -> None:
    """Keep the interpreter from making requests wait; measured in docs/performance.md."""
    # Threads (of the database, for one) come to their turn sooner beside a busy event loop.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # What lives until the end is not looked through at each full collection, which takes 0.1 s.
    gc.collect()
    gc.freeze()


async def _end(work: "asyncio.Task[None]") -> None:
    if work.done():
        work.result()
        return
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


class Housekeeping:
    """What has to be done now and then: deny what nobody approved, keep the record bounded."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._next_prune: datetime | None = None

    async def run(self, now: datetime) -> None:
        """Do what is due at `now`."""
        runtime = self._runtime
        for expired in await runtime.approvals.expire_due():
            await runtime.store.wake(expired.incident_id, now)
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


def _mode(settings: "Settings") -> str:
    if settings.ports.execution == "simulated":
        return "only in the simulated world"
    if settings.may_change_real_systems:
        approval = "after approval" if settings.resolution.require_approval else "as policy says"
        return f"on real systems, {approval}"
    return "never (dry run: shows what would run)"


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _log_to_stderr(*, debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
    quiet = logging.INFO if debug else logging.WARNING
    for name in ("httpx", "httpcore", "asyncssh", "alembic", "aiosqlite", "uvicorn"):
        logging.getLogger(name).setLevel(quiet)
