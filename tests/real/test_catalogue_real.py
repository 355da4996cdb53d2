"""The catalogue on a real Prometheus: exporters' metric names, counters that count and restart.

`expositions/NAME.txt` has lines such as one exporter gives, written by hand with the metric and
label names that it is known to have (the exporters themselves were not run); `+90` after a value
makes it a counter that grows by 90 a scrape.
"""

import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import SIGNAL_UNITS, Signal, TimeWindow
from it_incident_response.integrations import PrometheusIncidentDetector
from it_incident_response.integrations.prometheus_client import PrometheusSettings
from it_incident_response.integrations.promql import catalogue as catalogue_module
from it_incident_response.integrations.promql.catalogue import shipped_catalogue
from it_incident_response.ports.sources import MetricRequest
from tests.real.stack.prometheus import Prometheus, prometheus_server, scrape

EXPOSITIONS = Path(__file__).parent / "expositions"
NAMES = sorted(path.stem for path in EXPOSITIONS.glob("*.txt"))
PROMQL = Path(catalogue_module.__file__).parent
RESTART_AT = 10
"""Scrapes after which every counter begins again, as when the program restarts."""
SCRAPES = 26
_LINE = re.compile(r"(?P<series>\S+?(?:\{.*\})?) (?P<value>\S+)(?: \+(?P<step>\S+))?")

S = Signal
EXPECTED: dict[str, dict[Signal, float]] = {
    "postgres": {
        S.UP: 1,
        S.REQUEST_RATE: 100,
        S.ERROR_RATIO: 0.1,
        S.CONNECTION_POOL_USE: 0.4,
        S.LOCK_CONFLICTS: 1,
        S.CACHE_MISSES: 0.2,
        S.REPLICATION_LAG: 7,
        S.QUEUE_LENGTH: 4,
        S.THREADS: 4,
        S.RESTARTS: 0,
    },
    "pgbouncer": {S.REQUEST_RATE: 70, S.QUEUE_LENGTH: 6, S.CONNECTION_POOL_USE: 0.9},
    "mysql": {
        S.UP: 1,
        S.REQUEST_RATE: 40,
        S.CONNECTION_POOL_USE: 75 / 151,
        S.LOCK_CONFLICTS: 3,
        S.CACHE_MISSES: 0.05,
        S.REPLICATION_LAG: 11,
        S.QUEUE_LENGTH: 2,
        S.REJECTIONS: 2,
        S.THREADS: 9,
    },
    "redis": {
        S.UP: 1,
        S.CPU_USE: 0.6,
        S.MEMORY_USE: 0.8,
        S.PROCESS_MEMORY: 9e8,
        S.REQUEST_RATE: 200,
        S.ERROR_RATIO: 0.02,
        S.CACHE_MISSES: 0.25,
        S.EVICTIONS: 5,
        S.REJECTIONS: 1,
        S.CONNECTION_POOL_USE: 0.5,
        S.QUEUE_LENGTH: 3,
        S.REPLICATION_LAG: 2,
    },
    "memcached": {S.CACHE_MISSES: 0.25, S.EVICTIONS: 4, S.REQUEST_RATE: 90},
    "kafka_exporter": {S.QUEUE_LENGTH: 1000, S.REQUEST_RATE: 50, S.MISSING_REPLICAS: 1},
    "kafka_jmx": {S.REQUEST_RATE: 50, S.ERROR_RATIO: 0.02, S.SATURATION: 0.7},
    "kafka_clients": {S.QUEUE_LENGTH: 40},
    "jvm_micrometer": {
        S.CPU_USE: 0.35,
        S.MEMORY_USE: 0.8,
        S.PROCESS_MEMORY: 9e8,
        S.REQUEST_RATE: 100,
        S.ERROR_RATIO: 0.1,
        S.CONNECTION_POOL_USE: 0.9,
        S.GC_TIME: 0.2,
        S.THREADS: 210,
        S.SATURATION: 0.75,
        S.QUEUE_LENGTH: 5,
        S.FILE_DESCRIPTOR_USE: 0.1,
    },
    "jvm_client_java": {S.MEMORY_USE: 0.8, S.PROCESS_MEMORY: 1.2e9, S.GC_TIME: 0.2, S.THREADS: 80},
    "jvm_opentelemetry": {
        S.CPU_USE: 0.4,
        S.MEMORY_USE: 0.6,
        S.GC_TIME: 0.1,
        S.THREADS: 80,
        S.REQUEST_RATE: 100,
        S.ERROR_RATIO: 0.1,
        S.CONNECTION_POOL_USE: 0.9,
    },
    "go_service": {
        S.CPU_USE: 0.2,
        S.MEMORY_USE: 0.5,
        S.PROCESS_MEMORY: 3e8,
        S.GC_TIME: 0.1,
        S.THREADS: 4000,
        S.REQUEST_RATE: 100,
        S.ERROR_RATIO: 0.1,
        S.FILE_DESCRIPTOR_USE: 0.2,
        S.CONNECTION_POOL_USE: 0.8,
    },
    "http_status": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1},
    "http_status_code": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1},
    "grpc": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1},
    "grpc_opentelemetry": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1},
    "grpc_spring": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1},
    "nginx": {S.UP: 1, S.REQUEST_RATE: 100, S.REJECTIONS: 10},
    "nginx_vts": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1},
    "nginx_plus": {S.REQUEST_RATE: 100, S.ERROR_RATIO: 0.1, S.REJECTIONS: 2},
    "process_exporter": {S.PROCESS_MEMORY: 5e8, S.THREADS: 64, S.FILE_DESCRIPTOR_USE: 0.4},
    "cadvisor": {
        S.CPU_USE: 0.8,
        S.MEMORY_USE: 0.9,
        S.PROCESS_MEMORY: 9e8,
        S.SATURATION: 0.4,
        S.DISK_USE: 0.8,
        S.THREADS: 40,
        S.NETWORK_ERRORS: 2,
        S.RESTARTS: 0,
    },
    "cadvisor_docker": {S.CPU_USE: 0.8, S.MEMORY_USE: 0.9, S.SATURATION: 0.4, S.RESTARTS: 0},
    "kube_state_metrics": {S.MISSING_REPLICAS: 2, S.SATURATION: 0.9, S.DISK_USE: 0.9},
}
LATENCY = ("jvm_micrometer", "jvm_opentelemetry", "go_service", "grpc", "grpc_opentelemetry")
NOT_FROM_EXPORTERS = {
    "postgres": {S.PROCESS_MEMORY, S.CPU_USE, S.FILE_DESCRIPTOR_USE, S.GC_TIME},
    "mysql": {S.PROCESS_MEMORY},
}
"""What the exporter tells about itself only, which must not be taken for the database."""


