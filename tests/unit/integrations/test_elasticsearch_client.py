"""What becomes of the answers of Elasticsearch and OpenSearch, above all of the bad ones."""

import asyncio
import json
from datetime import timedelta
from urllib.parse import unquote

import httpx
import pytest

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.errors import (
    ConfigError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations import _elasticsearch_transport as transport
from it_incident_response.integrations.elasticsearch_client import ElasticsearchLogAnalyzer
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import LogQuery
from tests.unit.integrations.elasticsearch_support import (
    DATE,
    ECS_FIELDS,
    HOUR,
    KEYWORD,
    LONG,
    START,
    TEXT,
    URL,
    Cluster,
    detector,
    hit,
    hits,
)
from tests.unit.integrations.support import StillClock

QUERY = LogQuery(window=HOUR, limit=10)
DISTRIBUTIONS = pytest.mark.parametrize("distribution", ["elasticsearch", "opensearch"])


@DISTRIBUTIONS
async def test_lines_come_oldest_first_with_their_query_and_no_secret(distribution):
    cluster = Cluster(
        hits(hit(2, message="b", **{"log.level": "ERROR"}), hit(1, message="a")),
        distribution=distribution,
    )
    key = {"Authorization": "ApiKey c2VjcmV0"}
    batch = await detector(cluster, headers=key).lines(QUERY)
    assert [(line.message, line.level) for line in batch.lines] == [
        ("a", LogLevel.INFO),
        ("b", LogLevel.ERROR),
    ]
    assert batch.query.startswith('GET /logs-*/_search {"query":')
    assert json.loads(batch.query.partition("_search ")[2]) == cluster.bodies[0]
    assert "c2VjcmV0" not in repr(batch)
    assert {request.headers["authorization"] for request in cluster.requests} == {"ApiKey c2VjcmV0"}
    assert (batch.gaps, batch.is_truncated, batch.link) == ((), False, None)


async def test_each_server_is_spoken_to_by_its_own_client():
    cluster = Cluster(hits(), distribution="elasticsearch")
    await detector(cluster).lines(QUERY)
    accepted = cluster.requests[-1].headers["accept"]
    assert accepted == "application/vnd.elasticsearch+json; compatible-with=8"
    cluster = Cluster(hits(), distribution="opensearch")
    await detector(cluster).lines(QUERY)
    assert cluster.requests[-1].headers["content-type"] == "application/json"


async def test_a_configured_distribution_is_not_asked_for():
    cluster = Cluster(hits(), distribution="elasticsearch")
    await detector(cluster, distribution="elasticsearch").lines(QUERY)
    assert not [request for request in cluster.requests if request.url.path == "/"]


@DISTRIBUTIONS
@pytest.mark.parametrize("status", [403, 405])
async def test_a_key_that_may_only_read_logs_suffices(distribution, status):
    cluster = Cluster(hits(hit(message="a")), distribution=distribution)
    whole = cluster._answer

    def closed(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status) if request.url.path == "/" else whole(request)

    cluster.answers = [closed]
    logs = detector(cluster)
    assert len((await logs.lines(QUERY)).lines) == 1
    health = await logs.check()
    assert (health.version, health.detail) == (None, distribution)


async def test_another_product_is_not_taken_for_elasticsearch():
    cluster = Cluster(hits(), distribution="opensearch")
    with pytest.raises(ConnectorReplyInvalid, match="does not say that it is") as caught:
        await detector(cluster, distribution="elasticsearch").lines(QUERY)
    assert "distribution" in caught.value.hint


async def test_a_missing_client_names_the_extra(monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(transport.importlib, "import_module", missing)
    for distribution in ("elasticsearch", "opensearch"):
        with pytest.raises(ConfigError) as caught:
            await detector(Cluster(distribution=distribution)).lines(QUERY)
        assert f"it-incident-response[{distribution}]" in caught.value.hint


@DISTRIBUTIONS
async def test_pages_follow_each_other_over_one_point_in_time(distribution):
    pages = [hits(hit(4), hit(3)), hits(hit(2), hit(1)), hits(hit(0))]
    cluster = Cluster(*pages, distribution=distribution)
    batch = await detector(cluster, page_size=2).lines(QUERY)
    assert [line.at for line in batch.lines] == [START + timedelta(seconds=n) for n in range(5)]
    first, second, third = cluster.bodies
    assert "search_after" not in first
    assert second["search_after"] == pages[0]["hits"]["hits"][-1]["sort"]
    assert third["search_after"] == pages[1]["hits"]["hits"][-1]["sort"]
    assert {body["pit"]["id"] for body in cluster.bodies} == {"p"}
    assert first["sort"] == [{"@timestamp": {"order": "desc"}}, {"_shard_doc": {"order": "asc"}}]
    assert cluster.requests[-1].method == "DELETE", "the point in time is closed"


async def test_an_old_opensearch_is_sorted_by_what_it_has():
    cluster = Cluster(hits(hit(1), hit(0)), hits(), version="2.19.1")
    await detector(cluster, page_size=2).lines(QUERY)
    assert cluster.bodies[0]["sort"][1] == {"_id": {"order": "asc"}}


async def test_more_lines_than_the_limit_are_cut_and_said_so():
    cluster = Cluster(hits(*(hit(n) for n in range(9, -1, -1))))
    batch = await detector(cluster).lines(QUERY.model_copy(update={"limit": 9}))
    assert batch.is_truncated
    assert [line.at for line in batch.lines][0] == START + timedelta(seconds=1)
    assert cluster.bodies[0]["size"] == 10


async def test_time_that_runs_out_between_pages_leaves_what_was_read():
    clock = StillClock()

    def slow(_: httpx.Request) -> dict:
        clock.move(15)
        return hits(hit(2), hit(1))

    batch = await detector(Cluster(slow), clock, page_size=2).lines(
        QUERY.model_copy(update={"limit": 1000})
    )
    assert len(batch.lines) == 4
    assert batch.is_truncated
    assert batch.gaps == ("stopped after 4 lines: 20 s were over",)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"timed_out": True}, "ran out of time on the server"),
        (
            {
                "_shards": {
                    "total": 5,
                    "failed": 2,
                    "failures": [{"reason": {"type": "x", "reason": "no fielddata\nthere"}}],
                }
            },
            "2 of 5 shards failed (no fielddata there): lines are missing",
        ),
        ({"_shards": {"total": 5, "failed": 1, "failures": 17}}, "1 of 5 shards failed: "),
        ({"_clusters": {"skipped": 1}}, "1 remote clusters were skipped"),
    ],
)
async def test_a_partial_answer_is_marked(reply, said):
    found = hits(hit(message="a"), **reply)
    batch = await detector(Cluster(found)).lines(QUERY)
    assert len(batch.lines) == 1
    (gap,) = batch.gaps
    assert said in gap
    counted = await detector(Cluster(found | {"aggregations": {"lines": {"buckets": []}}})).counts(
        QUERY, bucket_s=60
    )
    assert counted.gaps == batch.gaps


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_cluster_is_asked_again_when_it_says(status):
    clock = StillClock()
    busy = httpx.Response(status, headers={"Retry-After": "2"}, json={"error": "busy"})
    cluster = Cluster(lambda _: busy if len(cluster.bodies) < 3 else hits(hit(message="a")))
    batch = await detector(cluster, clock, attempts=3).lines(QUERY)
    assert len(batch.lines) == 1
    assert len(clock.slept) == 2
    assert all(pause >= 2 for pause in clock.slept)


