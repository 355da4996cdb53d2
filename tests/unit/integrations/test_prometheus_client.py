"""The Prometheus connector against a scripted server."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import httpx
import pytest

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, TimeWindow
from it_incident_response.domain.labels import make_alert
from it_incident_response.errors import (
    ConfigError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations import PrometheusIncidentDetector
from it_incident_response.integrations._prometheus_api import POINTS_MAX, step_for
from it_incident_response.integrations._prometheus_origin import server_facts
from it_incident_response.integrations._prometheus_series import rate_window_s
from it_incident_response.integrations.prometheus_client import PrometheusSettings
from it_incident_response.ports.sources import MetricRequest
from tests.unit.integrations.support import NOW, URL, FakeServer, StillClock, success, surroundings

RECORDED = Path(__file__).parents[2] / "recorded" / "prometheus"
WINDOW = TimeWindow(start=NOW - timedelta(minutes=10), end=NOW)


class FakePrometheus(FakeServer):
    """Answers by path and query; what is not foreseen is an empty result."""

    def __init__(self, **settings) -> None:
        super().__init__(self._answer)
        self.queries: dict[str, object] = {}
        self.rules: list[dict] | httpx.Response = []
        self.alerts: list[dict] = []
        self.config = "global: {scrape_interval: 15s}"
        self.labels = ["__name__", "instance", "job", "service"]
        self.metric_names: dict[str, list[str]] = {}
        self.clock = StillClock()
        given = PrometheusSettings(url=URL, attempts=1, **settings)
        self.client = PrometheusIncidentDetector(
            settings=given, surroundings=surroundings(self, self.clock)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        params = parse_qs((request.url.query or request.content).decode())
        if path.startswith("/api/v1/query"):
            found = self.queries.get(params["query"][0], [])
            if isinstance(found, httpx.Response):
                return found
            kind = "matrix" if path.endswith("range") else "vector"
            return success({"resultType": kind, "result": found})
        if path == "/api/v1/rules":
            rules = self.rules
            is_refused = isinstance(rules, httpx.Response)
            return rules if is_refused else success({"groups": [{"rules": rules}]})
        if path == "/api/v1/status/config":
            return success({"yaml": self.config})
        if path == "/api/v1/alerts":
            return success({"alerts": self.alerts})
        if path == "/api/v1/labels":
            return success(self.labels)
        if path == "/api/v1/label/__name__/values":
            return success(self.metric_names.get(params["match[]"][0], []))
        return httpx.Response(404)

    def asked(self, path: str) -> list[str]:
        found = [request for request in self.requests if request.url.path == path]
        return [parse_qs(request.url.query.decode()).get("query", [""])[0] for request in found]


def sample(value="1", **metric) -> dict:
    return {"metric": metric, "value": [NOW.timestamp(), value]}


def alert(expression: str | None = None, **labels):
    link = None
    if expression is not None:
        link = f"http://prom:9090/graph?{urlencode({'g0.expr': expression, 'g0.tab': '1'})}"
    return make_alert(
        labels={"alertname": "Down", "severity": "page", **labels},
        annotations={},
        status=AlertStatus.FIRING,
        starts_at=NOW,
        ends_at=None,
        received_at=NOW,
        source="alertmanager",
        generator_url=link,
    )


class TestCondition:
    async def test_it_holds_if_a_sample_agrees(self):
        server = FakePrometheus()
        server.queries["up == 0"] = [sample("0", __name__="up", instance="a", job="x")]
        reading = await server.client.condition(alert("up == 0", instance="a", job="x"))
        assert reading.holds is True
        assert reading.query == "up == 0"
        assert "value 0" in reading.detail

    async def test_another_instance_that_is_down_is_not_ours(self):
        server = FakePrometheus()
        server.queries["up == 0"] = [sample("0", instance="b")]
        server.queries['count({__name__="up",instance=~"a|"})'] = [sample("1")]
        reading = await server.client.condition(alert("up == 0", instance="a"))
        assert reading.holds is False

    async def test_it_does_not_hold_if_its_data_are_there(self):
        server = FakePrometheus()
        server.queries['count({__name__="up",instance=~"a|"})'] = [sample("1")]
        assert (await server.client.condition(alert("up == 0", instance="a"))).holds is False

    async def test_it_is_unknown_if_its_data_are_missing(self):
        server = FakePrometheus()
        reading = await server.client.condition(alert("up == 0", instance="a"))
        assert reading.holds is None
        assert "missing" in reading.detail

    async def test_labels_that_the_rule_overrides_do_not_hide_that_it_holds(self):
        server = FakePrometheus()
        server.queries["up == 0"] = [sample("0", instance="a", team="net")]
        server.rules = [{"name": "Down", "query": "up == 0", "labels": {"team": "shop"}}]
        firing = alert("up == 0", instance="a", team="shop")
        assert (await server.client.condition(firing)).holds is True

    async def test_labels_that_the_rule_overrides_do_not_hide_the_data(self):
        server = FakePrometheus()
        server.rules = [{"name": "Down", "query": "up == 0", "labels": {"team": "shop"}}]
        server.queries['count({__name__="up",instance=~"a|"})'] = [sample("1")]
        firing = alert("up == 0", instance="a", team="shop")
        assert (await server.client.condition(firing)).holds is False

    async def test_without_a_link_the_rule_of_that_name_is_taken(self):
        server = FakePrometheus()
        server.rules = [
            {"name": "Other", "query": "a > 1"},
            {"name": "Down", "query": "b > 1", "labels": {"severity": "warning"}},
            {"name": "Down", "query": "up == 0", "labels": {"severity": "page"}},
        ]
        server.queries["up == 0"] = [sample("0", instance="a")]
        reading = await server.client.condition(alert(instance="a"))
        assert (reading.holds, reading.query) == (True, "up == 0")
        assert server.asked("/api/v1/query") == ["up == 0"]

    async def test_of_several_rules_one_that_holds_counts(self):
        server = FakePrometheus()
        server.rules = [{"name": "Down", "query": "a > 1"}, {"name": "Down", "query": "b > 1"}]
        server.queries["b > 1"] = [sample("2", instance="a")]
        assert (await server.client.condition(alert(instance="a"))).holds is True

    @pytest.mark.parametrize("status", [404, 405])
    async def test_without_link_and_rules_it_is_unknown(self, status):
        server = FakePrometheus()
        server.rules = httpx.Response(status)
        reading = await server.client.condition(alert(instance="a"))
        assert reading.holds is None
        assert "Down" in reading.detail

    async def test_an_expression_that_cannot_be_evaluated_is_unknown(self):
        server = FakePrometheus()
        body = {"status": "error", "errorType": "bad_data", "error": "parse error"}
        server.queries["up ="] = httpx.Response(400, json=body)
        reading = await server.client.condition(alert("up =", instance="a"))
        assert reading.holds is None
        assert "parse error" in reading.detail

    async def test_missing_rights_are_an_error_not_an_answer(self):
        server = FakePrometheus()
        server.queries["up == 0"] = httpx.Response(403)
        with pytest.raises(ConnectorRejected):
            await server.client.condition(alert("up == 0"))

    async def test_a_prometheus_that_is_down_is_an_error_not_a_recovery(self):
        server = FakePrometheus()
        server.answers = [httpx.ConnectError("refused")]
        with pytest.raises(ConnectorUnavailable):
            await server.client.condition(alert("up == 0"))

    @pytest.mark.parametrize(
        "link", ["http://[bad/graph?g0.expr=x", "http://p/graph", "http://p/?g0.expr=", ""]
    )
    async def test_a_link_that_says_nothing_is_passed_over(self, link):
        server = FakePrometheus()
        odd = alert(instance="a").model_copy(update={"generator_url": link})
        assert (await server.client.condition(odd)).holds is None
        assert server.asked("/api/v1/query") == []

    async def test_a_long_expression_goes_into_the_body(self):
        server = FakePrometheus()
        long = " or ".join(["up == 0"] * 450)
        server.queries[long] = [sample("0", instance="a")]
        assert (await server.client.condition(alert(long, instance="a"))).holds is True
        assert server.requests[0].method == "POST"

    async def test_nothing_from_an_expression_that_is_not_judged_is_unknown(self):
        server = FakePrometheus()
        reading = await server.client.condition(alert("up @ 1000 == 0", instance="a"))
        assert reading.holds is None
        assert "cannot be told" in reading.detail

    async def test_rules_that_may_not_be_read_are_an_error(self):
        server = FakePrometheus()
        server.rules = httpx.Response(403)
        with pytest.raises(ConnectorRejected):
            await server.client.condition(alert(instance="a"))


class TestFiringAlerts:
    async def test_external_labels_are_added_as_prometheus_sends_them(self):
        server = FakePrometheus()
        server.config = """