MIXED = ("go_service", "postgres")
"""Both under one service, as where a database's exporter carries the application's label."""


class Exporter:
    """Serves one exposition whose counters grow with each scrape and restart once."""

    def __init__(self, name: str) -> None:
        exporter = self
        self.scrapes = 0
        self.lines = [
            found
            for line in (EXPOSITIONS / f"{name}.txt").read_text().splitlines()
            if (found := _LINE.fullmatch(line))
        ]
        self.metrics = {found["series"].partition("{")[0] for found in self.lines}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def text(self) -> str:
        self.scrapes += 1
        return "".join(f"{found['series']} {self.value(found)}\n" for found in self.lines)

    def value(self, found: re.Match[str]) -> float:
        base = float(found["value"])
        if found["step"] is None:
            return base
        if self.scrapes > RESTART_AT:
            return (self.scrapes - RESTART_AT) * float(found["step"])
        return base + self.scrapes * float(found["step"])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def exporters() -> Iterator[dict[str, Exporter]]:
    running = {name: Exporter(name) for name in NAMES}
    running |= {f"mixed {name}": Exporter(name) for name in MIXED}
    yield running
    for exporter in running.values():
        exporter.close()


@pytest.fixture(scope="module")
def stack(
    exporters: dict[str, Exporter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    jobs = [
        scrape(name, exporter.address, labels={"service": name.partition(" ")[0]})
        for name, exporter in exporters.items()
    ]
    server = prometheus_server(tmp_path_factory.mktemp("catalogue"), scrapes=jobs)
    with server:
        deadline = time.monotonic() + 90
        while min(exporter.scrapes for exporter in exporters.values()) < SCRAPES:
            assert time.monotonic() < deadline, "Prometheus scrapes every exporter every second"
            time.sleep(0.2)
        yield server


@pytest.fixture
async def client(stack: Prometheus):
    async with PrometheusIncidentDetector(settings=PrometheusSettings(url=stack.url)) as detector:
        yield detector


async def read(client: PrometheusIncidentDetector, name: str, *signals: Signal):
    now = datetime.now(UTC)
    window = TimeWindow(start=now - timedelta(seconds=SCRAPES + 4), end=now)
    entities = (Entity(EntityKind.SERVICE, name),)
    request = MetricRequest(signals=signals, entities=entities, window=window, step_s=1.0)
    return await client.read_metrics(request)


def test_every_exposition_has_its_expectations():
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_an_exporters_signals_have_the_right_values_in_the_right_unit(client, name):
    batch = await read(client, name, *EXPECTED[name])
    assert batch.gaps == ()
    for signal, expected in EXPECTED[name].items():
        found = [series for series in batch.series if series.signal is signal]
        assert found, f"{signal} is there"
        last = max(series.values[-1] for series in found)
        # Rates are estimates over some twenty scrapes that are not quite a second apart.
        assert last == pytest.approx(expected, rel=0.35, abs=0.02), (signal, found[0].query)
        assert all("$" not in series.query for series in found)


@pytest.mark.parametrize("name", NAMES)
async def test_a_restart_of_counters_is_neither_negative_nor_huge(client, name):
    batch = await read(client, name, *(s for s in Signal if s is not Signal.OTHER))
    assert batch.series
    for series in batch.series:
        where = (series.signal, series.query, series.values)
        # Of a certificate's lifetime and the like there is nothing here: nothing may be below 0.
        assert min(series.values) >= 0, where
        if SIGNAL_UNITS[series.signal] == "ratio":
            assert max(series.values) <= 1.0001, where
        if SIGNAL_UNITS[series.signal] == "per_second":
            expected = EXPECTED[name].get(series.signal)
            assert expected is None or max(series.values) <= 2.5 * expected, where


@pytest.mark.parametrize("name", LATENCY)
async def test_a_95th_percentile_is_in_seconds(client, name):
    batch = await read(client, name, Signal.LATENCY_P95)
    (series,) = batch.series
    # 80 of 100 within 0.1 s, all within 0.5 s: three quarters of the way through the last bucket.
    assert series.values[-1] == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("name", sorted(NOT_FROM_EXPORTERS))
async def test_an_exporters_own_process_is_not_the_database(client, name):
    batch = await read(client, name, *NOT_FROM_EXPORTERS[name])
    assert batch.series == ()


async def test_a_program_beside_an_exporter_is_told_from_it(client, exporters):
    batch = await read(client, "mixed", Signal.PROCESS_MEMORY, Signal.CPU_USE, Signal.THREADS)
    memory = [series for series in batch.series if series.signal is Signal.PROCESS_MEMORY]
    assert [series.values[-1] for series in memory] == [3e8]
    assert [s.labels["instance"] for s in memory] == [exporters["mixed go_service"].address]
    assert len([series for series in batch.series if series.signal is Signal.CPU_USE]) == 1


NEW_FILES = ("database", "cache", "kafka", "proxy", "kubernetes", "kubernetes_node", "runtime")
NOT_HERE = ("mongodb_mongod_replset_member_replication_lag",)
"""Metrics of exporters that have no exposition."""


def queries_of(file: str) -> set[str]:
    text = (PROMQL / f"{file}.yaml").read_text()
    entries = catalogue_module._read(file, text).all().values()
    return {candidate.template for candidates in entries for candidate in candidates}


def test_every_query_of_these_exporters_gives_data(stack, exporters):
    """Each candidate whose metrics one exposition has gives data there, on its own."""
    detector = PrometheusIncidentDetector(stack.url)
    proven, empty = set(), set()
    for (_, kind), candidates in shipped_catalogue().all().items():
        if kind not in (EntityKind.SERVICE, EntityKind.NODE):
            continue
        for candidate in candidates:
            for name, exporter in exporters.items():
                if candidate.is_answerable(exporter.metrics):
                    query = candidate.filled(f'service="{name.partition(" ")[0]}"', "20s")
                    found = detector.query_metric(query)
                    (proven if found else empty).add(candidate.template)
    # Those that leave exporters out are proven on what has both, above.
    assert not {query for query in empty - proven if "unless on" not in query}
    for file in NEW_FILES:
        without = {query for query in queries_of(file) - proven if "unless on" not in query}
        assert not {query for query in without if not any(name in query for name in NOT_HERE)}
    assert len(proven) >= 100
