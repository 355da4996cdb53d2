"""Our Prometheus connector against a real Prometheus, node_exporter and blackbox_exporter."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, TimeWindow
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.errors import ConnectorRejected, ConnectorUnavailable
from it_incident_response.integrations import PrometheusIncidentDetector
from it_incident_response.integrations.prometheus_client import PrometheusSettings
from it_incident_response.integrations.promql.catalogue import shipped_catalogue
from it_incident_response.integrations.promql.escaping import exact_regex, matcher, promql_string
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import MetricRequest
from tests.real.stack import exporters
from tests.real.stack.prometheus import Prometheus, alert, probe, prometheus_server, scrape
from tests.real.stack.waiting import Eventually, WaitUntil

COLLECTORS = (
    *("cpu", "filesystem", "meminfo", "loadavg", "vmstat", "diskstats", "netdev", "filefd"),
    *("timex", "pressure", "stat", "conntrack"),
)
HOSTILE = 'x"} or vector(1) # \\ \n \u202e $(reboot)'


class App:
    """An application whose metrics the test writes; None: it answers 503."""

    def __init__(self) -> None:
        app = self
        self.metrics: str | None = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = (app.metrics or "").encode()
                self.send_response(200 if app.metrics is not None else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    app = App()
    yield app
    app.close()


@pytest.fixture(scope="module")
def stack(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a machine, an application and itself, with external labels."""
    folder = tmp_path_factory.mktemp("stack")
    app.metrics = HEALTHY
    rules = [
        alert(
            "TooHot",
            'temperature{room=~"a|b",room!="c"} > 90',
            severity="critical",
            summary="hot",
            hold="0s",
        ),
        alert(
            "Errors",
            'sum by (job) (rate(http_requests_total{code=~"5.."}[10s])) > 0.1',
            severity="warning",
            summary="errors",
            hold="0s",
        ),
        alert("Odd", "odd == 1", severity="page", summary="odd", hold="0s"),
    ]
    with (
        exporters.node_exporter(folder / "node", collectors=COLLECTORS) as node,
        exporters.blackbox_exporter(folder / "blackbox") as blackbox,
    ):
        server = prometheus_server(
            folder / "prometheus",
            scrapes=[
                scrape("node", node.address),
                scrape("shop", app.address, labels={"service": "checkout"}),
                probe("blackbox", blackbox.address, f"http://{app.address}/metrics"),
            ],
            rules=rules,
        )
        config = folder / "prometheus" / "prometheus.yml"
        text = config.read_text()
        config.write_text(text.replace("global:\n", "global:\n  external_labels: {cluster: lab}\n"))
        with server:
            yield server


@pytest.fixture
async def client(stack: Prometheus, app: App) -> AsyncIterator[PrometheusIncidentDetector]:
    entry = ServiceEntry(name="checkout", aliases=(f"http://{app.address}/metrics",))
    host = HostEntry(name="web-1", address="127.0.0.1", services=(entry,))
    detector = PrometheusIncidentDetector(
        settings=PrometheusSettings(url=stack.url),
        surroundings=Surroundings(inventory=Inventory(hosts=(host,))),
    )
    async with detector:
        yield detector


HEALTHY = """
# TYPE temperature gauge
temperature{room="a"} 20
temperature{room="b"} 20
# TYPE odd gauge
odd{label="plain"} 0
# TYPE http_requests_total counter
http_requests_total{code="200"} 100
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1e8
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.1"} 90
http_request_duration_seconds_bucket{le="1"} 100
http_request_duration_seconds_bucket{le="+Inf"} 100
http_request_duration_seconds_sum 9
http_request_duration_seconds_count 100
"""


async def firing(client: PrometheusIncidentDetector, name: str):
    return [alert for alert in await client.firing_alerts() if alert.name == name]


async def test_check_says_the_version(client):
    health = await client.check()
    assert health.version
    assert health.version[0].isdigit()


@pytest.mark.parametrize(
    "query",
    sorted(
        {
            candidate.filled(matcher("instance", "=~", exact_regex(HOSTILE)), "20s")
            for candidates in shipped_catalogue().all().values()
            for candidate in candidates
        }
    ),
)
def test_every_catalogue_query_is_accepted(stack, query):
    PrometheusIncidentDetector(stack.url).query_metric(query)


NODE_SIGNALS = {
    Signal.UP,
    Signal.CPU_USE,
    Signal.MEMORY_USE,
    Signal.DISK_USE,
    Signal.INODE_USE,
    Signal.DISK_IO_BUSY,
    Signal.NETWORK_ERRORS,
    Signal.SATURATION,
    Signal.OOM_KILLS,
    Signal.RESTARTS,
    Signal.FILE_DESCRIPTOR_USE,
    Signal.CLOCK_OFFSET,
}


