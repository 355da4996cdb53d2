"""`iir serve`: receiver and worker in one process."""

import gc
import sys
from typing import TYPE_CHECKING

import click

from it_incident_response.cli.runtime import load_config, run_async

if TYPE_CHECKING:
    from it_incident_response.system import Runtime


_SWITCH_INTERVAL_S = 0.001


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default: server.port; 0: any free.")
@click.option(
    "--worker/--no-worker",
    "has_worker",
    default=True,
    help="Handle incidents too, or only receive alerts (`iir worker` elsewhere handles them).",
)
@click.option("--fault", "faults", multiple=True, help="Begin this fault in the simulated world.")
@click.pass_context
@run_async
async def serve(
    ctx: click.Context, port: int | None, has_worker: bool, faults: tuple[str, ...]
) -> None:
    """Receive alerts, open incidents and carry them forward until stopped.

    Point Alertmanager at the printed webhook address. Several of these may share one PostgreSQL.
    """
    from it_incident_response.cli.work import log_to_stderr
    from it_incident_response.system import make_world, open_configured

    log_to_stderr(debug=bool(getattr(ctx.obj, "debug", False)))
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
        await _serve(runtime, has_worker=has_worker)


async def _serve(runtime: "Runtime", *, has_worker: bool) -> None:
    from it_incident_response.cli.work import mode, stop_signal, work_until_stopped
    from it_incident_response.integrations import check_alerts, check_webhook
    from it_incident_response.integrations.change_payloads import ServiceNames
    from it_incident_response.ports import SystemClock
    from it_incident_response.servers.app import create_app
    from it_incident_response.servers.changes import ChangeDoor
    from it_incident_response.servers.intake import Intake
    from it_incident_response.servers.listening import serving

    settings, taking_in = runtime.settings, runtime.taking_in
    intake = Intake(
        runtime.store,
        SystemClock(),
        held_bytes_max=settings.server.max_waiting_bytes,
        on_stored=taking_in.wake,
    )
    taking_in.give_way_while(intake.is_pressed)
    _prefer_short_pauses()
    async with intake:
        checks = {"alertmanager": check_webhook, "alerts": check_alerts}
        given = settings.infrastructure.changes
        door = ChangeDoor(runtime.store, ServiceNames(given.services), given.webhook_secrets)
        app = create_app(intake, settings=settings.server, checks=checks, changes=door)
        async with serving(app, settings.server) as url:
            click.echo(f"listening on {url}; Alertmanager's webhook: {url}/webhooks/alertmanager")
            if not has_worker:
                click.echo("receiving only: `iir worker` has to run somewhere; stop with Ctrl-C")
                await stop_signal().wait()
            else:
                click.echo(f"acting: {mode(settings)}; stop with Ctrl-C")
                await work_until_stopped(runtime)
    click.echo("stopped; nothing that was acknowledged is lost")


def _prefer_short_pauses() -> None:
    """Keep the interpreter from making requests wait; measured in docs/performance.md."""
    # Threads (of the database, for one) come to their turn sooner beside a busy event loop.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # What lives until the end is not looked through at each full collection, which takes 0.1 s.
    gc.collect()
    gc.freeze()