async def test_a_cluster_that_stays_busy_is_an_error_with_its_own_words():
    error = {"root_cause": [{"reason": "queue capacity 1000 reached"}], "reason": "all shards"}
    busy = httpx.Response(429, json={"error": error})
    with pytest.raises(ConnectorUnavailable, match="429: queue capacity 1000 reached"):
        await detector(Cluster(busy), attempts=2).lines(QUERY)


@DISTRIBUTIONS
@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"[]",
        b"{}",
        b'{"hits": 1}',
        b'{"hits": {"hits": {}}}',
        b'{"hits": {"hits": [',
        b"<html>",
        b'{"hits": {"hits": [{"_source": {}}]}}',
        b"\xff\xfe\x00",
    ],
)
async def test_junk_is_an_invalid_reply_or_nothing(distribution, junk):
    logs = detector(Cluster(junk, distribution=distribution), page_size=1)
    try:
        batch = await logs.lines(QUERY.model_copy(update={"limit": 1}))
    except ConnectorReplyInvalid:
        return
    assert batch.lines == ()


@pytest.mark.parametrize(
    "buckets",
    [
        17,
        [{}],
        [{"key": 1, "doc_count": 1}],
        [{"key": {"at": "x"}, "doc_count": 1}],
        [{"key": {"at": 1}, "doc_count": None}],
        [{"key": {"at": 1}, "doc_count": 1, "levels": {"buckets": {"info": {}}}}],
        [{"key": {"at": 1}, "doc_count": 1, "levels": {"buckets": [1]}}],
    ],
)
async def test_junk_in_a_count_is_an_invalid_reply(buckets):
    cluster = Cluster({"aggregations": {"lines": {"buckets": buckets}}})
    with pytest.raises(ConnectorReplyInvalid, match="no buckets"):
        await detector(cluster).counts(QUERY, bucket_s=60)