def last(seconds: float = 20.0) -> TimeWindow:
    now = datetime.now(UTC)
    return TimeWindow(start=now - timedelta(seconds=seconds), end=now)


async def read(client, entity, *signals):
    request = MetricRequest(signals=signals, entities=(entity,), window=last(), step_s=1.0)
    return await client.series(request)


async def test_a_machine_is_found_by_name_through_its_address(client, eventually: Eventually):
    async def missing():
        series = await read(client, Entity(EntityKind.HOST, "web-1"), *NODE_SIGNALS)
        return NODE_SIGNALS - {s.signal for s in series}

    async def nothing_is_missing():
        return not await missing()

    await eventually(nothing_is_missing, 20, "all signals of node_exporter to have data")
    series = await read(client, Entity(EntityKind.HOST, "web-1"), *NODE_SIGNALS)
    by_signal = {s.signal: s for s in series}
    for signal in (Signal.CPU_USE, Signal.MEMORY_USE, Signal.DISK_USE, Signal.INODE_USE):
        values = [v for s in series if s.signal is signal for v in s.values]
        assert all(0 <= value <= 1 for value in values), signal
    assert set(by_signal[Signal.UP].values) == {1.0}
    assert by_signal[Signal.CPU_USE].link.startswith(
        client.prometheus_url + "/graph?g0.expr=1+-+avg"
    )
    assert "20s" in by_signal[Signal.CPU_USE].query, "scraped every second: a window of 20 s"
    mounts = {s.labels["mountpoint"] for s in series if s.signal is Signal.DISK_USE}
    assert mounts, "real filesystems are there"
    assert not [mount for mount in mounts if mount.startswith(("/proc", "/sys", "/run"))]


async def test_a_service_is_found_by_its_label_and_by_its_probe(client, app, eventually):
    async def both():
        series = await read(client, Entity(EntityKind.SERVICE, "checkout"), Signal.UP)
        return {s.labels["job"] for s in series} == {"shop", "blackbox"}

    await eventually(both, 15, "scrape and probe of the service")
    wanted = (Signal.PROCESS_MEMORY, Signal.REQUEST_RATE, Signal.ERROR_RATIO)

    async def ratio_is_zero():
        series = await read(client, Entity(EntityKind.SERVICE, "checkout"), *wanted)
        found = {s.signal: s for s in series}
        return found.keys() == {Signal.PROCESS_MEMORY, Signal.REQUEST_RATE}

    await eventually(ratio_is_zero, 15, "a rate of zero, whose ratio is not a number")

    counted = 100

    async def ratio_with_traffic():
        nonlocal counted
        counted += 10
        app.metrics = HEALTHY.replace('code="200"} 100', f'code="200"}} {counted}')
        series = await read(client, Entity(EntityKind.SERVICE, "checkout"), *wanted)
        found = {s.signal: s for s in series}
        return Signal.ERROR_RATIO in found and set(found[Signal.ERROR_RATIO].values) == {0.0}

    try:
        await eventually(ratio_with_traffic, 15, "no failure ever counted to be a ratio of 0")
    finally:
        app.metrics = HEALTHY


async def test_a_service_that_nobody_knows_has_no_series(client):
    assert await read(client, Entity(EntityKind.SERVICE, HOSTILE), *Signal) == ()


async def test_condition_holds_and_recovers_for_its_own_labels_only(client, app, eventually):
    app.metrics = HEALTHY.replace('room="a"} 20', 'room="a"} 95')
    await eventually(lambda: firing(client, "TooHot"), 15, "room a to be too hot")
    (hot,) = await firing(client, "TooHot")
    assert hot.labels["room"] == "a"
    assert hot.labels["cluster"] == "lab", "external labels belong to the fingerprint"
    assert (await client.condition(hot)).holds is True

    app.metrics = HEALTHY.replace('room="b"} 20', 'room="b"} 95')

    async def recovered():
        return (await client.condition(hot)).holds is False

    await eventually(recovered, 15, "room a to have recovered, though room b is hot now")
    app.metrics = HEALTHY


