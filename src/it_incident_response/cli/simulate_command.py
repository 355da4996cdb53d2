"""`iir simulate`: keeps the simulated world running, served as Prometheus and Alertmanager."""

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import click

from it_incident_response.cli.output import clean, json_option, print_json
from it_incident_response.cli.runtime import run_async

if TYPE_CHECKING:
    from it_incident_response.simulation.live import LiveWorld
    from it_incident_response.simulation.news import NewsItem

SPEED_MAX = 1000.0


@click.command()
@click.option("--fault", "faults", multiple=True, help="Begin this fault; repeatable.")
@click.option("--random", "at_random", is_flag=True, help="Begin random faults, one at a time.")
@click.option(
    "--every",
    default=20.0,
    show_default=True,
    type=click.FloatRange(min=1.0),
    help="With --random: quiet minutes of the world between two faults.",
)
@click.option("--list", "only_list", is_flag=True, help="List the faults there are.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0, 2**63 - 1))
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, SPEED_MAX, min_open=True),
    help="How much faster than real time; 1 for a real Prometheus to scrape.",
)
@click.option(
    "--port",
    default=9190,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Loopback port to serve on; 0 for any.",
)
@click.option("--webhook", metavar="URL", help="Post alerts there, as an Alertmanager would.")
@json_option
@run_async
async def simulate(faults: tuple[str, ...], **given: Any) -> None:
    """Run the simulated world and serve it, on loopback only, until Ctrl-C.

    Below the printed address lie /metrics, Prometheus' API (/api/v1) and Alertmanager's (/api/v2).
    A real Prometheus scrapes it with `honor_labels: true`.
    """
    from it_incident_response.simulation import FAULTS

    if given["only_list"]:
        _list(sorted(FAULTS), as_json=given["as_json"])
        return
    if unknown := [fault for fault in faults if fault not in FAULTS]:
        raise click.UsageError(f"{unknown[0]!r} is none of the faults; see `iir simulate --list`")
    await _run(faults, given)


def _list(kinds: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(kinds)
    else:
        click.echo("\n".join(kinds))


async def _run(faults: tuple[str, ...], given: dict[str, Any]) -> None:
    from it_incident_response.config.settings import ServerSettings
    from it_incident_response.ports import SystemClock
    from it_incident_response.servers.listening import serving
    from it_incident_response.simulation import PacedClock, SimulatedWorld
    from it_incident_response.simulation.live import LiveWorld

    world = SimulatedWorld(given["seed"], PacedClock(SystemClock().now(), given["speed"]))
    quiet_s = given["every"] * 60 if given["at_random"] else None
    live = LiveWorld(world, webhook=given["webhook"], quiet_s=quiet_s)
    settings = ServerSettings(host="127.0.0.1", port=given["port"])
    async with live, serving(live.app, settings) as url:
        _say(given["as_json"], what="serving", about=url, detail=_where(url, given["webhook"]))
        for fault in faults:
            live.world.inject(fault)
        await _until_stopped(live, as_json=given["as_json"])
    _say(given["as_json"], what="stopped", about="", detail="the simulated world has ended")


def _where(url: str, webhook: str | None) -> str:
    told = f"; webhooks go to {webhook}" if webhook else ""
    return f"Prometheus at {url}/api/v1, Alertmanager at {url}/api/v2, {url}/metrics{told}"


async def _until_stopped(live: "LiveWorld", *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            for item in await live.step():
                _tell(item, as_json=as_json)
            turn = asyncio.create_task(live.pause())
            await asyncio.wait({turn, stopped}, return_when=asyncio.FIRST_COMPLETED)
            turn.cancel()
    finally:
        stopped.cancel()


def _tell(item: "NewsItem", *, as_json: bool) -> None:
    _say(as_json, what=item.what, about=item.about, detail=item.detail, at=item.at.isoformat())


def _say(as_json: bool, *, what: str, about: str, detail: str, at: str = "") -> None:
    if as_json:
        import orjson

        click.echo(orjson.dumps({"at": at, "what": what, "about": about, "detail": detail}))
        return
    time = at[11:19] or "--:--:--"
    click.echo(f"{time}  {what.replace('_', ' '):15}{clean(about)}: {clean(detail)}")
