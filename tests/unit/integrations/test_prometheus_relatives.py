"""Thanos, Mimir and VictoriaMetrics behind a stand-in of their gateways; failures become gaps."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qsl

import httpx
import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, TimeWindow
from it_incident_response.errors import ConfigError, ConnectorError, ConnectorUnavailable
from it_incident_response.integrations.connector import read_settings
from it_incident_response.integrations.prometheus_client import (
    PrometheusIncidentDetector,
    PrometheusSettings,
)
from it_incident_response.ports.sources import MetricRequest
from tests.unit.integrations.support import NOW, FakeServer, StillClock, success, surroundings

WINDOW = TimeWindow(start=NOW - timedelta(minutes=10), end=NOW)
REQUEST = MetricRequest(
    signals=(Signal.MEMORY_USE, Signal.PROCESS_MEMORY, Signal.THREADS),
    entities=(Entity(EntityKind.SERVICE, "shop"),),
    window=WINDOW,
)
METRICS = [
    *("process_resident_memory_bytes", "go_goroutines"),
    *("redis_memory_used_bytes", "redis_memory_max_bytes"),
]


class Gateway(FakeServer):
    """A proxy in front of a store that speaks Prometheus' API: checks prefix, tenant, params."""

    def __init__(self, url: str, *, expected_tenant: str | None = None, **settings):
        super().__init__(self._answer)
        self.prefix = httpx.URL(url).path.rstrip("/")
        self.tenant = expected_tenant
        self.more: dict[str, object] = {}
        self.failing: dict[str, httpx.Response | Exception] = {}
        self.metrics = METRICS
        self.asked: list[dict[str, str]] = []
        given = read_settings(
            "prometheus", PrometheusSettings, {"url": url, "attempts": 1} | settings
        )
        self.clock = StillClock()
        self.client = PrometheusIncidentDetector(
            settings=given, surroundings=surroundings(self, self.clock)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if not path.startswith(f"{self.prefix}/api/v1/"):
            return httpx.Response(404, text="404 page not found")
        if self.tenant and request.headers.get("X-Scope-OrgID") != self.tenant:
            return httpx.Response(401, text="no org id")
        path = path.removeprefix(f"{self.prefix}/api/v1")
        params = dict(parse_qsl((request.url.query or request.content).decode()))
        if path.startswith("/status/"):
            return httpx.Response(404, text="unsupported path requested")
        self.asked.append({"path": path, **params})
        if path == "/labels":
            return success(["__name__", "service"])
        if path == "/label/__name__/values":
            return success(self.metrics)
        if path == "/query":
            return success({"resultType": "scalar", "result": [NOW.timestamp(), "1"]})
        return self._range(params["query"])

    def _range(self, query: str) -> httpx.Response:
        for part, failure in self.failing.items():
            if query.startswith(part):
                if isinstance(failure, Exception):
                    raise failure
                return failure
        points = [[NOW.timestamp() - 60, "1"], [NOW.timestamp(), "2"]]
        series = [{"metric": {"service": "shop"}, "values": points}]
        content = {"status": "success", "data": {"resultType": "matrix", "result": series}}
        return httpx.Response(200, json=content | self.more)


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        (
            "http://thanos.invalid:10902",
            {"query_params": {"dedup": True, "partial_response": "true"}},
        ),
        ("http://mimir.invalid:8080/prometheus", {"tenant": "team-a|team-b"}),
        ("http://vm.invalid:8481/select/0/prometheus", {}),
    ],
    ids=["thanos", "mimir", "victoriametrics"],
)
async def test_each_is_asked_at_its_prefix_with_its_tenant_and_parameters(url, settings):
    gateway = Gateway(url, expected_tenant=settings.get("tenant"), **settings)
    assert (await gateway.client.check()).version is None
    batch = await gateway.client.read_metrics(REQUEST)
    assert {s.signal for s in batch.series} == set(REQUEST.signals)
    assert batch.gaps == ()
    for asked in gateway.asked:
        for name, value in settings.get("query_params", {}).items():
            assert asked[name] == str(value).lower(), asked


async def test_a_wrong_tenant_is_refused_in_words():
    gateway = Gateway("http://mimir.invalid/prometheus", expected_tenant="right", tenant="wrong")
    with pytest.raises(ConnectorError, match="no org id"):
        await gateway.client.read_metrics(REQUEST)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"warnings": ["No StoreAPIs matched for this query"]}, "No StoreAPIs matched"),
        ({"isPartial": True}, "not all storage nodes answered"),
    ],
)
async def test_a_partial_answer_is_told_with_its_query_and_still_used(more, said):
    gateway = Gateway("http://thanos.invalid")
    gateway.more = more
    batch = await gateway.client.read_metrics(REQUEST)
    assert len(batch.series) == 3
    assert len(batch.gaps) == 3
    assert all(said in gap for gap in batch.gaps)
    assert any(gap.startswith("process_resident_memory_bytes{") for gap in batch.gaps)


