"""What every connector in `CONNECTORS` promises; a new one adds a `Case` and its recordings."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import LogLevel, Signal, TimeWindow
from it_incident_response.domain.labels import make_alert
from it_incident_response.errors import (
    ConnectorError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations import CONNECTORS, Connector
from it_incident_response.ports import sources
from it_incident_response.ports.registry import (
    Surroundings,
    registered_connector,
    registered_connectors,
)
from it_incident_response.ports.sources import LogQuery, Matcher, MetricRequest, TraceQuery
from tests.unit.integrations.elasticsearch_support import field_caps_requests
from tests.unit.integrations.support import FakeServer, StillClock

RECORDED = Path(__file__).parents[1] / "recorded"
NOW = datetime(2026, 11, 23, 19, 31, tzinfo=UTC)
URL = "http://mon.invalid:9090/prefix"
SECRET = "geheim-4711"
PORTS = {
    sources.AlertSource,
    sources.ChangeSource,
    sources.ConditionSource,
    sources.HealthCheck,
    sources.LogCounter,
    sources.LogSource,
    sources.MetricReader,
    sources.MetricSource,
    sources.PanelSource,
    sources.Annotator,
    sources.Silencer,
    sources.TopologySource,
    sources.TraceSource,
}

Ask = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Exchange:
    """One use of one capability, with the requests it makes and what comes of the answers."""

    name: str
    ask: Ask
    requests: Sequence[str]
    """Exactly these, in any order: method and path with query, below the prefix."""
    recordings: dict[str, str | int]
    """Recording file, or bare status, for each path without its query."""
    expected: Callable[[Any], bool]
    empty: dict[str, bytes] = field(default_factory=dict)
    """Answers that hold nothing, for each path."""
    expected_of_empty: Callable[[Any], bool] | None = None


def _alert():
    return make_alert(
        labels={"alertname": "Up", "instance": "127.0.0.1:9100", "job": "node"},
        annotations={},
        status=AlertStatus.FIRING,
        starts_at=NOW,
        ends_at=None,
        received_at=NOW,
        source="test",
        generator_url="http://p/graph?g0.expr=up%7Bjob%3D%22node%22%7D+%3D%3D+1",
    )


WINDOW = TimeWindow(start=NOW - timedelta(seconds=60), end=NOW)
SPAN = "start=1795462200.000&end=1795462260.000"
MEMORY = MetricRequest(
    signals=(Signal.MEMORY_USE,),
    entities=(Entity(EntityKind.INSTANCE, "x"), Entity(EntityKind.NODE, "127.0.0.1")),
    window=WINDOW,
)
NO_ALERTS = b'{"status":"success","data":{"alerts":[]}}'
NO_RESULT = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
NO_LIST = b'{"status":"success","data":[]}'
SPLUNK_FACTS = ["GET /services/server/info"] * 2
"""Its SDK asks once for the kind of instance and once for the version."""
NO_ROWS = b'{"preview":false,"messages":[],"results":[]}'
NO_RULES = b'{"status":"success","data":{"groups":[]}}'
NODE_TARGET = (
    "%7Binstance%3D~%22%28%5Ba-z%5D%2B%3A%2F%2F%29%3F%5C%5C%5B%3F%28127%5C%5C.0%5C%5C.0%5C%5C.1"
    "%29%5C%5C%5D%3F%28%3A%5B0-9%5D%2B%29%3F%28%2F.%2A%29%3F%22%7D"
)

MAPPED: dict[str, str | int] = {
    "/": "opensearch/root.json",
    "/logs-*/_field_caps": "opensearch/field_caps.json",
}
SEARCH_FLAGS = "allow_partial_search_results=true&ignore_unavailable=true&allow_no_indices=true"

EXCHANGES: dict[str, list[Exchange]] = {
    "elasticsearch": [
        Exchange(
            "check",
            lambda adapter: adapter.check(),
            ["GET /", *field_caps_requests()],
            MAPPED,
            lambda health: (health.version, health.detail) == ("3.4.0", "opensearch"),
        ),
        Exchange(
            "lines",
            lambda adapter: adapter.lines(LogQuery(window=WINDOW, limit=100)),
            ["GET /", *field_caps_requests(), f"POST /logs-*/_search?{SEARCH_FLAGS}"],
            {**MAPPED, "/logs-*/_search": "opensearch/lines.json"},
            lambda batch: (
                [(line.message, line.level, line.service) for line in batch.lines]
                == [
                    ("GET /cart took 12 ms", LogLevel.INFO, "shop"),
                    ("connection to db-1 refused", LogLevel.ERROR, "pay"),
                    ("retrying", LogLevel.WARNING, "pay"),
                ]
                and batch.lines[1].at == NOW - timedelta(seconds=39.5)
                and not batch.gaps
            ),
            {"/logs-*/_search": b'{"hits":{"hits":[]}}'},
            lambda batch: batch.lines == batch.gaps == (),
        ),
        Exchange(
            "counts",
            lambda adapter: adapter.counts(LogQuery(window=WINDOW), bucket_s=30.0),
            ["GET /", *field_caps_requests(), f"POST /logs-*/_search?{SEARCH_FLAGS}"],
            {**MAPPED, "/logs-*/_search": "opensearch/counts.json"},
            lambda counted: (
                [(c.at, c.level, c.service, c.count) for c in counted.counts]
                == [
                    (WINDOW.start, LogLevel.ERROR, "pay", 1),
                    (WINDOW.start, LogLevel.INFO, "shop", 1),
                    (WINDOW.start + timedelta(seconds=30), LogLevel.WARNING, "pay", 1),
                ]
            ),
            {"/logs-*/_field_caps": b'{"indices":[],"fields":{}}'},
            lambda counted: counted.counts == () and "no index matches" in counted.gaps[0],
        ),
    ],
    "prometheus": [
        Exchange(
            "check",
            lambda adapter: adapter.check(),
            ["GET /api/v1/status/buildinfo"],
            {"/api/v1/status/buildinfo": "prometheus/buildinfo.json"},
            lambda health: health.version.startswith("2.42.0"),
        ),
        Exchange(
            "firing_alerts",
            lambda adapter: adapter.firing_alerts(),
            ["GET /api/v1/status/config", "GET /api/v1/alerts"],
            {
                "/api/v1/status/config": "prometheus/config.json",
                "/api/v1/alerts": "prometheus/alerts.json",
            },
            lambda alerts: (
                [a.name for a in alerts] == ["HighErrorRate", "ServiceDown", "ProbeFailed"]
                and all(a.starts_at.tzinfo is UTC for a in alerts)
                and all(a.source == "prometheus" and a.is_firing for a in alerts)
            ),
            {"/api/v1/alerts": NO_ALERTS},
            lambda alerts: list(alerts) == [],
        ),
        Exchange(
            "condition",
            lambda adapter: adapter.condition(_alert()),
            ["GET /api/v1/query?query=up%7Bjob%3D%22node%22%7D+%3D%3D+1"],
            {"/api/v1/query": "prometheus/up.json"},
            lambda reading: reading.holds is True,
            {"/api/v1/query": NO_RESULT, "/api/v1/rules": NO_RULES},
            lambda reading: reading.holds is None,
        ),
        Exchange(
            "series",
            lambda adapter: adapter.series(MEMORY),
            [
                "GET /api/v1/status/config",
                f"GET /api/v1/labels?{SPAN}",
                f"GET /api/v1/label/__name__/values?match%5B%5D={NODE_TARGET}&{SPAN}",
                f"GET /api/v1/label/__name__/values?match%5B%5D=%7Binstance%3D%22x%22%7D&{SPAN}",
                "GET /api/v1/query_range?query=1+-+node_memory_MemAvailable_bytes"
                f"{NODE_TARGET}+%2F+node_memory_MemTotal_bytes{NODE_TARGET}&{SPAN}&step=15.000",
            ],
            {
                "/api/v1/status/config": "prometheus/config.json",
                "/api/v1/labels": "prometheus/labels.json",
                "/api/v1/label/__name__/values": "prometheus/metric_names.json",
                "/api/v1/query_range": "prometheus/memory_range.json",
            },
            lambda found: (
                [s.signal for s in found] == [Signal.MEMORY_USE]
                and found[0].labels["job"] == "node"
                and all(0 < value < 1 for value in found[0].values)
                and list(found[0].times) == sorted(found[0].times)
            ),
            {
                "/api/v1/labels": NO_LIST,
                "/api/v1/label/__name__/values": NO_LIST,
                "/api/v1/query_range": NO_RESULT,
            },
            lambda found: list(found) == [],
        ),
    ],
    "alertmanager": [
        Exchange(
            "check",
            lambda adapter: adapter.check(),
            ["GET /api/v2/status"],
            {"/api/v2/status": "alertmanager/status.json"},
            lambda health: health.version == "0.25.0" and "disabled" in health.detail,
        ),
        Exchange(
            "firing_alerts",
            lambda adapter: adapter.firing_alerts(),
            ["GET /api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=true"],
            {"/api/v2/alerts": "alertmanager/api_v2_alerts.json"},
            lambda alerts: (
                [a.fingerprint for a in alerts]
                == ["11d8f1b61811b92e", "1de5451a84cc11d2", "25b722902a8912f5"]
                and all(a.starts_at.tzinfo is UTC and a.ends_at is None for a in alerts)
            ),
            {"/api/v2/alerts": b"[]"},
            lambda alerts: list(alerts) == [],
        ),
        Exchange(
            "silences",
            lambda adapter: adapter.silences(),
            ["GET /api/v2/silences"],
            {"/api/v2/silences": "alertmanager/silences.json"},
            lambda found: (
                [(s.state, s.matchers) for s in found]
                == [
                    (
                        "active",
                        (Matcher(name="alertname", value="Disk.*", is_regex=True),),
                    )
                ]
                and found[0].ends_at.tzinfo is UTC
            ),
            {"/api/v2/silences": b"[]"},
            lambda found: list(found) == [],
        ),
        Exchange(
            "expire_silence",
            lambda adapter: adapter.expire_silence("../x y"),
            ["GET /api/v2/silence/..%2Fx%20y", "DELETE /api/v2/silence/..%2Fx%20y"],
            {"/api/v2/silence/..%2Fx%20y": 200},
            lambda nothing: nothing is None,
        ),
    ],
    "splunk": [
        Exchange(
            "check",
            lambda adapter: adapter.check(),
            [
                "GET /services/authentication/current-context?output_mode=json",
                "GET /services/server/info",
            ],
            {
                "/services/authentication/current-context": "splunk/current_context.json",
                "/services/server/info": "splunk/server_info.xml",
            },
            lambda health: health.version == "9.3.1" and health.detail == "enterprise sh1",
        ),
        Exchange(
            "lines",
            lambda adapter: adapter.lines(LogQuery(window=WINDOW, services=("api",), limit=500)),
            [*SPLUNK_FACTS, "POST /services/search/v2/jobs/"],
            {
                "/services/server/info": "splunk/server_info.xml",
                "/services/search/v2/jobs/": "splunk/lines.json",
            },
            lambda batch: (
                [line.level for line in batch.lines] == [LogLevel.INFO, LogLevel.ERROR]
                and all(line.at.tzinfo is UTC and line.service == "api" for line in batch.lines)
                and not batch.gaps
                and not batch.is_truncated
            ),
            {"/services/search/v2/jobs/": NO_ROWS},
            lambda batch: batch.lines == (),
        ),
        Exchange(
            "counts",
            lambda adapter: adapter.counts(LogQuery(window=WINDOW), bucket_s=60.0),
            [*SPLUNK_FACTS, "POST /services/search/v2/jobs/"],
            {
                "/services/server/info": "splunk/server_info.xml",
                "/services/search/v2/jobs/": "splunk/counts.json",
            },
            lambda found: (
                [(c.level, c.service, c.count) for c in found.counts]
                == [(LogLevel.ERROR, "api", 17), (LogLevel.INFO, None, 3)]
            ),
            {"/services/search/v2/jobs/": NO_ROWS},
            lambda found: found.counts == (),
        ),
    ],
}
EXCHANGES["grafana"] = [
    Exchange(
        "check",
        lambda adapter: adapter.check(),
        ["GET /api/health", "GET /api/org"],
        {"/api/health": "grafana/health.json", "/api/org": "grafana/org.json"},
        lambda health: health.version == "12.1.0",
    ),
    Exchange(
        "panels",
        lambda adapter: adapter.panels(("shop",), WINDOW),
        [
            "GET /api/search?query=shop&type=dash-db&limit=5",
            "GET /api/dashboards/uid/shop-overview",
            "GET /api/datasources",
            "POST /api/ds/query",
        ],
        {
            "/api/search": "grafana/search.json",
            "/api/dashboards/uid/shop-overview": "grafana/dashboard.json",
            "/api/datasources": "grafana/datasources.json",
            "/api/ds/query": "grafana/query.json",
        },
        lambda batch: (
            [s.title for s in batch.series] == ["Errors: shop (percentunit)"]
            and batch.series[0].values == (0.25, 0.5)
            and batch.series[0].query.startswith('sum(rate(http_requests_total{job=~"shop"')
            and batch.gaps == ()
        ),
        {"/api/search": b"[]"},
        lambda batch: batch.series == batch.gaps == (),
    ),
    Exchange(
        "annotate",
        lambda adapter: adapter.annotate("begins", start=NOW),
        ["POST /api/annotations"],
        {"/api/annotations": "grafana/annotation.json"},
        lambda number: number == "42",
    ),
]
JAEGER_SEARCH = "service=pricing&start=1795462200000000&end=1795462260000000&limit=200"
EXCHANGES["jaeger"] = [
    Exchange(
        "check",
        lambda adapter: adapter.check(),
        ["GET /api/services"],
        {"/api/services": "jaeger/services.json"},
        lambda health: health.detail == "2 services",
    ),
    Exchange(
        "traces",
        lambda adapter: adapter.traces(TraceQuery(window=WINDOW, services=("pricing",))),
        [
            f"GET /api/traces?{JAEGER_SEARCH}",
            f"GET /api/traces?{JAEGER_SEARCH}&tags=%7B%22error%22%3A%22true%22%7D",
        ],
        {"/api/traces": "jaeger/traces.json"},
        lambda batch: (
            [(s.service, s.operation, s.parent_id, s.is_error, s.error) for s in batch.spans]
            == [
                ("shop", "GET /cart", None, False, None),
                ("pricing", "price", "a", True, "IOError: refused"),
            ]
            and batch.spans[0].duration_s == 0.12
        ),
        {"/api/traces": b'{"data":null}'},
        lambda batch: batch.spans == (),
    ),
    Exchange(
        "topology",
        lambda adapter: adapter.topology(),
        ["GET /api/dependencies?endTs=1795462260000&lookback=3600000"],
        {"/api/dependencies": "jaeger/dependencies.json"},
        lambda topology: topology.calls == {"shop": frozenset({"pricing"})},
    ),
]
EXCHANGES["tempo"] = [
    Exchange(
        "check",
        lambda adapter: adapter.check(),
        ["GET /api/status/buildinfo"],
        {"/api/status/buildinfo": "tempo/buildinfo.json"},
        lambda health: health.version == "2.8.1",
    ),
    Exchange(
        "traces",
        lambda adapter: adapter.traces(TraceQuery(window=WINDOW, services=("pricing",), limit=1)),
        [
            "GET /api/search?q=%7B+%28resource.service.name+%3D+%22pricing%22%29+%26%26+status+"
            "%3D+error+%7D&start=1795462200&end=1795462261&limit=1",
            "GET /api/v2/traces/2f3e0cee77ae5dc9c17ade3689eb2e54",
        ],
        {
            "/api/search": "tempo/search.json",
            "/api/v2/traces/2f3e0cee77ae5dc9c17ade3689eb2e54": "tempo/trace.json",
        },
        lambda batch: (
            [(s.service, s.trace_id, s.is_error, s.error) for s in batch.spans]
            == [("pricing", "2f3e0cee77ae5dc9c17ade3689eb2e54", True, "refused")]
        ),
    ),
]
EVERY = [
    pytest.param(connector, exchange, id=f"{connector.name}-{exchange.name}")
    for connector in CONNECTORS
    for exchange in EXCHANGES.get(connector.name, [])
]
BY_CONNECTOR = [pytest.param(connector, id=connector.name) for connector in CONNECTORS]
every_exchange = pytest.mark.parametrize(("connector", "exchange"), EVERY)
every_connector = pytest.mark.parametrize("connector", BY_CONNECTOR)


def path_of(request: httpx.Request) -> str:
    path = request.url.raw_path.decode().partition("?")[0]
    assert path.startswith("/prefix/"), "the path of the configured URL is kept"
    return path.removeprefix("/prefix")


def recorded(exchange: Exchange, empty: bool = False) -> FakeServer:
    def answer(request: httpx.Request) -> httpx.Response:
        path = path_of(request)
        if empty and path in exchange.empty:
            return httpx.Response(200, content=exchange.empty[path])
        recording = exchange.recordings[path]
        if isinstance(recording, int):
            return httpx.Response(recording)
        return httpx.Response(200, content=(RECORDED / recording).read_bytes())

    return FakeServer(answer)


def built(connector: Connector, server: FakeServer, **settings: Any) -> Any:
    given = connector.read_settings({"url": URL, "bearer_token": SECRET, "attempts": 1} | settings)
    transport = httpx.MockTransport(server)
    return connector.build(given, Surroundings(clock=StillClock(NOW), transport=transport))


@every_connector
def test_it_has_exchanges_for_what_it_can(connector: Connector):
    assert EXCHANGES.get(connector.name), "add its exchanges and recordings to this file"


@every_connector
def test_it_implements_exactly_the_ports_it_declares(connector: Connector):
    adapter = built(connector, FakeServer())
    assert {port for port in PORTS if isinstance(adapter, port)} == connector.capabilities


@every_connector
def test_it_can_be_checked_and_closed(connector: Connector):
    assert sources.HealthCheck in connector.capabilities
    assert callable(built(connector, FakeServer()).aclose)


@every_connector
def test_it_is_registered(connector: Connector):
    assert registered_connector(connector.name) is connector
    assert list(registered_connectors()).count(connector.name) == 1


@every_connector
def test_an_unknown_setting_is_refused(connector: Connector):
    with pytest.raises(ValidationError, match="nonsense"):
        connector.settings.model_validate({"url": URL, "nonsense": 1})


@every_connector
def test_secrets_are_not_shown(connector: Connector):
    settings = connector.settings.model_validate(
        {"url": "http://mon.invalid", "bearer_token": SECRET, "headers": {"X-A": SECRET}}
    )
    adapter = connector.build(settings, Surroundings())
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()} {adapter!r}"
    assert settings.model_config["frozen"]


@every_exchange
async def test_a_recording_gives_the_expected_by_exactly_the_expected_requests(
    connector: Connector, exchange: Exchange
):
    server = recorded(exchange)
    assert exchange.expected(await exchange.ask(built(connector, server)))
    made = [path.replace(" /prefix/", " /") for path in server.paths]
    assert sorted(made) == sorted(exchange.requests)
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {SECRET}"}


@every_exchange
async def test_an_empty_answer_is_nothing(connector: Connector, exchange: Exchange):
    if exchange.expected_of_empty is None:
        return
    server = recorded(exchange, empty=True)
    assert exchange.expected_of_empty(await exchange.ask(built(connector, server)))


def everywhere(status: int, content: bytes = b"", **headers: str) -> FakeServer:
    return FakeServer(lambda _: httpx.Response(status, content=content, headers=headers))


async def failure(connector: Connector, exchange: Exchange, server: FakeServer) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        await exchange.ask(built(connector, server))
    error = caught.value
    assert error.connector == connector.name
    assert str(error).startswith(f"{connector.name}: ")
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    return error


@every_exchange
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_trouble_is_unavailable(connector: Connector, exchange: Exchange, status: int):
    server = everywhere(status, f"token {SECRET} is throttled".encode())
    error = await failure(connector, exchange, server)
    assert isinstance(error, ConnectorUnavailable)
    assert str(status) in error.message


@every_exchange
@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 410])
async def test_a_refusal_is_rejected(connector: Connector, exchange: Exchange, status: int):
    headers = {"Location": f"https://u:{SECRET}@sso.invalid/"} if status < 400 else {}
    server = everywhere(status, json.dumps({"error": f"{SECRET} is bad"}).encode(), **headers)
    error = await failure(connector, exchange, server)
    assert isinstance(error, ConnectorRejected)
    assert error.status == status


JUNK = [
    b"<html><title>Log in</title></html>",
    b'{"status": "success", "data": {"al',
    b"\x00\x01\x02",
    b'"text"',
    b"17",
    b'{"status": "success", "data": 17}',
    b'{"status": "success", "data": [17]}',
    b'[{"labels": 17}]',
    b'[{"id": 17}]',
]


WITHOUT_CONTENT = {"expire_silence"}
"""Answers that have no content: there, any JSON will do."""


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    ("connector", "exchange"),
    [param for param in EVERY if param.values[1].name not in WITHOUT_CONTENT],
)
async def test_junk_is_an_invalid_reply(connector: Connector, exchange: Exchange, junk: bytes):
    error = await failure(connector, exchange, everywhere(200, junk))
    assert isinstance(error, ConnectorReplyInvalid)


@every_exchange
async def test_a_truncated_recording_is_an_invalid_reply(connector: Connector, exchange: Exchange):
    whole = recorded(exchange)

    def cut(request: httpx.Request) -> httpx.Response:
        content = whole(request).content
        return httpx.Response(200, content=content[: len(content) // 2] or b"{")

    error = await failure(connector, exchange, FakeServer(cut))
    assert isinstance(error, ConnectorReplyInvalid)


@every_exchange
async def test_a_dead_host_is_unavailable(connector: Connector, exchange: Exchange):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        given = connector.read_settings({"url": url, "bearer_token": SECRET, "attempts": 1})
        adapter = connector.build(given, Surroundings(clock=StillClock(NOW)))
        with pytest.raises(ConnectorUnavailable, match="cannot be reached"):
            await exchange.ask(adapter)
        await adapter.aclose()


@every_exchange
async def test_it_can_be_asked_many_times_at_once(connector: Connector, exchange: Exchange):
    adapter = built(connector, recorded(exchange))
    answers = await asyncio.gather(*(exchange.ask(adapter) for _ in range(20)))
    assert all(map(exchange.expected, answers))