async def test_a_vanished_metric_is_no_recovery(client, app, eventually):
    app.metrics = HEALTHY.replace('room="a"} 20', 'room="a"} 95')
    await eventually(lambda: firing(client, "TooHot"), 15, "room a to be too hot")
    (hot,) = await firing(client, "TooHot")
    app.metrics = "\n".join(line for line in HEALTHY.splitlines() if 'room="a"' not in line)

    async def is_unknown():
        reading = await client.condition(hot)
        assert reading.holds is not False, "missing data must never look like recovery"
        return reading.holds is None

    await eventually(is_unknown, 15, "the metric of room a to be gone")
    app.metrics = None

    async def still_unknown_without_its_service():
        reading = await client.condition(hot)
        assert reading.holds is not False
        return reading.holds is None and not await client_up(client, app)

    await eventually(still_unknown_without_its_service, 15, "the scrape to fail")
    app.metrics = HEALTHY


async def client_up(client, app) -> bool:
    query = f"up{{{matcher('instance', '=', app.address)}}} == 1"
    return bool(await asyncio.to_thread(client.query_metric, query))


async def test_no_errors_since_a_restart_is_recovery(client, app, eventually):
    counted = 0

    async def errors_fire():
        nonlocal counted
        counted += 20
        app.metrics = HEALTHY + f'http_requests_total{{code="500"}} {counted}\n'
        return await firing(client, "Errors")

    await eventually(errors_fire, 20, "errors")
    (errors,) = await firing(client, "Errors")
    assert (await client.condition(errors)).holds is True
    app.metrics = HEALTHY  # as after a restart: no request has failed yet

    async def recovered():
        return (await client.condition(errors)).holds is False

    await eventually(recovered, 25, "errors to be over")


async def test_errors_that_end_because_the_service_is_dead_are_not_over(client, app, eventually):
    counted = 0

    async def errors_fire():
        nonlocal counted
        counted += 20
        app.metrics = HEALTHY + f'http_requests_total{{code="500"}} {counted}\n'
        return await firing(client, "Errors")

    await eventually(errors_fire, 20, "errors")
    (errors,) = await firing(client, "Errors")
    app.metrics = None

    async def rate_has_ended():
        reading = await client.condition(errors)
        assert reading.holds is not False, "a dead service has not recovered"
        return reading.holds is None

    await eventually(rate_has_ended, 25, "the rate to end")
    app.metrics = HEALTHY


async def test_hostile_labels_are_only_text(client, app, eventually):
    escaped = HOSTILE.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    app.metrics = HEALTHY + f'odd{{label="{escaped}"}} 1\n'
    await eventually(lambda: firing(client, "Odd"), 15, "the odd alert")
    (odd,) = await firing(client, "Odd")
    assert odd.labels["label"] == HOSTILE
    assert (await client.condition(odd)).holds is True
    found = await asyncio.to_thread(client.query_metric, f"odd{{label={promql_string(HOSTILE)}}}")
    assert [series["metric"]["label"] for series in found] == [HOSTILE]
    app.metrics = HEALTHY + f'odd{{label="{escaped}"}} 0\n'

    async def recovered():
        return (await client.condition(odd)).holds is False

    await eventually(recovered, 15, "the odd alert to be over")
    app.metrics = HEALTHY


async def test_the_guides_synchronous_methods_work_inside_a_running_loop(client, app, eventually):
    app.metrics = HEALTHY.replace('room="a"} 20', 'room="a"} 95')
    await eventually(lambda: firing(client, "TooHot"), 15, "room a to be too hot")
    detector = PrometheusIncidentDetector(client.prometheus_url)
    alerts = [a for a in detector.get_active_alerts() if a["labels"]["alertname"] == "TooHot"]
    assert alerts[0]["annotations"]["description"]
    assert alerts[0]["labels"]["severity"] == "critical"
    assert detector.query_metric("vector(1)")[0]["value"][1] == "1"
    now = datetime.now(UTC)
    month = detector.query_range_metric("vector(1)", now - timedelta(days=30), now, step_s=1)
    assert len(month[0]["values"]) <= 11_000
    app.metrics = HEALTHY


async def test_a_query_that_is_none_is_rejected_with_its_own_words(client):
    with pytest.raises(ConnectorRejected, match="parse error"):
        await asyncio.to_thread(client.query_metric, "sum(")


def test_a_dead_prometheus_is_unavailable_and_found_again(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        dead = PrometheusIncidentDetector(f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(ConnectorUnavailable, match="prometheus: .* cannot be reached"):
            dead.get_active_alerts()
    server = prometheus_server(tmp_path / "prometheus")
    with server:
        detector = PrometheusIncidentDetector(server.url)
        assert detector.get_active_alerts() == []
        server.stop()
        with pytest.raises(ConnectorUnavailable):
            detector.get_active_alerts()
        server.start()
        wait_until(lambda: detector.query_metric("vector(1)"), 10, "it to be found again")
