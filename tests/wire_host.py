"""Serves a simulated world's wire depth on loopback, from a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from it_incident_response.config.settings import ServerSettings
from it_incident_response.servers.listening import serving
from it_incident_response.simulation import SimulatedWorld, VirtualClock
from it_incident_response.simulation.wire import wire_app

PAST_S = 5400.0
LEAD_S = 360.0


def world_with(*faults: str, seed: int = 7) -> SimulatedWorld:
    """Return a world whose time is now, and stands still; the faults began minutes ago."""
    clock = VirtualClock(datetime.now(UTC) - timedelta(seconds=LEAD_S * max(1, len(faults))))
    world = SimulatedWorld(seed, clock, past_s=PAST_S)
    for fault in faults:
        world.inject(fault)
        clock.advance(LEAD_S)
        world.catch_up()
    return world


@contextmanager
def served(world: SimulatedWorld) -> Iterator[str]:
    """Yield the base URL of Prometheus' and Alertmanager's APIs over `world`."""
    urls: list[str] = []
    is_up = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        settings = ServerSettings(host="127.0.0.1", port=0)
        async with serving(wire_app(world), settings) as url:
            urls.append(url)
            is_up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert is_up.wait(15), "the wire app did not start"
    try:
        yield urls[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(15)
