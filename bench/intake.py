"""Alerts accepted a second: ours (durable) next to a real Alertmanager (in memory), same load.

The load generator is wrk on the same two cores. Alertmanager gets the alerts at its own API, ours
as webhook bodies; both in bodies of the same number of alerts, over as many connections. 1,000
fingerprints in turn. Before each measurement the server gets every alert once, so that neither
side is measured while it takes in alerts that it has never seen; ours also ends diagnosing first.
"""

import asyncio
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.alerts import batches, posted, webhook, write_wrk_script
from bench.servers import (
    Server,
    alertmanager,
    post,
    postgresql,
    program,
    responder,
    wait_idle,
)

FINGERPRINTS = 1000
SECONDS = 6
CONNECTIONS = 32
SIZES = (1, 20)
PATH = "/webhooks/alertmanager"
QUIET = {
    "ports.alerts": "simulated",
    "polling.interval": "1h",
}


def run() -> dict[str, Any]:
    """Return rates, ratios and acknowledgement times."""
    program("wrk", "wrk")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="iir-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for size in SIZES:
            result |= _compare(folder, size)
    return result


def _compare(folder: Path, size: int) -> dict[str, Any]:
    groups = batches(FINGERPRINTS, size)
    ours = _script(folder / f"ours-{size}", [webhook(g) for g in groups])
    theirs = _script(folder / f"theirs-{size}", [posted(g) for g in groups])
    run = folder / f"run-{size}"
    run.mkdir(mode=0o755)
    with alertmanager(run) as peer:
        _post_once(peer.url, "/api/v2/alerts", [posted(g) for g in groups])
        peer_rate = _rate(peer.url + "/api/v2/alerts", theirs, size)
    rates = {"alertmanager, in memory": peer_rate}
    with responder(run, QUIET, name="sqlite") as server:
        _post_once(server.url, PATH, [webhook(g) for g in groups])
        wait_idle(server)
        rates["ours, SQLite"] = _rate(server.url + PATH, ours, size)
    with responder(run, QUIET, name="paced") as server:
        _post_once(server.url, PATH, [webhook(g) for g in groups])
        wait_idle(server)
        half = rates["ours, SQLite"] / 2
        latencies = {
            "at 1,000 alerts/s": _paced(server, groups, size, 1000),
            "at half of the measured rate": _paced(server, groups, size, half),
        }
    with (
        postgresql(run) as url,
        responder(run, {**QUIET, "store.url": url}, name="postgresql") as server,
    ):
        _post_once(server.url, PATH, [webhook(g) for g in groups])
        wait_idle(server)
        rates["ours, PostgreSQL"] = _rate(server.url + PATH, ours, size)
    label = f"bodies of {size}"
    report: dict[str, Any] = {}
    for who, rate in rates.items():
        report[f"{label}: alerts/s, {who}"] = round(rate)
    for who in ("ours, SQLite", "ours, PostgreSQL"):
        report[f"{label}: ratio to Alertmanager, {who}"] = round(rates[who] / peer_rate, 2)
    for load, (p50, p99) in latencies.items():
        report[f"{label}: SQLite p50/p99 ms {load}"] = f"{p50:.1f} / {p99:.1f}"
    return report


def _post_once(url: str, path: str, bodies: list[bytes]) -> None:
    for body in bodies:
        post(url + path, body)


def _script(folder: Path, bodies: list[bytes]) -> Path:
    folder.mkdir()
    return write_wrk_script(bodies, folder)


def _rate(url: str, script: Path, size: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), url]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", printed)
    if found is None:
        raise RuntimeError(f"wrk said nothing usable:\n{printed}")
    requests, microseconds, refused, broken = map(int, found.groups())
    if refused or broken:
        raise RuntimeError(f"{refused} requests refused, {broken} broken, of {requests}: {url}")
    return requests * size / (microseconds / 1e6)


def _paced(
    server: Server, groups: list[list[dict[str, Any]]], size: int, rate: float
) -> tuple[float, float]:
    """Post at a fixed rate whatever the answers take; return the 50th and 99th percentile in ms."""
    bodies = [webhook(group) for group in groups]
    times = asyncio.run(_post_at_rate(server.url, bodies, rate / size, SECONDS))
    cuts = statistics.quantiles(times, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


async def _post_at_rate(url: str, bodies: list[bytes], rate: float, seconds: float) -> list[float]:
    host, port = url.removeprefix("http://").split(":")
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS * 2):
        free.put_nowait(await asyncio.open_connection(host, int(port)))
    heads = [_head(host, len(body)) + body for body in bodies]
    times: list[float] = []
    tasks = []
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(_post(free, heads[number % len(heads)], due, times)))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait()[1].close()
    return times


def _head(host: str, length: int) -> bytes:
    return (
        f"POST /webhooks/alertmanager HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def _post(
    free: "asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]",
    request: bytes,
    due: float,
    times: list[float],
) -> None:
    reader, writer = await free.get()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(head.decode(errors="replace"))
    match = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(match[1]) if match else 0)
    # Counted from when it was due, so that a stall is not hidden by the posts it held back.
    times.append(time.perf_counter() - due)
    free.put_nowait((reader, writer))