async def test_bad_bytes_cost_neither_the_page_nor_the_line():
    body = json.dumps(hits(hit(2, message="MARK"), hit(1, message="\ud800 lone"))).encode()
    cluster = Cluster(body.replace(b"MARK", b"caf\xe9"))
    batch = await detector(cluster).lines(QUERY)
    assert [line.message for line in batch.lines] == ["? lone", "caf\ufffd"]


async def test_an_index_pattern_that_matches_nothing_is_a_gap():
    cluster = Cluster(fields={})
    cluster.indices = []
    logs = detector(cluster)
    batch = await logs.lines(QUERY)
    assert batch.gaps == ("no index matches 'logs-*': nothing was searched",)
    assert cluster.bodies == []
    with pytest.raises(ConnectorRejected, match="no index matches"):
        await asyncio.to_thread(logs.detect_incidents, {"query": {"match_all": {}}})


async def test_what_no_field_holds_is_a_gap():
    cluster = Cluster(hits(), fields={"@timestamp": DATE, "message": TEXT})
    batch = await detector(cluster).lines(QUERY.model_copy(update={"services": ("pay",)}))
    (gap,) = batch.gaps
    assert "no indexed field holds the service in 'logs-*'" in gap
    empty = Cluster(hits(), fields={"message": TEXT})
    batch = await detector(empty).lines(QUERY)
    assert "no date field in 'logs-*' (looked for @timestamp, time" in batch.gaps[0]


async def test_indices_without_dates_are_left_out_and_named():
    stamps = {
        "date": DATE["date"] | {"indices": ["logs-a"]},
        "text": TEXT["text"] | {"indices": ["logs-b"]},
        "unmapped": {"type": "unmapped", "indices": ["logs-c"]},
    }
    cluster = Cluster(hits(), fields=ECS_FIELDS | {"@timestamp": stamps})
    batch = await detector(cluster).lines(QUERY)
    assert batch.gaps == (
        "'@timestamp' is text, no date, in logs-b: not searched",
        "no field '@timestamp' in logs-c: not searched",
    )
    assert cluster.requests[-1].url.path == "/logs-*,-logs-b/_search"


async def test_names_in_text_fields_are_checked_again_here():
    fields = {"@timestamp": DATE, "message": TEXT, "service": TEXT}
    found = [hit(2, service="pay api"), hit(1, service="pay-api"), hit(0, service="pay-api-2")]
    cluster = Cluster(hits(*found), fields=fields)
    batch = await detector(cluster).lines(QUERY.model_copy(update={"services": ("pay-api",)}))
    assert [line.service for line in batch.lines] == ["pay-api"]


async def test_a_keyword_beside_a_text_field_is_used():
    fields = {"@timestamp": DATE, "message": TEXT, "service": TEXT, "service.keyword": KEYWORD}
    cluster = Cluster(hits(hit(service="pay")), fields=fields)
    batch = await detector(cluster).lines(QUERY.model_copy(update={"services": ("pay",)}))
    assert {"terms": {"service.keyword": ["pay"]}} in cluster.bodies[0]["query"]["bool"]["filter"]
    assert batch.lines[0].service == "pay"


async def test_own_fields_come_first():
    fields = {"when": DATE, "say": TEXT, "sev": LONG, "who": KEYWORD}
    given = {"timestamp": "when", "message": "say", "level": ["sev"], "service": "who"}
    source = {"_source": {"when": START.isoformat(), "say": "x", "sev": 50, "who": "pay"}}
    cluster = Cluster(hits(source), fields=fields)
    logs = detector(cluster, fields=given, numeric_levels="pino")
    (line,) = (await logs.lines(QUERY.model_copy(update={"minimum_level": "error"}))).lines
    assert (line.message, line.level, line.service) == ("x", LogLevel.ERROR, "pay")
    assert {"range": {"sev": {"gte": 50, "lte": 59}}} in _flat(cluster.bodies[0]["query"])


