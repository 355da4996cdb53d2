"""Our log connector against a real Elasticsearch and a real OpenSearch node: the same promises."""

import asyncio
import csv
import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.domain.evidence import LogLevel, LogLine, TimeWindow
from it_incident_response.errors import (
    ConnectorRejected,
    ConnectorUnavailable,
    InputRejected,
)
from it_incident_response.integrations.elasticsearch_client import (
    ElasticsearchIncidentDetector,
    ElasticsearchLogAnalyzer,
    ElasticsearchSettings,
)
from it_incident_response.ports.sources import LogQuery
from it_incident_response.simulation import SimulatedSources, SimulatedWorld
from tests.real.stack.search_servers import PASSWORD, SearchServer, search_server
from tests.real.stack.waiting import Eventually
from tests.unit.integrations.test_tls import Authority

START = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
HOUR = TimeWindow(start=START, end=START + timedelta(hours=1))
LOGHUB = Path(__file__).parents[3] / "shared" / "data" / "loghub"
ECS = {
    "properties": {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"},
        "log": {"properties": {"level": {"type": "keyword"}}},
        "service": {"properties": {"name": {"type": "keyword"}}},
        "host": {"properties": {"name": {"type": "keyword"}}},
        "trace": {"properties": {"id": {"type": "keyword"}}},
    }
}
SERVERS = ("elasticsearch", "opensearch")


@pytest.fixture(params=SERVERS)
def node(request: pytest.FixtureRequest) -> SearchServer:
    server: SearchServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
async def logs(node: SearchServer) -> AsyncIterator[ElasticsearchLogAnalyzer]:
    """Reads `it-*`, which is empty when the test begins."""
    drop_all(node)
    async with analyzer(node) as made:
        yield made


def drop_all(node: SearchServer) -> None:
    listed = node.admin.get("/_cat/indices/it-*", params={"format": "json", "h": "index"})
    node.drop(*(entry["index"] for entry in listed.raise_for_status().json()))


def analyzer(node: SearchServer, **settings: Any) -> ElasticsearchLogAnalyzer:
    given = {"url": node.url, "index_pattern": "it-*", "timeout_s": 20.0} | settings
    return ElasticsearchLogAnalyzer(settings=ElasticsearchSettings.model_validate(given))


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def ecs(line: LogLine) -> dict[str, Any]:
    return {
        "@timestamp": line.at.isoformat(),
        "message": line.message,
        "log": {"level": line.level.value.upper()},
        "service": {"name": line.service},
        "host": {"name": line.host},
        "trace": {"id": line.trace_id},
    }


def messages(lines: Iterable[LogLine]) -> list[str]:
    return [line.message for line in lines]


async def test_it_says_which_server_it_is(logs, node):
    node.index("it-a", [], mapping=ECS)
    health = await logs.check()
    assert health.detail == node.distribution
    if node.distribution == "opensearch":  # the published Elasticsearch zip has no `GET /`
        assert health.version == "3.4.0"


DOCUMENTS = [
    {"@timestamp": at(1), "message": "pay took 3 ms", "log": {"level": "info"}},
    {"@timestamp": at(2), "message": "pay: connection refused by db-1", "log": {"level": "ERROR"}},
    {"@timestamp": at(3), "message": "refused the connection", "log": {"level": "Warning"}},
    {"@timestamp": at(4), "message": "out of memory", "log": {"level": "CRITICAL"}},
    {"@timestamp": at(5), "message": "entering", "log": {"level": "TRACE"}},
    {"@timestamp": at(3601), "message": "too late", "log": {"level": "ERROR"}},
]
PLACES = [
    {"service": {"name": "pay"}, "host": {"name": "web-1"}, "trace": {"id": "t-1"}},
    {"service": {"name": "pay-2"}, "host": {"name": "web-2"}, "trace": {"id": "t-2"}},
]