global: {external_labels: {cluster: lab, job: never, replica: r1}}
alerting: {alert_relabel_configs: [{action: labeldrop, regex: rep.*}]}
"""
        server.alerts = json.loads((RECORDED / "alerts.json").read_bytes())["data"]["alerts"]
        alerts = await server.client.firing_alerts()
        assert all(alert.labels["cluster"] == "lab" for alert in alerts)
        assert all("replica" not in alert.labels for alert in alerts)
        assert {alert.labels["job"] for alert in alerts} == {"checkout", "app", "blackbox"}

    async def test_its_configuration_is_read_once_in_five_minutes(self):
        server = FakePrometheus()
        for _ in range(3):
            await server.client.firing_alerts()
        assert len(server.asked("/api/v1/status/config")) == 1
        server.clock.move(301)
        await server.client.firing_alerts()
        assert len(server.asked("/api/v1/status/config")) == 2

    async def test_given_external_labels_spare_the_look_at_the_configuration(self):
        server = FakePrometheus(external_labels={"cluster": "x"}, scrape_interval_s=15)
        server.alerts = json.loads((RECORDED / "alerts.json").read_bytes())["data"]["alerts"]
        alerts = await server.client.firing_alerts()
        assert alerts[0].labels["cluster"] == "x"
        assert server.asked("/api/v1/status/config") == []

    async def test_an_alert_of_a_wrong_shape_is_named(self):
        server = FakePrometheus()
        server.alerts = [{"labels": {"alertname": "A"}, "state": "firing", "activeAt": "noon"}]
        with pytest.raises(ConnectorReplyInvalid, match="'noon' is not a time"):
            await server.client.firing_alerts()


class TestForSynchronousCallers:
    def test_alerts_have_what_the_guide_reads(self):
        server = FakePrometheus()
        server.alerts = [
            {"labels": {"alertname": "A"}, "state": "firing", "value": "1"},
            {
                "labels": {"alertname": "B", "severity": "page"},
                "annotations": {"summary": "b is bad"},
                "state": "firing",
            },
            {
                "labels": {"alertname": "C"},
                "annotations": {"summary": "s", "description": "d"},
                "state": "firing",
            },
            {"labels": {"alertname": "D"}, "state": "pending"},
        ]
        alerts = server.client.get_active_alerts()
        said = [(a["annotations"]["description"], a["labels"]["severity"]) for a in alerts]
        assert said == [("A", "warning"), ("b is bad", "page"), ("d", "warning")]

    async def test_they_work_inside_a_running_loop(self):
        server = FakePrometheus()
        server.queries["up"] = [sample("1", __name__="up")]
        assert asyncio.get_running_loop()
        found = server.client.query_metric("up")
        assert found == [{"metric": {"__name__": "up"}, "value": [NOW.timestamp(), "1"]}]

    def test_a_scalar_is_one_value_without_labels(self):
        server = FakePrometheus()
        data = {"resultType": "scalar", "result": [1.0, "2"]}
        server.queries["2"] = success(data)
        assert server.client.query_metric("2") == [{"metric": {}, "value": [1.0, "2"]}]

    def test_a_range(self):
        server = FakePrometheus()
        server.queries["up"] = [{"metric": {"a": "b"}, "values": [[1, "1"], [2, "NaN"]]}]
        found = server.client.query_range_metric("up", WINDOW.start, WINDOW.end)
        assert found == [{"metric": {"a": "b"}, "values": [[1.0, "1"], [2.0, "NaN"]]}]

    def test_without_a_url_the_usual_one_is_meant(self):
        assert PrometheusIncidentDetector().prometheus_url == "http://localhost:9090"
        assert PrometheusIncidentDetector(None).prometheus_url == "http://localhost:9090"

    def test_a_url_that_is_none_is_a_configuration_error(self):
        with pytest.raises(ConfigError, match="prometheus: url: write a full URL"):
            PrometheusIncidentDetector("localhost")


HOST_TARGET = r'{instance=~"([a-z]+://)?\\[?(web-1)\\]?(:[0-9]+)?(/.*)?"}'
IDLE = (
    '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle",'
    + HOST_TARGET[1:-1]
    + "}[300s]))"
)


def matrix(*values: str, **metric) -> dict:
    start = WINDOW.start.timestamp()
    return {"metric": metric, "values": [[start + 15 * n, v] for n, v in enumerate(values)]}


async def series(server: FakePrometheus, *signals: Signal, entities=None):
    entities = entities or (Entity(EntityKind.HOST, "web-1"),)
    request = MetricRequest(signals=signals, entities=entities, window=WINDOW)
    return await server.client.series(request)


class TestSeries:
    async def test_samples_that_are_no_numbers_are_left_out(self):
        server = FakePrometheus()
        server.metric_names[HOST_TARGET] = ["node_cpu_seconds_total", "up"]
        server.queries[IDLE] = [matrix("0.1", "NaN", "+Inf", "0.2", instance="web-1:9100")]
        (found,) = await series(server, Signal.CPU_USE)
        assert found.values == (0.1, 0.2)
        assert len(found.times) == 2
        assert found.labels == {"instance": "web-1:9100"}
        assert found.query == IDLE
        assert found.link.startswith(f"{URL}/graph?g0.expr=1+-+avg")

    async def test_only_queries_that_can_give_something_are_sent(self):
        server = FakePrometheus()
        server.metric_names[HOST_TARGET] = ["node_cpu_seconds_total"]
        assert await series(server, *Signal) == ()
        asked = server.asked("/api/v1/query_range")
        assert asked == [IDLE]

    async def test_nothing_is_asked_about_labels_that_nobody_uses(self):
        server = FakePrometheus()
        server.labels = ["__name__", "job"]
        assert await series(server, Signal.UP) == ()
        assert [request.url.path for request in server.requests] == [
            "/api/v1/status/config",
            "/api/v1/labels",
        ]

    async def test_a_query_that_fails_here_gives_way_to_the_next(self, caplog):
        server = FakePrometheus()
        server.metric_names[HOST_TARGET] = [
            "node_memory_MemAvailable_bytes",
            "node_memory_MemTotal_bytes",
            *("node_memory_MemFree_bytes", "node_memory_Buffers_bytes"),
            "node_memory_Cached_bytes",
        ]
        body = {"status": "error", "errorType": "execution", "error": "many-to-many matching"}

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path != "/api/v1/query_range":
                return server._answer(request)
            if "MemAvailable" in str(request.url):
                return httpx.Response(422, json=body)
            return success({"resultType": "matrix", "result": [matrix("0.5")]})

        server.answers = [answer]
        (found,) = await series(server, Signal.MEMORY_USE)
        assert "MemFree" in found.query
        assert "many-to-many" in caplog.text

    async def test_the_window_follows_the_jobs_that_scrape_the_thing(self):
        server = FakePrometheus(external_labels={})
        server.config = (
            "global: {scrape_interval: 15s}\n"
            "scrape_configs: [{job_name: fast, scrape_interval: 1s}, {job_name: slow}]"
        )
        server.metric_names[HOST_TARGET] = ["node_cpu_seconds_total"]

        def answer(request: httpx.Request) -> httpx.Response:
            is_job = request.url.path == "/api/v1/label/job/values"
            return success(["fast"]) if is_job else server._answer(request)

        server.answers = [answer]
        await series(server, Signal.CPU_USE)
        assert server.asked("/api/v1/query_range") == [IDLE.replace("[300s]", "[20s]")]

    async def test_a_given_interval_overrides_the_configuration(self):
        server = FakePrometheus(scrape_interval_s=120)
        server.metric_names[HOST_TARGET] = ["node_cpu_seconds_total"]
        await series(server, Signal.CPU_USE)
        assert server.asked("/api/v1/query_range") == [IDLE.replace("[300s]", "[480s]")]

    async def test_candidates_without_a_number_give_way_to_the_next(self):
        server = FakePrometheus()
        server.metric_names[HOST_TARGET] = ["up"]
        target = HOST_TARGET[1:-1]
        server.queries[f"max(up{{{target}}})"] = [matrix("NaN")]
        assert await series(server, Signal.UP) == ()
        server.queries[f"max(up{{{target}}})"] = [matrix("0")]
        (found,) = await series(server, Signal.UP)
        assert set(found.values) == {0.0}

    async def test_a_sample_that_is_text_is_an_invalid_reply(self):
        server = FakePrometheus()
        server.metric_names[HOST_TARGET] = ["node_cpu_seconds_total"]
        server.queries[IDLE] = [matrix("0.1", "lots")]
        with pytest.raises(ConnectorReplyInvalid, match="no number"):
            await series(server, Signal.CPU_USE)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_missing_rights_are_an_error_not_silence(self, status):
        server = FakePrometheus()
        server.metric_names[HOST_TARGET] = ["node_cpu_seconds_total"]
        server.queries[IDLE] = httpx.Response(status)
        with pytest.raises(ConnectorRejected):
            await series(server, Signal.CPU_USE)

    async def test_one_series_found_for_two_things_is_told_once(self):
        server = FakePrometheus()
        instance = Entity(EntityKind.INSTANCE, "web-1:8080")
        service = Entity(EntityKind.SERVICE, "shop")
        server.metric_names['{service="shop"}'] = ["process_resident_memory_bytes"]
        server.metric_names['{instance="web-1:8080"}'] = ["process_resident_memory_bytes"]
        same = [matrix("7", instance="web-1:8080", service="shop")]
        for target in ('service="shop"', 'instance="web-1:8080"'):
            server.queries[f"process_resident_memory_bytes{{{target}}}"] = same
        found = await series(server, Signal.PROCESS_MEMORY, entities=(instance, service))
        assert [one.entity for one in found] == [service]

    async def test_things_without_metrics_of_their_own_are_not_asked_about(self):
        server = FakePrometheus()
        mount = Entity(EntityKind.MOUNT, "/srv")
        assert await series(server, Signal.DISK_USE, entities=(mount,)) == ()
        assert [r for r in server.requests if "label" in r.url.path] == []

    async def test_a_prometheus_that_is_down_is_an_error_not_silence(self):
        server = FakePrometheus()
        server.answers = [httpx.ConnectError("refused")]
        with pytest.raises(ConnectorUnavailable):
            await series(server, Signal.UP)


@pytest.mark.parametrize(
    ("interval_s", "step_s", "window_s"),
    [
        (None, 15, 300),
        (0.1, 1, 10),
        (1, 1, 20),
        (5, 15, 100),
        (15, 15, 300),
        (60, 15, 300),
        (120, 15, 480),
        (1, 60, 60),
        (None, 3600, 3600),
    ],
)
def test_the_rate_window_fits_the_scrape_interval(interval_s, step_s, window_s):
    assert rate_window_s(interval_s, step_s) == window_s


@pytest.mark.parametrize("days", [0, 0.01, 1, 365, 3650])
def test_never_more_points_than_prometheus_allows(days):
    window = TimeWindow(start=NOW - timedelta(days=days), end=NOW)
    step = step_for(window, 1.0)
    assert step >= 1.0
    assert (window.end - window.start).total_seconds() / step + 1 <= POINTS_MAX + 1e-6


class TestServerFacts:
    def test_intervals_by_job(self):
        facts = server_facts(
            "global: {scrape_interval: 1m30s}\n"
            "scrape_configs: [{job_name: a, scrape_interval: 5s}, {job_name: b}]"
        )
        assert facts.interval_s(["a"]) == 5
        assert facts.interval_s(["a", "b"]) == 90
        assert facts.interval_s([]) == 90
        assert facts.has_several_intervals

    def test_the_default_of_prometheus(self):
        assert server_facts("{}").scrape_interval_s == 60

    @pytest.mark.parametrize("text", ["[", "- a", "text", ""])
    def test_what_is_no_configuration(self, text):
        with pytest.raises(ConnectorReplyInvalid):
            server_facts(text)

    @pytest.mark.parametrize(
        "text",
        [
            "global: [1]",
            "global: {scrape_interval: soon}",
            "global: {external_labels: 3}",
            "scrape_configs: [1, {}]",
            "alerting: {alert_relabel_configs: [7, {action: labeldrop, regex: '('}]}",
        ],
    )
    def test_odd_parts_are_passed_over(self, text):
        assert server_facts(text).external_labels == {}