def _flat(part: object) -> list[object]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [part, *(found for child in inner for found in _flat(child))]


async def test_a_huge_line_is_cut_and_its_length_kept():
    cluster = Cluster(hits(hit(message="x" * 10_000_000)))
    (line,) = (await detector(cluster).lines(QUERY)).lines
    assert len(line.message) == 16_384
    assert line.attributes["message_chars"] == "10000000"


async def test_a_page_that_is_too_long_is_asked_for_in_smaller_ones():
    def answer(request: httpx.Request) -> dict:
        body = json.loads(request.content)
        after = body.get("search_after", [1e15])[0]
        found = [h for h in stored if h["sort"][0] < after][: body["size"]]
        if body["_source"] is False:
            found = [{"sort": h["sort"]} for h in found]
        return hits(*found)

    stored = [hit(n, message=f"m{n}") for n in range(20, 0, -1)]
    stored[4] = hit(16, message="x" * 50_000)
    cluster = Cluster(answer)
    logs = detector(cluster, response_bytes_max=20_000)
    batch = await logs.lines(QUERY.model_copy(update={"limit": 100}))
    assert len(batch.lines) == 19
    (gap,) = batch.gaps
    assert gap.startswith("a line of 2026-11-24 01:00:16+00:00 is left out")
    assert len(cluster.bodies) < 20


async def test_the_mapping_is_asked_for_once_a_minute():
    clock = StillClock()
    cluster = Cluster(hits())
    logs = detector(cluster, clock)
    for seconds in (0, 30, 29):
        clock.move(seconds)
        await logs.lines(QUERY)
    once = sum(path.endswith("_field_caps") for path in _paths(cluster))
    clock.move(2)
    await logs.lines(QUERY)
    assert sum(path.endswith("_field_caps") for path in _paths(cluster)) == 2 * once


def _paths(cluster: Cluster) -> list[str]:
    return [request.url.path for request in cluster.requests]


async def test_no_request_line_is_too_long_for_a_server():
    cluster = Cluster(hits())
    await detector(cluster).lines(QUERY)
    assert max(len(path) for path in cluster.paths) < 4000


def test_it_works_for_synchronous_callers_and_by_the_guides_arguments():
    cluster = Cluster(hits(hit(message="refused", **{"log.level": "ERROR"}), hit(message="ok")))
    logs = detector(cluster)
    worst, other = logs.detect_incidents({"query": {"match_all": {}}})
    assert (worst["title"], worst["severity"], worst["count"]) == (
        "unknown service: refused",
        "high",
        1,
    )
    assert (other["severity"], other["gaps"]) == ("low", [])
    assert len(logs.search_logs({"query": {"match_all": {}}})) == 2
    assert ElasticsearchLogAnalyzer().es_url == "http://localhost:9200"
    given = ElasticsearchLogAnalyzer(URL, api_key="c2VjcmV0", index_pattern="app-*")
    assert given.es_url == URL
    assert "c2VjcmV0" not in repr(given)
    with pytest.raises(ConfigError, match="index_pattern"):
        ElasticsearchLogAnalyzer(URL, index_pattern="a b/../_all")
    assert isinstance(given._clock, type(Surroundings().clock))


@DISTRIBUTIONS
async def test_links_open_the_same_lines(distribution):
    cluster = Cluster(hits(), distribution=distribution)
    logs = detector(cluster, kibana_url="https://kibana.invalid/s/ops", kibana_data_view="v-1")
    asked = {"services": ('p"ay',), "contains": "it's (odd)!"}
    link = (await logs.lines(QUERY.model_copy(update=asked))).link
    assert link.startswith("https://kibana.invalid/s/ops/app/")
    assert "from:'2026-11-24T01:00:00.000000Z'" in link
    assert 'service.name:("p\\"ay")' in unquote(link)
    assert "it!'s%20(odd)!!" in link
    assert "v-1" in link
    assert not set(link) & set(' "<>\n\\')