async def test_lines_are_selected_by_everything_that_can_be_asked(logs, node):
    documents = [document | PLACES[number % 2] for number, document in enumerate(DOCUMENTS)]
    node.index("it-a", documents, mapping=ECS)

    async def found(**asked: Any) -> list[str]:
        batch = await logs.lines(LogQuery(window=HOUR, **asked))
        assert batch.gaps == ()
        return messages(batch.lines)

    everything = [d["message"] for d in DOCUMENTS[:5]]
    assert await found() == everything
    assert await found(limit=2) == everything[3:]
    assert await found(services=("pay",)) == everything[0::2]
    assert await found(hosts=("web-2", "web-9")) == everything[1::2]
    assert await found(trace_id="t-2") == everything[1::2]
    assert await found(services=("nobody",)) == []
    assert await found(minimum_level=LogLevel.INFO) == everything[:4]
    assert await found(minimum_level=LogLevel.WARNING) == everything[1:4]
    assert await found(minimum_level=LogLevel.ERROR) == [everything[1], everything[3]]
    assert await found(minimum_level=LogLevel.FATAL) == [everything[3]]
    assert await found(contains="connection refused") == [everything[1]]
    assert await found(contains='"*) OR true //') == []
    early = TimeWindow(start=START, end=START + timedelta(seconds=2))
    batch = await logs.lines(LogQuery(window=early))
    assert messages(batch.lines) == everything[:1], "the end of a window is not in it"


LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ecs": (
        ECS,
        {
            "@timestamp": at(1),
            "message": "no route",
            "log.level": "err",
            "service": {"name": "pay"},
            "host.name": "web-1",
            "trace": {"id": "abc"},
            "error": {"stack_trace": "java.net.X: no\n\tat a.b.C.d(C.java:1)", "type": "X"},
        },
    ),
    "opentelemetry": (
        {"properties": {"@timestamp": {"type": "date_nanos"}}},
        {
            "@timestamp": at(1),
            "body": {"text": "no route"},
            "severity_number": 17,
            "resource": {
                "attributes": {"service.name": "pay", "host.name": "web-1", "k8s.pod.name": "p-1"}
            },
            "trace_id": "abc",
        },
    ),
    "fluent-bit": (
        {"properties": {"@timestamp": {"type": "date"}}},
        {
            "@timestamp": at(1),
            "log": "2026-11-24 01:00:01,000 [main] ERROR no route",
            "stream": "stderr",
            "trace_id": "abc",
            "kubernetes": {
                "labels": {"app": "pay"},
                "host": "web-1",
                "pod_name": "p-1",
                "container_name": "main",
            },
        },
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("preset", ["own", "auto"])
async def test_each_layout_is_read_and_searched(node, layout, preset):
    drop_all(node)
    mapping, document = LAYOUTS[layout]
    node.index("it-a", [document], mapping=mapping)
    async with analyzer(node, preset=layout if preset == "own" else "auto") as logs:
        asked = {"services": ("pay",), "hosts": ("web-1",), "trace_id": "abc"}
        asked |= {} if layout == "ecs" else {"pods": ("p-1",)}
        query = LogQuery(window=HOUR, minimum_level=LogLevel.ERROR, contains="no route", **asked)
        (line,) = (await logs.lines(query)).lines
        assert "no route" in line.message
        assert (line.level, line.service, line.host) == (LogLevel.ERROR, "pay", "web-1")
        assert (line.trace_id, line.at) == ("abc", START + timedelta(seconds=1))
        assert layout != "ecs" or line.message.endswith("at a.b.C.d(C.java:1)")
        counted = await logs.counts(query, bucket_s=60)
        (count,) = counted.counts
        assert (count.level, count.service, count.count) == (LogLevel.ERROR, "pay", 1)
        other = query.model_copy(update={"minimum_level": LogLevel.FATAL})
        assert (await logs.lines(other)).lines == ()


async def test_more_than_ten_thousand_lines_come_whole_and_once(node):
    """Ten lines share each timestamp, over two shards: only a tie-breaker keeps them apart."""
    drop_all(node)
    total = 10_500
    documents = (
        {"@timestamp": at(number // 10), "message": f"line {number}"} for number in range(total)
    )
    node.index("it-a", documents, mapping=ECS, shards=2)
    async with analyzer(node, page_size=2000) as logs:
        batch = await logs.lines(LogQuery(window=HOUR, limit=20_000))
        assert (len(batch.lines), batch.is_truncated, batch.gaps) == (total, False, ())
        assert set(messages(batch.lines)) == {f"line {number}" for number in range(total)}
        assert [line.at for line in batch.lines] == sorted(line.at for line in batch.lines)
        newest = await logs.lines(LogQuery(window=HOUR, limit=10_100))
        assert newest.is_truncated
        assert len(set(messages(newest.lines))) == 10_100
        assert newest.lines[-1].at == batch.lines[-1].at
        counted = await logs.counts(LogQuery(window=HOUR), bucket_s=60)
        assert sum(count.count for count in counted.counts) == total
        assert counted.counts[0].at == START
        assert counted.counts[0].count == 600
    assert open_contexts(node) == 0, "points in time are closed"


def open_contexts(node: SearchServer) -> int:
    stats = node.admin.get("/_nodes/stats/indices/search").raise_for_status().json()
    (indices,) = [entry["indices"] for entry in stats["nodes"].values()]
    count: int = indices["search"]["open_contexts"]
    return count


async def test_a_field_mapped_as_two_types_is_searched_and_named(logs, node):
    def mapped(**fields: str) -> dict[str, Any]:
        typed = {name: {"type": kind} for name, kind in fields.items()}
        return {"properties": {"@timestamp": {"type": "date"}, "message": {"type": "text"}} | typed}

    node.index(
        "it-words",
        [
            {"@timestamp": at(1), "message": "a", "level": "ERROR", "service": "pay-api"},
            {"@timestamp": at(2), "message": "b", "level": "info", "service": "pay-api v2"},
        ],
        mapping=mapped(level="keyword", service="text"),
    )
    node.index(
        "it-numbers",
        [
            {"@timestamp": at(3), "message": "c", "level": 3, "service": "pay-api"},
            {"@timestamp": at(4), "message": "d", "level": 6, "service": "shop"},
        ],
        mapping=mapped(level="long", service="keyword"),
    )
    node.index(
        "it-undated",
        [{"@timestamp": "yesterday", "message": "e", "level": "error"}],
        mapping={"properties": {"@timestamp": {"type": "keyword"}}},
    )
    batch = await logs.lines(LogQuery(window=HOUR, services=("pay-api",)))
    assert messages(batch.lines) == ["a", "c"]
    said = "; ".join(batch.gaps)
    assert "'level' is mapped as keyword and long" in said
    assert "'service' is mapped as keyword and text" in said
    assert "'@timestamp' is keyword, no date, in it-undated" in said
    assert len(batch.gaps) == 3
    errors = await logs.lines(LogQuery(window=HOUR, minimum_level=LogLevel.ERROR))
    assert messages(errors.lines) == ["a", "c"]
    counted = await logs.counts(LogQuery(window=HOUR), bucket_s=60)
    assert {count.level: count.count for count in counted.counts} == {
        LogLevel.ERROR: 2,
        LogLevel.INFO: 2,
    }
    assert any("services are not told apart" in gap for gap in counted.gaps)


async def test_a_pattern_that_matches_nothing_is_a_gap_and_soon_noticed(logs, node):
    batch = await logs.lines(LogQuery(window=HOUR))
    counted = await logs.counts(LogQuery(window=HOUR), bucket_s=60)
    assert batch.lines == counted.counts == ()
    assert batch.gaps == counted.gaps == ("no index matches 'it-*': nothing was searched",)
    assert "no index matches" in (await logs.check()).detail
    node.index("it-a", DOCUMENTS[:1], mapping=ECS)
    assert len((await logs.lines(LogQuery(window=HOUR))).lines) == 1


async def test_strange_documents_cost_nobody_else_anything(logs, node):
    node.index(
        "it-a",
        [
            {"message": "no time at all"},
            {"@timestamp": at(1), "message": 17},
            {"@timestamp": at(2), "message": ["one", "two"]},
            {"@timestamp": at(3), "log.level": "error", "service.name": "dotted"},
            {"@timestamp": at(4), "message": "\ud800 half".encode("utf-8", "replace").decode()},
            {"@timestamp": at(5), "message": "\x1b[31mred\x00", "log": {"level": ["ERROR", "x"]}},
            {"@timestamp": at(6), "message": "x" * 10_000_000, "log": {"level": "error"}},
        ],
        mapping={"properties": {**ECS["properties"], "message": {"type": "text", "index": False}}},
    )
    batch = await logs.lines(LogQuery(window=HOUR))
    assert [line.message[:10] for line in batch.lines] == [
        "17", "one", "", "? half", "\x1b[31mred\x00", "x" * 10,
    ]  # fmt: skip
    assert len(batch.lines[-1].message) < 20_000
    assert batch.lines[-1].attributes["message_chars"] == "10000000"
    assert batch.lines[2].service == "dotted"
    assert batch.lines[2].level is LogLevel.ERROR


async def test_a_line_too_long_to_be_fetched_is_left_out_and_named(node):
    drop_all(node)
    short = [{"@timestamp": at(number), "message": f"m{number}"} for number in range(40)]
    long = {"@timestamp": at(20), "message": "y " * 3_000_000}
    node.index("it-a", [*short, long], mapping=ECS)
    async with analyzer(node, response_bytes_max=1_000_000) as logs:
        batch = await logs.lines(LogQuery(window=HOUR))
        assert sorted(messages(batch.lines)) == sorted(f"m{number}" for number in range(40))
        (gap,) = batch.gaps
        assert "a line of 2026-11-24 01:00:20+00:00 is left out" in gap


@pytest.mark.skipif(not LOGHUB.is_dir(), reason="the folder ../shared is not beside this checkout")
@pytest.mark.parametrize("system", ["Apache", "Zookeeper"])
async def test_public_logs_are_counted_and_read_as_they_are(logs, node, system):
    with (LOGHUB / f"{system}_2k.log_structured_corrected.csv").open() as file:
        rows = list(csv.DictReader(file))
    documents = [
        {
            "@timestamp": at(number),
            "message": row["Content"],
            "log": {"level": row["Level"]},
            "service": {"name": system},
        }
        for number, row in enumerate(rows)
    ]
    node.index("it-a", documents, mapping=ECS)
    batch = await logs.lines(LogQuery(window=HOUR))
    assert messages(batch.lines) == [row["Content"] for row in rows]
    counted = await logs.counts(LogQuery(window=HOUR, minimum_level=LogLevel.ERROR), bucket_s=600)
    errors = sum(row["Level"].lower() == "error" for row in rows)
    assert sum(count.count for count in counted.counts) == errors
    assert {count.service for count in counted.counts} == {system}


async def test_the_simulated_worlds_logs_are_the_same_from_here(logs, node):
    world = SimulatedWorld(seed=7)
    window = TimeWindow(start=world.clock.now() - timedelta(minutes=30), end=world.clock.now())
    everything = await SimulatedSources(world).lines(LogQuery(window=window, limit=3000))
    assert everything.lines
    node.index("it-a", map(ecs, everything.lines), mapping=ECS)
    service = everything.lines[0].service
    for asked in ({}, {"services": (service,)}, {"minimum_level": LogLevel.WARNING}):
        expected = [
            line
            for line in everything.lines
            if asked.get("services", (line.service,)) == (line.service,)
            and line.level in list(LogLevel)[list(LogLevel).index(query_level(asked)) :]
        ]
        query = LogQuery(window=window, limit=3000, **asked)
        batch = await logs.lines(query)
        assert sorted(messages(batch.lines)) == sorted(messages(expected))
        counted = await logs.counts(query, bucket_s=300)
        assert sum(count.count for count in counted.counts) == len(expected)


def query_level(asked: Mapping[str, Any]) -> LogLevel:
    level: LogLevel = asked.get("minimum_level", LogLevel.DEBUG)
    return level


def incident_documents() -> Iterator[dict[str, Any]]:
    for number in range(300):
        yield {
            "@timestamp": at(number * 10),
            "message": f"GET /items/{number} took {number % 9} ms",
            "log": {"level": "info"},
            "service": {"name": "shop"},
        }
    for number in range(40):
        yield {
            "@timestamp": at(2900 + number),
            "message": f"pool exhausted after {number} ms waiting for db-{number % 3}",
            "log": {"level": "ERROR"},
            "service": {"name": "pay"},
            "host": {"name": "web-1"},
        }


async def test_what_is_unusual_in_a_window_is_told_by_its_words(logs, node):
    node.index("it-a", incident_documents(), mapping=ECS)
    late = TimeWindow(start=START + timedelta(seconds=2880), end=HOUR.end)
    found = await logs.unusual_words(LogQuery(window=late))
    assert found.gaps == ()
    assert {"pool", "exhausted"} <= {word.word for word in found.words[:8]}
    assert found.words[0].count == 40


async def test_the_guides_search_gives_candidate_incidents(node):
    drop_all(node)
    node.index("it-a", incident_documents(), mapping=ECS)
    settings = ElasticsearchSettings(url=node.url, index_pattern="it-*")
    detector = ElasticsearchIncidentDetector(settings=settings)
    recent = {"range": {"@timestamp": {"gte": START.isoformat()}}}
    query = {"query": {"bool": {"must": [{"match": {"log.level": "ERROR"}}, recent]}}}
    (incident,) = detector.detect_incidents(query)
    assert incident["title"] == "pay: pool exhausted after <*> ms waiting for db<*>"
    assert (incident["severity"], incident["count"]) == ("high", 40)
    assert incident["affected_systems"] == ["pay"]
    assert incident["last_at"] == (START + timedelta(seconds=2939)).isoformat()
    assert "exhausted" in incident["unusual_words"]
    assert len(detector.search_logs(query | {"size": 7})) == 7
    with pytest.raises(InputRejected, match="script"):
        detector.detect_incidents({"query": {"script": {"script": "1"}}})
    with pytest.raises(ConnectorRejected, match="unknown query"):
        detector.detect_incidents({"query": {"nonsense": {}}})


async def test_a_node_that_hangs_is_given_up_on_in_time(node):
    drop_all(node)
    node.index("it-a", DOCUMENTS, mapping=ECS)
    async with analyzer(node, timeout_s=0.5, attempts=2) as logs:
        await logs.lines(LogQuery(window=HOUR))
        os.killpg(node.pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectorUnavailable, match="no answer within"):
                await asyncio.wait_for(logs.lines(LogQuery(window=HOUR)), timeout=10)
        finally:
            os.killpg(node.pid, signal.SIGCONT)


async def killed_while_reading(
    node: SearchServer, logs: ElasticsearchLogAnalyzer, eventually: Eventually
) -> None:
    async with logs:
        reading = asyncio.create_task(logs.lines(LogQuery(window=HOUR, limit=2000)))
        await eventually(lambda: open_contexts(node) > 0 or reading.done(), 10, "paging to begin")
        assert not reading.done()
        node.kill()
        with pytest.raises(ConnectorUnavailable, match="cannot be reached") as caught:
            await asyncio.wait_for(reading, timeout=20)
        assert caught.value.connector == "elasticsearch"


async def test_a_node_killed_and_back_is_read_again(opensearch_server, eventually: Eventually):
    drop_all(opensearch_server)
    documents = [{"@timestamp": at(number), "message": f"m{number}"} for number in range(2000)]
    opensearch_server.index("it-a", documents, mapping=ECS)
    logs = analyzer(opensearch_server, page_size=1, attempts=1, time_budget_s=60)
    await killed_while_reading(opensearch_server, logs, eventually)
    opensearch_server.start()
    async with analyzer(opensearch_server) as again:
        assert len((await again.lines(LogQuery(window=HOUR))).lines) == 2000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[SearchServer]:
    """Elasticsearch with TLS and security on; the published OpenSearch zip has no security."""
    with search_server("elasticsearch", tls=authority.issue("search.test")) as server:
        server.index("it-a", DOCUMENTS, mapping=ECS)
        yield server


async def test_who_is_let_in_and_who_is_trusted(secured, authority):
    trusted = {"ca_file": authority.file, "server_name": "search.test"}
    everything = {"username": "admin", "password": PASSWORD}
    only_reading = {"username": "reader", "password": PASSWORD}
    for credentials in (everything, only_reading):
        async with analyzer(secured, **trusted, **credentials, page_size=2) as logs:
            assert len((await logs.lines(LogQuery(window=HOUR))).lines) == 5
            assert (await logs.counts(LogQuery(window=HOUR), bucket_s=60)).counts
            assert (await logs.check()).detail == "elasticsearch"
    wrong: list[tuple[dict[str, Any], str]] = [
        (trusted | {"username": "admin", "password": "wrong-one"}, "answered 401"),
        (trusted | {"username": "stranger", "password": PASSWORD}, "answered 403"),
        (trusted | {"headers": {"Authorization": "ApiKey bm9uZTpub25l"}}, "answered 401"),
        (trusted | {"bearer_token": "no-such-token"}, "answered 401"),
        (trusted, "answered 401"),
        (everything, "certificate is not trusted"),
        (everything | {"ca_file": authority.file}, "certificate is not trusted"),
    ]
    for settings, said in wrong:
        async with analyzer(secured, attempts=1, **settings) as logs:
            with pytest.raises(ConnectorRejected, match=said) as caught:
                await logs.lines(LogQuery(window=HOUR))
            for secret in (PASSWORD, "wrong-one", "bm9uZTpub25l", "no-such-token"):
                assert secret not in f"{caught.value} {logs!r}"


async def test_a_node_killed_between_two_pages_is_a_clear_error(
    secured, authority, eventually: Eventually
):
    """The last test of this node, which stays dead."""
    documents = [{"@timestamp": at(number), "message": f"m{number}"} for number in range(2000)]
    secured.index("it-a", documents, mapping=ECS)
    settings = {
        **{"ca_file": authority.file, "server_name": "search.test", "attempts": 1},
        **{"username": "admin", "password": PASSWORD, "page_size": 1, "time_budget_s": 60},
    }
    await killed_while_reading(secured, analyzer(secured, **settings), eventually)
