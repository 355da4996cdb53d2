"""The Grafana client against a stand-in with state, written from Grafana's published API."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, TimeWindow
from it_incident_response.errors import (
    ConfigError,
    ConnectorRejected,
    ConnectorUnavailable,
    InputRejected,
)
from it_incident_response.integrations._grafana_settings import GrafanaSettings
from it_incident_response.integrations.connector import read_settings
from it_incident_response.integrations.grafana_client import GrafanaMetricsClient
from tests.unit.integrations.grafana_stand_in import READER, T0, TOKEN, Grafana, frame
from tests.unit.integrations.support import surroundings

START = datetime.fromtimestamp(T0 / 1000, UTC)
WINDOW = TimeWindow(start=START, end=START + timedelta(hours=1))
URL = "http://grafana.invalid:3000"


def client(grafana, token=TOKEN, **settings) -> GrafanaMetricsClient:
    given = {"url": URL, "bearer_token": token, "attempts": 1} | settings
    made = read_settings("grafana", GrafanaSettings, given)
    return GrafanaMetricsClient(settings=made, surroundings=surroundings(grafana))


def panel(number: int, expr: str, title: str = "Errors", **more) -> dict:
    target = {"refId": "A", "expr": expr, "legendFormat": "{{job}}"}
    source = {"type": "prometheus", "uid": "prom-1"}
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "targets": [target],
    } | more


def variable(name: str, current, **more) -> dict:
    return {"name": name, "type": "query", "current": {"value": current}} | more


@pytest.fixture
def grafana() -> Grafana:
    return Grafana()


async def asked(grafana: Grafana, expr: str, *variables: dict, service=None) -> str:
    grafana.add("d", [panel(1, expr)], templating={"list": list(variables)})
    data = await client(grafana).dashboard_data("d", WINDOW, service=service)
    assert [a.gaps for a in data.answers] == [()], "no gap"
    return grafana.asked[-1]["expr"]


class TestVariables:
    @pytest.mark.parametrize(
        ("expr", "expected"),
        [
            ('up{job=~"$job"}', 'up{job=~"(a\\\\.b|c\\"d)"}'),
            ('up{job=~"${job}"}', 'up{job=~"(a\\\\.b|c\\"d)"}'),
            ('up{job=~"[[job]]"}', 'up{job=~"(a\\\\.b|c\\"d)"}'),
            ('up{job=~"${job:regex}"}', 'up{job=~"(a\\\\.b|c\\"d)"}'),
            ('up{job=~"${job:pipe}"}', 'up{job=~"a.b|c\\"d"}'),
            ('up{job=~"${job:csv}"}', 'up{job=~"a.b,c\\"d"}'),
            ("up{job=~'$job'}", "up{job=~'(a\\\\.b|c\"d)'}"),
            ("up{job=~`$job`}", 'up{job=~`(a\\.b|c"d)`}'),
            ('up{job="$unknown"} # $job_x', 'up{job="$unknown"} # $job_x'),
        ],
    )
    async def test_several_values_are_written_as_grafana_does_and_stay_in_their_string(
        self, grafana, expr, expected
    ):
        job = variable("job", ["a.b", 'c"d'], multi=True)
        assert await asked(grafana, expr, job) == expected

    async def test_a_single_value_is_no_regular_expression(self, grafana):
        job = variable("job", "a.b")
        assert await asked(grafana, 'up{job="$job"}', job) == 'up{job="a.b"}'

    @pytest.mark.parametrize("quote", ['"', "'"])
    async def test_a_hostile_value_never_leaves_its_string(self, grafana, quote):
        import promql_parser

        evil = "x\"} or vector(1) # \\ ' ` \n $job ${job}"
        query = await asked(grafana, f"up{{job={quote}$job{quote}}}", variable("job", evil))
        parsed = promql_parser.parse(query)
        (matcher,) = parsed.matchers.matchers
        assert matcher.value == evil

    @pytest.mark.parametrize(
        ("expr", "value"),
        [
            ("sum by ($label) (up)", "job) (up) or vector(1) #"),
            ("up{job=~`$label`}", "a`} or vector(1)"),
            ('up{job="${label:raw}"}', 'a"} or vector(1)'),
            ('up{job="${label:raw}"}', "a\\"),
        ],
    )
    async def test_a_value_that_does_not_fit_its_place_is_a_gap_and_not_sent(
        self, grafana, expr, value
    ):
        grafana.add("d", [panel(1, expr)], templating={"list": [variable("label", value)]})
        data = await client(grafana).dashboard_data("d", WINDOW)
        assert grafana.asked == []
        assert "$label" in data.answers[0].gaps[0]
        assert data.answers[0].gaps[0].startswith(expr)

    async def test_plain_words_outside_of_strings_are_filled_in(self, grafana):
        n = {"name": "n", "type": "custom", "current": {"value": "5"}}
        by = {"name": "by", "type": "custom", "multi": True, "current": {"value": ["a", "b"]}}
        query = await asked(grafana, "topk($n, sum by ($by) (up))", n, by)
        assert query == "topk(5, sum by (a,b) (up))"

    async def test_intervals_follow_the_window_and_the_scrape_interval(self, grafana):
        query = await asked(grafana, "rate(a[$__rate_interval]) + b[$__interval] + c[$__range]")
        assert query == "rate(a[120s]) + b[30s] + c[3600s]"
        assert grafana.asked[0]["intervalMs"] == 30_000

    async def test_all_is_looked_up_at_the_data_source(self, grafana):
        grafana.label_values["job"] = ["shop", "pay"]
        everything = variable(
            "job", "$__all", includeAll=True, query={"query": "label_values(up, job)", "refId": "x"}
        )
        query = await asked(grafana, 'up{job=~"$job"}', everything)
        assert query == 'up{job=~"(shop|pay)"}'
        (looked_up,) = grafana.proxied
        assert looked_up["match[]"] == "up"
        assert looked_up["uid"] == "prom-1"

    async def test_all_with_its_own_value_is_that_value(self, grafana):
        everything = variable(
            "job", ["$__all"], includeAll=True, allValue=".*", query="label_values(job)"
        )
        assert await asked(grafana, 'up{job=~"$job"}', everything) == 'up{job=~".*"}'
        assert grafana.proxied == []

    async def test_a_variable_may_use_one_before_it(self, grafana):
        grafana.label_values["pod"] = ["shop-1"]
        job = variable("job", "shop")
        pod = variable("pod", "$__all", includeAll=True, query='label_values(up{job="$job"}, pod)')
        await asked(grafana, 'up{pod=~"$pod"}', job, pod)
        assert grafana.proxied[0]["match[]"] == 'up{job="shop"}'

    async def test_the_incidents_service_is_chosen_where_the_variable_knows_it(self, grafana):
        grafana.label_values["job"] = ["shop", "pay"]
        job = variable("job", "shop", query="label_values(up, job)")
        assert await asked(grafana, 'up{job="$job"}', job, service="pay") == 'up{job="pay"}'
        assert await asked(grafana, 'up{job="$job"}', job, service="no") == 'up{job="shop"}'

    async def test_a_lookup_that_fails_is_a_gap_and_the_saved_value_serves(self, grafana):
        grafana.forced["/api/datasources/proxy"] = httpx.Response(502, text="bad gateway")
        job = variable("job", "$__all", includeAll=True, query="label_values(up, job)")
        grafana.add("d", [panel(1, 'up{job=~"$job"}')], templating={"list": [job]})
        data = await client(grafana).dashboard_data("d", WINDOW)
        assert grafana.asked[0]["expr"] == 'up{job=~".+"}'
        assert "variable $job" in data.gaps[0]
        assert "502" in data.gaps[0]

    async def test_another_language_gets_only_harmless_values(self, grafana):
        target = {"refId": "A", "rawSql": "select * from t where a = '$who'"}
        sql = {"type": "postgres", "uid": "pg-1"}
        panels = [panel(1, "", datasource=sql, targets=[target])]
        for value, is_sent in (("alice", True), ("'; drop table t; --", False)):
            grafana.asked.clear()
            grafana.add("d", panels, templating={"list": [variable("who", value)]})
            data = await client(grafana).dashboard_data("d", WINDOW)
            assert bool(grafana.asked) is is_sent
            assert bool(data.answers[0].gaps) is not is_sent


class TestPanels:
    async def test_rows_nested_old_and_library_panels_are_found_in_order(self, grafana):
        grafana.library["lib-1"] = panel(99, "lib", "Shared")
        grafana.add(
            "d",
            [
                panel(1, "one", "One"),
                {"id": 2, "type": "row", "panels": [panel(3, "three", "Three")]},
                {"id": 4, "type": "timeseries", "title": "Lib", "libraryPanel": {"uid": "lib-1"}},
                {"id": 5, "type": "text", "title": "Words"},
            ],
            rows=[{"panels": [panel(6, "six", "Old")]}],
        )
        data = await client(grafana).dashboard_data("d", WINDOW)
        assert [a.panel.id for a in data.answers] == [1, 3, 4, 6]
        assert sorted(q["expr"] for q in grafana.asked) == ["lib", "one", "six", "three"]

    async def test_a_library_panel_that_is_gone_is_a_gap(self, grafana):
        grafana.add("d", [{"id": 4, "title": "Lib", "libraryPanel": {"uid": "gone"}}])
        data = await client(grafana).dashboard_data("d", WINDOW)
        assert "404" in data.answers[0].gaps[0]

    async def test_nan_null_and_infinities_are_left_out(self, grafana):
        values = [1.0, None, None, 4.0, None, 6.0]
        entities = {"data": {"entities": [None, {"NaN": [1], "Inf": [2], "NegInf": [4]}]}}
        grafana.answer_query = lambda _: {"status": 200, "frames": [frame(values, **entities)]}
        grafana.add("d", [panel(1, "a")])
        data = await client(grafana).dashboard_data("d", WINDOW)
        (found,) = data.answers[0].series
        assert found.series.values == (1.0, 4.0, 6.0)
        assert found.series.times == (T0 / 1000, T0 / 1000 + 90, T0 / 1000 + 150)

    async def test_long_frames_of_sql_become_a_series_for_each_text(self, grafana):
        fields = [
            {"name": "time", "type": "time"},
            {"name": "shop", "type": "string"},
            {"name": "n", "type": "number"},
        ]
        columns = [[T0, T0, T0 + 1000], ["a", "b", "a"], [1, 2, 3]]
        long = {"schema": {"fields": fields}, "data": {"values": columns}}
        grafana.answer_query = lambda _: {"frames": [long]}
        grafana.add("d", [panel(1, "a")])
        data = await client(grafana).dashboard_data("d", WINDOW)
        found = {s.series.labels["shop"]: s.series.values for s in data.answers[0].series}
        assert found == {"a": (1.0, 3.0), "b": (2.0,)}

    @pytest.mark.parametrize(
        ("result", "said"),
        [
            ({"status": 400, "error": "parse error: unexpected )"}, "unexpected )"),
            ({"status": 200, "frames": [{"schema": 1}]}, "no schema"),
            ({"status": 200, "frames": {}}, "no list"),
            (
                {"frames": [{"schema": {"fields": [{}]}, "data": {"values": [[1], [2]]}}]},
                "1 fields and 2 columns",
            ),
            (
                {
                    "frames": [
                        frame([1.0], meta={"notices": [{"severity": "warning", "text": "cut"}]})
                    ]
                },
                "cut",
            ),
        ],
    )
    async def test_a_query_that_fails_is_a_gap_with_its_text_and_the_others_count(
        self, grafana, result, said
    ):
        good = grafana.answer_query
        grafana.answer_query = lambda query: result if query["expr"] == "bad" else good(query)
        grafana.add("d", [panel(1, "bad"), panel(2, "good")])
        data = await client(grafana).dashboard_data("d", WINDOW)
        (gap,) = data.answers[0].gaps
        assert gap.startswith("bad: ")
        assert said in gap
        assert len(data.answers[1].series) == 1

    async def test_without_the_query_api_prometheus_is_asked_through_the_proxy(self, grafana):
        grafana.has_query_api = False
        grafana.add(
            "d", [panel(1, 'up{job=~"$job"}')], templating={"list": [variable("job", "shop")]}
        )
        data = await client(grafana).dashboard_data("d", WINDOW)
        (found,) = data.answers[0].series
        assert found.series.values == (3.0, 4.0)
        assert found.query == 'up{job=~"shop"}'
        assert grafana.proxied[0]["query"] == 'up{job=~"shop"}'
        assert grafana.proxied[0]["step"] == "30.000"

    async def test_a_token_that_may_not_list_data_sources_reads_the_frontends(self, grafana):
        grafana.add("d", [panel(1, "up", datasource=None)])
        data = await client(grafana, READER).dashboard_data("d", WINDOW)
        assert len(data.answers[0].series) == 1
        assert grafana.asked[0]["datasource"] == {"type": "prometheus", "uid": "prom-1"}

    async def test_data_sources_are_found_by_name_variable_and_mixed(self, grafana):
        ds = {"name": "ds", "type": "datasource", "current": {"value": "loki-1"}}
        mixed = panel(3, "c", datasource={"uid": "-- Mixed --"})
        mixed["targets"][0]["datasource"] = {"type": "loki", "uid": "loki-1"}
        grafana.add(
            "d",
            [
                panel(1, "a", datasource="Loki"),
                panel(2, "b", datasource={"uid": "${ds}"}),
                mixed,
                panel(4, "d", datasource={"type": "datasource", "uid": "-- Dashboard --"}),
            ],
            templating={"list": [ds]},
        )
        await client(grafana).dashboard_data("d", WINDOW)
        found = {query["expr"]: query["datasource"]["uid"] for query in grafana.asked}
        assert found == {"a": "loki-1", "b": "loki-1", "c": "loki-1"}

    async def test_links_open_the_panel_at_the_time_with_the_variables(self, grafana):
        job = variable("job", ["a b", "c&d"], multi=True)
        grafana.add("d", [panel(7, "up")], templating={"list": [job]})
        data = await client(grafana, org_id=2).dashboard_data("d", WINDOW)
        link = httpx.URL(data.links[7])
        assert str(link).startswith(f"{URL}/d/d/slug-of-d?")
        assert link.params["viewPanel"] == "7"
        assert link.params["from"] == str(T0)
        assert link.params["to"] == str(T0 + 3_600_000)
        assert link.params.get_list("var-job") == ["a b", "c&d"]
        assert link.params["orgId"] == "2"
        assert grafana.requests[0].headers["X-Grafana-Org-Id"] == "2"

    def test_the_guides_method_gives_grafanas_answer_and_the_data(self, grafana):
        grafana.add("d", [panel(1, "up", fieldConfig={"defaults": {"unit": "ms"}})])
        given = client(grafana).get_dashboard_data(
            "d", start=WINDOW.start, end=WINDOW.end, variables={"nosuch": "x"}
        )
        assert given["dashboard"]["title"] == "d"
        assert given["meta"]["slug"] == "slug-of-d"
        (shown,) = given["panels"]
        assert shown["unit"] == "ms"
        assert shown["series"][0]["labels"] == {"job": "shop"}
        assert shown["series"][0]["values"] == [1.0, 2.0]

    async def test_an_unknown_dashboard_is_refused_and_a_strange_uid_not_asked_for(self, grafana):
        with pytest.raises(ConnectorRejected, match="404"):
            await client(grafana).dashboard_data("none", WINDOW)
        with pytest.raises(InputRejected):
            await client(grafana).dashboard_data("../../admin", WINDOW)

    async def test_a_wrong_token_is_refused_without_being_shown(self, grafana):
        with pytest.raises(ConnectorRejected, match="401") as caught:
            await client(grafana, "glsa_wrong_token").dashboard_data("d", WINDOW)
        assert "glsa_wrong_token" not in str(caught.value)


class TestEvidence:
    async def test_dashboards_are_found_by_service_and_series_keep_title_query_and_link(
        self, grafana
    ):
        unit = {"defaults": {"unit": "percent"}}
        grafana.add("x1", [panel(1, "errors", "Errors", fieldConfig=unit)], title="Shop overview")
        grafana.add("x2", [panel(1, "other")], title="Billing")
        batch = await client(grafana).panels(("shop",), WINDOW)
        (series,) = batch.series
        assert series.signal is Signal.OTHER
        assert series.title == "Errors: job=shop (percent)"
        assert series.query == "errors"
        assert "viewPanel=1" in series.link
        assert series.source == "grafana"
        assert batch.gaps == ()

    async def test_a_stated_meaning_is_converted_and_a_contradicting_unit_is_not_believed(
        self, grafana
    ):
        def with_unit(number, title, unit):
            return panel(number, title, title, fieldConfig={"defaults": {"unit": unit}})

        panels = [with_unit(1, "Failures", "percent"), with_unit(2, "Time", "ms")]
        grafana.add("d", [*panels, with_unit(3, "Odd", "bytes")])
        signals = {"Failures": "error_ratio", "Time": "latency_p95", "Odd": "cpu_use"}
        batch = await client(grafana, dashboards={"shop": "d"}, signals=signals).panels(
            ("shop",), WINDOW
        )
        found = {series.signal: series.values for series in batch.series}
        assert found[Signal.ERROR_RATIO] == (0.01, 0.02)
        assert found[Signal.LATENCY_P95] == (0.001, 0.002)
        assert found[Signal.OTHER] == (1.0, 2.0)

    async def test_a_series_belongs_to_what_its_labels_name_else_to_the_service(self, grafana):
        answers = {
            "a": frame([1.0], labels={"service": "pay"}),
            "b": frame([1.0], labels={"x": "y"}),
        }
        grafana.answer_query = lambda query: {"frames": [answers[query["expr"]]]}
        grafana.add("d", [panel(1, "a"), panel(2, "b")])
        batch = await client(grafana, dashboards={"shop": ["d"]}).panels(("shop",), WINDOW)
        assert [s.entity for s in batch.series] == [
            Entity(EntityKind.SERVICE, "pay"),
            Entity(EntityKind.SERVICE, "shop"),
        ]

    async def test_a_dashboard_that_is_gone_is_a_gap_and_the_others_count(self, grafana):
        grafana.add("d", [panel(1, "a")])
        found = client(grafana, dashboards={"shop": ["gone", "d"]}, search=False)
        batch = await found.panels(("shop", "nobody"), WINDOW)
        assert len(batch.series) == 1
        assert batch.gaps[0].startswith("dashboard gone: ")

    async def test_a_panel_that_hangs_is_a_gap_and_the_others_count(self, grafana):
        grafana.add("d", [panel(1, "slow", "Slow"), panel(2, "fast", "Fast")])

        async def transport(request: httpx.Request) -> httpx.Response:
            if b'"slow"' in request.content:
                await asyncio.Event().wait()
            return grafana(request)

        made = client(transport, dashboards={"shop": "d"}, time_budget_s=0.5)
        batch = await made.panels(("shop",), WINDOW)
        assert [s.title for s in batch.series] == ["Fast: job=shop"]
        assert batch.gaps == ("panel 'Slow': no answer within 0.4 s",)

    async def test_too_many_panels_and_ad_hoc_filters_are_told(self, grafana):
        filters = {"name": "f", "type": "adhoc", "filters": [{"key": "a", "value": "b"}]}
        panels = [panel(n, f"q{n}") for n in range(5)]
        grafana.add("d", panels, templating={"list": [filters]})
        batch = await client(grafana, dashboards={"shop": "d"}, panels_max=2).panels(
            ("shop",), WINDOW
        )
        assert len(batch.series) == 2
        assert [gap.partition(": ")[2] for gap in batch.gaps] == [
            "its ad hoc filters were not applied",
            "2 of its 5 panels were read",
        ]

    @pytest.mark.parametrize("status", [429, 503])
    async def test_trouble_everywhere_is_an_error(self, grafana, status):
        grafana.forced["/api"] = httpx.Response(status, text="busy")
        with pytest.raises(ConnectorUnavailable):
            await client(grafana).panels(("shop",), WINDOW)


class TestRulesAndAnnotations:
    async def test_rules_are_told_as_kept_and_as_evaluated(self, grafana):
        grafana.rules = [
            {"uid": "r1", "title": "Errors", "folderUID": "f", "ruleGroup": "g", "isPaused": False},
            {"uid": "r2", "title": "Off", "folderUID": "f", "ruleGroup": "g", "isPaused": True},
        ]
        evaluated = {"name": "Errors", "uid": "r1", "state": "firing", "health": "ok", "query": "q"}
        grafana.groups = [{"name": "g", "file": "shop", "rules": [evaluated]}]
        rules = await client(grafana).alert_rules()
        assert [(r.title, r.state, r.is_paused) for r in rules] == [
            ("Errors", "firing", False),
            ("Off", "unknown", True),
        ]
        rules = await client(grafana, READER).alert_rules()
        assert [(r.title, r.state, r.group) for r in rules] == [("Errors", "firing", "shop/g")]

    async def test_an_annotation_is_a_span_with_tags_and_harmless_text(self, grafana):
        end = WINDOW.start + timedelta(minutes=5)
        number = await client(grafana).annotate(
            "<img src=x> begins " + "x" * 5000, start=WINDOW.start, end=end, tags=("incident", "")
        )
        assert number == "1"
        (kept,) = grafana.annotations
        assert kept["time"] == T0
        assert kept["timeEnd"] == T0 + 300_000
        assert kept["tags"] == ["it-incident-response", "incident"]
        assert kept["text"].startswith("&lt;img src=x&gt; begins")
        assert len(kept["text"]) < 2_100

    async def test_an_annotation_is_never_sent_twice(self, grafana):
        grafana.forced["/api/annotations"] = httpx.Response(503)
        with pytest.raises(ConnectorUnavailable):
            await client(grafana, attempts=5).annotate("x", start=WINDOW.start)
        assert len([r for r in grafana.requests if r.url.path == "/api/annotations"]) == 1

    async def test_the_check_proves_the_token(self, grafana):
        assert (await client(grafana).check()).version == "12.1.0"
        with pytest.raises(ConnectorRejected, match="401"):
            await client(grafana, "wrong").check()


@pytest.mark.parametrize(
    "settings",
    [
        {"dashboards": {"shop": "../x"}},
        {"dashboards": ["x"]},
        {"signals": {"Errors": "warmth"}},
        {"org_id": 0},
        {"panels_max": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        read_settings("grafana", GrafanaSettings, {"url": URL} | settings)
