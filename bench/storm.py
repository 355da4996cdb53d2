"""An alert storm posted to `iir serve`: does it stay responsive, and how many incidents come of it?

10,000 alerts of 50 causes in bodies of 20, posted as fast as one sender gets its answers, while a
second client asks `/healthz` all the time. `iir` is told nothing of the topology.
"""

import asyncio
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.unit.analysis.alert_storm import StormShape, make_storm

from bench.alerts import NEVER, webhook
from bench.intake import PATH, QUIET
from bench.servers import Server, post, responder, wait_handled
from it_incident_response.domain.alert import Alert

BODY = 20
SEED = 1
ASK_EVERY_S = 0.01


def run() -> dict[str, Any]:
    """Return acknowledgement and health times, and the incidents."""
    storm = make_storm(SEED, StormShape())
    reports = [_delivered(report) for report in storm.reports]
    bodies = [webhook(reports[at : at + BODY]) for at in range(0, len(reports), BODY)]
    with tempfile.TemporaryDirectory(prefix="iir-bench-") as name:
        folder = Path(name)
        with responder(folder, QUIET) as server:
            health, ended = [], threading.Event()
            asking = threading.Thread(target=_ask, args=(server, health, ended))
            asking.start()
            began = time.monotonic()
            acknowledged = [_timed(server.url + PATH, body) for body in bodies]
            accepted = time.monotonic() - began
            wait_handled(server)
            handled = time.monotonic() - began
            ended.set()
            asking.join()
        incidents = asyncio.run(_incidents(folder / "iir" / "iir.db"))
    return {
        "reports, causes": f"{len(reports)}, {len(set(storm.causes.values()))}",
        "incidents": incidents,
        "s until accepted, until handled": f"{accepted:.1f}, {handled:.1f}",
        "acknowledgement p50/p99 ms": _p50_p99(acknowledged),
        "healthz p50/p99 ms": _p50_p99(health),
    }


def _delivered(report: Alert) -> dict[str, Any]:
    return {
        "status": report.status.value,
        "labels": dict(report.labels),
        "annotations": dict(report.annotations),
        "startsAt": report.starts_at.isoformat(),
        "endsAt": report.ends_at.isoformat() if report.ends_at else NEVER,
        "generatorURL": "",
    }


def _timed(url: str, body: bytes) -> float:
    began = time.perf_counter()
    post(url, body)
    return time.perf_counter() - began


def _ask(server: Server, times: list[float], ended: threading.Event) -> None:
    while not ended.wait(ASK_EVERY_S):
        began = time.perf_counter()
        with urllib.request.urlopen(server.url + "/healthz", timeout=30) as answer:
            answer.read()
        times.append(time.perf_counter() - began)


def _p50_p99(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49] * 1000:.1f} / {cuts[98] * 1000:.1f}"


async def _incidents(database: Path) -> int:
    from it_incident_response.ports import IncidentFilter, SystemClock
    from it_incident_response.storage import open_store

    store = open_store(f"sqlite:///{database}", clock=SystemClock())
    await store.open()
    try:
        return len(await store.incidents(IncidentFilter(limit=5000)))
    finally:
        await store.close()