@pytest.mark.parametrize("warnings", [None, []])
async def test_no_warnings_are_no_gap(warnings):
    gateway = Gateway("http://thanos.invalid")
    gateway.more = {"warnings": warnings}
    assert (await gateway.client.read_metrics(REQUEST)).gaps == ()


def refused(status: int, error: str, kind: str = "execution") -> httpx.Response:
    return httpx.Response(status, json={"status": "error", "errorType": kind, "error": error})


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (refused(422, "query processing would load too many samples"), "too many samples"),
        (refused(400, "exceeded maximum resolution of 11,000 points", "bad_data"), "11,000 points"),
        (refused(503, "query timed out in expression evaluation", "timeout"), "timed out"),
        (httpx.Response(429, text="too many outstanding requests"), "429"),
        (httpx.ReadTimeout("slow"), "no answer within"),
        (httpx.Response(200, text="<html>login</html>"), "web page"),
        (httpx.Response(200, json={"status": "success", "data": 17}), "unexpected shape"),
    ],
)
async def test_a_query_that_fails_is_a_gap_with_its_text_and_the_others_count(failure, said):
    gateway = Gateway("http://p.invalid")
    gateway.failing["process_resident_memory_bytes"] = failure
    gateway.failing["(process_resident_memory_bytes"] = failure
    batch = await gateway.client.read_metrics(REQUEST)
    # Another candidate may stand in for it; the failure is told where it was no mere misfit.
    assert {Signal.MEMORY_USE, Signal.THREADS} <= {s.signal for s in batch.series}
    assert any("process_resident_memory_bytes{" in gap and said in gap for gap in batch.gaps)


async def test_a_query_that_does_not_fit_is_no_gap_if_the_next_one_does():
    gateway = Gateway("http://p.invalid")
    misfit = refused(422, "many-to-many matching not allowed")
    gateway.metrics = [*METRICS, "jvm_memory_used_bytes"]
    gateway.failing["process_resident_memory_bytes"] = misfit
    batch = await gateway.client.read_metrics(REQUEST)
    assert Signal.PROCESS_MEMORY in {s.signal for s in batch.series}
    assert batch.gaps == ()


async def test_if_every_query_fails_so_does_the_reading():
    gateway = Gateway("http://p.invalid")
    everything = httpx.Response(503, text="overloaded")
    gateway._range = lambda query: everything
    batch = await gateway.client.read_metrics(REQUEST)
    assert batch.series == ()
    assert len(batch.gaps) >= 3
    assert any("overloaded" in gap for gap in batch.gaps)


async def test_the_port_for_checks_of_recovery_stays_strict():
    gateway = Gateway("http://p.invalid")
    gateway.failing["go_goroutines"] = httpx.Response(503, text="overloaded")
    with pytest.raises(ConnectorUnavailable, match="overloaded"):
        await gateway.client.series(REQUEST)


async def test_what_came_within_the_budget_counts():
    gateway = Gateway("http://p.invalid")
    answer = gateway._answer

    async def slow(request: httpx.Request) -> httpx.Response:
        if "go_goroutines" in str(request.url):
            await asyncio.Event().wait()
        return answer(request)

    gateway.client = PrometheusIncidentDetector(
        settings=PrometheusSettings(url="http://p.invalid", time_budget_s=0.2),
        surroundings=surroundings(slow, gateway.clock),
    )
    batch = await gateway.client.read_metrics(REQUEST)
    assert {s.signal for s in batch.series} == {Signal.MEMORY_USE, Signal.PROCESS_MEMORY}
    assert batch.gaps == ("the queries that were not answered: no answer within 0.2 s",)


async def test_more_series_than_are_kept_is_told():
    gateway = Gateway("http://p.invalid")
    many = [{"metric": {"n": f"{n:04}"}, "values": [[NOW.timestamp(), "1"]]} for n in range(150)]
    gateway._range = lambda query: success({"resultType": "matrix", "result": many})
    batch = await gateway.client.read_metrics(
        REQUEST.model_copy(update={"signals": (Signal.THREADS,)})
    )
    assert len(batch.series) == 100
    assert "100 of its 150 series" in batch.gaps[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"tenant": "a\r\nX-Admin: 1"},
        {"tenant": ""},
        {"tenant": "a", "headers": {"x-scope-orgid": "b"}},
        {"query_params": {"query": "up"}},
        {"query_params": {"step": "1"}},
        {"query_params": {"dedup": [1]}},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        read_settings("prometheus", PrometheusSettings, {"url": "http://p.invalid"} | settings)
