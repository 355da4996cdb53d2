"""Our PromQL evaluator and a real Prometheus, over the same samples, give the same answers."""

import asyncio
import math
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from it_incident_response.simulation import SimulatedWorld
from it_incident_response.simulation.alert_rules import RULES
from it_incident_response.simulation.exposition import number_text, series_text
from it_incident_response.simulation.promql import Grid, evaluate
from it_incident_response.simulation.promql.vectors import make_labels
from it_incident_response.simulation.series_source import HistorySource
from tests.real.stack.process import require_binary
from tests.real.stack.prometheus import prometheus_server

FAULTS = ("api_errors_after_deploy", "cpu_saturation", "network_latency", "disk_full")
"""Faults in which no process ends: a backfill cannot carry marks of staleness."""
QUERIES = (
    "sum by (instance, mode) (rate(node_cpu_seconds_total[90s]))",
    'topk(3, rate(http_requests_total{code="200"}[1m]))',
    'sum without (cpu, mode) (irate(node_cpu_seconds_total{mode!="idle"}[5m]))',
    "avg_over_time(http_workers_busy[3m]) > 1",
    "max_over_time(rate(http_requests_total[1m])[10m:1m])",
    "quantile_over_time(0.9, http_workers_busy[7m])",
    "stddev_over_time(http_workers_busy[7m])",
    "quantile by (service) (0.3, http_workers_busy)",
    "deriv(process_resident_memory_bytes[10m])",
    "predict_linear(node_filesystem_avail_bytes[11m], 3600)",
    "delta(node_memory_MemAvailable_bytes[4m])",
    "changes(http_workers_busy[2m])",
    "resets(node_memory_MemAvailable_bytes[2m])",
    "histogram_quantile(0.5, "
    "sum by (service, le) (rate(http_request_duration_seconds_bucket[4m])))",
    "histogram_quantile(0.99, rate(http_request_duration_seconds_bucket[2m]))",
    "node_load1 / on (instance) group_left () "
    'count by (instance) (node_cpu_seconds_total{mode="idle"})',
    "http_workers_busy / ignoring (job) group_left () "
    "sum by (instance, service) (http_workers_max)",
    'sum by (service) (http_workers_busy) > bool 3 or absent(nothing{job="x"})',
    "up unless on (instance) http_workers_busy",
    "up and on (instance) http_workers_busy > 2",
    'label_replace(up{job="node"}, "host", "$1", "instance", "(.*):9100")',
    "clamp_max(http_workers_busy offset 3m, 4) - http_workers_busy % 2",
    "-scalar(sum(http_workers_busy)) + vector(time()) - timestamp(vector(1))",
    "avg(http_workers_busy) by (job) ^ 2 >= 1",
    "min(up) * 0 / 0",
)


def backfill(world: SimulatedWorld, directory: Path) -> None:
    """Write the world's whole history as TSDB blocks."""
    promtool = require_binary("promtool", package="prometheus")
    times, rows = world.history.between(0, world.state.at)
    text = directory / "history.txt"
    with text.open("w") as file:
        for place, key in enumerate(world.history.keys):
            name = series_text(key)
            for at, value in zip(times.tolist(), rows[:, place].tolist(), strict=True):
                if not math.isnan(value):
                    file.write(f"{name} {number_text(value)} {at:.0f}\n")
        file.write("# EOF\n")
    (directory / "data").mkdir()
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(directory / "data")],
        check=True,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    world = SimulatedWorld(7)
    for fault in FAULTS:
        world.inject(fault)
    asyncio.run(world.run(1200))
    return world


@pytest.fixture(scope="module")
def url(world, tmp_path_factory):
    directory = tmp_path_factory.mktemp("promql")
    backfill(world, directory)
    with prometheus_server(directory) as server:
        yield server.url


def theirs(url: str, query: str, grid: Grid, step: float):
    """Return {labels: {moment: value}} as the real Prometheus answers."""
    reply = httpx.get(
        f"{url}/api/v1/query_range",
        params={"query": query, "start": grid.start, "end": grid.end, "step": step},
        timeout=60,
    )
    assert reply.status_code == 200, reply.text
    return {
        make_labels(item["metric"]): {float(at): float(value) for at, value in item["values"]}
        for item in reply.json()["data"]["result"]
    }


def ours(world: SimulatedWorld, query: str, grid: Grid):
    found = evaluate(query, HistorySource(world.history), grid)
    if isinstance(found, np.ndarray):
        return {(): dict(zip(grid.moments.tolist(), found.tolist(), strict=True))}
    return {
        labels: {
            float(at): float(value)
            for at, value, present in zip(grid.moments, column.values, column.present, strict=True)
            if present
        }
        for labels, column in found.items()
    }


def signal_queries(world: SimulatedWorld) -> list[str]:
    return [group.subjects[0].query for group in world.alerts.groups]


@pytest.mark.parametrize("step", [15.0, 47.0])
def test_answers_agree_with_a_real_prometheus(world, url, step):
    queries = [*QUERIES, *(rule.expr for rule in RULES), *signal_queries(world)]
    end = world.state.at
    # Moments on the raster of the samples, and moments between them.
    grid = Grid.over(end - 1800, end, step)
    samples = 0
    for query in queries:
        expected, found = theirs(url, query, grid, step), ours(world, query, grid)
        assert found.keys() == expected.keys(), query
        for labels, points in expected.items():
            assert found[labels].keys() == points.keys(), (query, labels)
            for at, value in points.items():
                assert found[labels][at] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (
                    f"{query} {labels} at {at}"
                )
                samples += 1
    assert samples > 10_000


@pytest.mark.parametrize(
    "query", ["sum(", "up * on () up", "http_workers_busy / on (job) up", "rate(up)", "nothing("]
)
def test_what_a_real_prometheus_refuses_we_refuse(world, url, query):
    moment = world.state.at
    reply = httpx.get(f"{url}/api/v1/query", params={"query": query, "time": moment}, timeout=10)
    assert reply.status_code in (400, 422)
    with pytest.raises(ValueError, match="."):
        evaluate(query, HistorySource(world.history), Grid.at(moment))
