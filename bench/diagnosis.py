"""Seconds from a webhook to the first stored diagnosis, with a real Prometheus on loopback.

Every alert is of another service and host, so that each opens an incident of its own; Prometheus
scrapes itself and has a minute of history. Beside it: what one bare query of that Prometheus takes.
"""

import asyncio
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.alerts import alert, webhook
from bench.servers import Server, alertmanager, free_port, post, program, responder, running

INCIDENTS = 40
PAUSE_S = 0.4
DIAGNOSED_WITHIN_S = 60.0


def run() -> dict[str, Any]:
    """Return the median and 95th percentile."""
    with tempfile.TemporaryDirectory(prefix="iir-bench-") as name:
        folder = Path(name)
        with _prometheus(folder) as prometheus, alertmanager(folder) as alerts:
            settings = {
                "use_real_data": "true",
                "infrastructure.monitoring.prometheus.url": prometheus.url,
                "infrastructure.monitoring.prometheus.alert_manager_url": alerts.url,
                "ports.logs": "none",
                "ports.changes": "none",
                "polling.interval": "1h",
            }
            with responder(folder, settings) as server:
                posted = _post_all(server)
                seconds = asyncio.run(_diagnosed(folder / "iir" / "iir.db", posted))
            bare = _bare_query(prometheus.url)
    return {
        "incidents": len(seconds),
        "webhook to diagnosis, s, median": round(statistics.median(seconds), 3),
        "webhook to diagnosis, s, p95": round(statistics.quantiles(seconds, n=20)[18], 3),
        "one bare query, s": round(bare, 4),
        "ratio of medians": round(statistics.median(seconds) / bare, 1),
    }


@contextmanager
def _prometheus(folder: Path) -> Iterator[Server]:
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
    )
    command = [
        program("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    url = f"http://127.0.0.1:{port}/-/ready"
    with running(command, folder / "prometheus.log", url) as server:
        yield server


def _post_all(server: Server) -> dict[str, float]:
    posted = {}
    for number in range(INCIDENTS):
        given = alert(number)
        given["labels"] |= {
            "alertname": "InstanceDown",
            "service": f"service-{number}",
            "instance": f"host-{number}:9100",
            "job": f"job-{number}",
        }
        given["startsAt"] = datetime.now(UTC).isoformat()
        posted[f"service-{number}"] = time.time()
        post(server.url + "/webhooks/alertmanager", webhook([given]))
        time.sleep(PAUSE_S)
    return posted


async def _diagnosed(database: Path, posted: dict[str, float]) -> list[float]:
    from it_incident_response.ports import IncidentFilter, SystemClock
    from it_incident_response.storage import open_store

    store = open_store(f"sqlite:///{database}", clock=SystemClock())
    await store.open()
    deadline = time.monotonic() + DIAGNOSED_WITHIN_S
    try:
        while time.monotonic() < deadline:
            incidents = await store.incidents(IncidentFilter(limit=1000))
            made = {i.affected_systems: await store.diagnoses_of(i.id) for i in incidents}
            if len(made) == len(posted) and all(made.values()):
                return [
                    diagnoses[0].made_at.timestamp() - _posted_at(systems, posted)
                    for systems, diagnoses in made.items()
                ]
            await asyncio.sleep(0.2)
    finally:
        await store.close()
    raise RuntimeError(f"only {len(made)} of {len(posted)} incidents were diagnosed")


def _posted_at(systems: tuple[str, ...], posted: dict[str, float]) -> float:
    return next(posted[name] for name in systems if name in posted)


def _bare_query(url: str) -> float:
    times = []
    for _ in range(30):
        began = time.perf_counter()
        with urllib.request.urlopen(f"{url}/api/v1/query?query=up", timeout=10) as answer:
            answer.read()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
