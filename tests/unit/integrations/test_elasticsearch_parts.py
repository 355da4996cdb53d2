"""Levels, queries, documents and handed-in searches of Elasticsearch, piece by piece."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.errors import InputRejected
from it_incident_response.integrations._elasticsearch_counts import Counted, LineCount
from it_incident_response.integrations._elasticsearch_dsl import checked_search
from it_incident_response.integrations._elasticsearch_fields import Layout, read_layout
from it_incident_response.integrations._elasticsearch_grouping import grouped, shape_of
from it_incident_response.integrations._elasticsearch_levels import Levels, level_in_text
from it_incident_response.integrations._elasticsearch_lines import (
    MESSAGE_CHARS_MAX,
    LineReader,
    moment,
    values_at,
)
from it_incident_response.integrations._elasticsearch_presets import candidate_fields
from it_incident_response.integrations._elasticsearch_query import log_filter
from it_incident_response.integrations._elasticsearch_transport import decoded
from it_incident_response.ports.sources import LogQuery
from tests.unit.integrations.elasticsearch_support import (
    ECS_FIELDS,
    HOUR,
    KEYWORD,
    START,
    TEXT,
    Cluster,
    detector,
)

CANDIDATES = candidate_fields("auto", {})
LEVELS = Levels("auto")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=10)
            | st.sampled_from(
                ["message", "log.level", "log", "level", "service", "name", "@timestamp"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


def layout(fields: dict[str, Any] | None = None) -> Layout:
    return read_layout("logs-*", CANDIDATES, {"indices": ["a"], "fields": fields or ECS_FIELDS})


@pytest.mark.parametrize(
    ("value", "field", "level"),
    [
        *((v, "level", LogLevel.ERROR) for v in ("ERROR", "err", "Severe", "E", 3, "3", 50, "50")),
        *((v, "level", LogLevel.WARNING) for v in ("WARN", "warning", "W", 4, 40)),
        *((v, "level", LogLevel.FATAL) for v in ("CRITICAL", "emerg", "Panic", 0, 2, 60)),
        *((v, "level", LogLevel.INFO) for v in ("Information", "notice", 6, 30)),
        *((v, "level", LogLevel.DEBUG) for v in ("TRACE", "FINEST", 7, 10, 20)),
        *((v, "severity_number", LogLevel.ERROR) for v in (17, 20, "18")),
        (9, "SeverityNumber", LogLevel.INFO),
        (21, "severity.number", LogLevel.FATAL),
        ("ERROR3", "severity_text", LogLevel.ERROR),
        *((v, "level", None) for v in ("", "nonsense", True, None, 999, -5, "9" * 50, {})),
    ],
)
def test_levels_are_read_in_all_their_spellings(value, field, level):
    assert LEVELS.of_value(value, field) is level


def test_the_meaning_of_numbers_can_be_configured():
    assert Levels("python").of_value(40, "level") is LogLevel.ERROR
    assert Levels("pino").of_value(40, "level") is LogLevel.WARNING
    assert Levels("opentelemetry").of_value(9, "level") is LogLevel.INFO


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("2026-11-24 01:00:00,123 [main] ERROR no route", LogLevel.ERROR),
        ("INFO 0 errors, no error", LogLevel.INFO),
        ("level=warn msg=x", LogLevel.WARNING),
        ("a b c d e f g h i j k l error", None),
        ("terrors", None),
        ("", None),
    ],
)
def test_a_level_is_found_at_the_beginning_of_a_message(message, level):
    assert level_in_text(message) is level


@given(JSON)
def test_any_document_gives_a_bounded_line_or_none(source):
    for hit in (
        source,
        {"_source": source},
        {"_source": source, "sort": [1.7e12]},
        {"fields": source},
    ):
        reading = LineReader(layout(), LEVELS).read(hit)
        if reading is not None:
            assert len(reading.line.message) <= MESSAGE_CHARS_MAX
            assert reading.line.at.tzinfo is UTC


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data):
    text = b'{"m": "' + data.replace(b'"', b"").replace(b"\\", b"") + b'"}'
    try:
        found = decoded(text)
    except ValueError:
        return
    json.dumps(found).encode()
    found["m"].encode("utf-8")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-24T01:00:00.123456789Z", START + timedelta(microseconds=123456)),
        ("2026-11-24T03:00:00+02:00", START),
        ("2026-11-24T01:00:00", START),
        (START.timestamp(), START),
        (START.timestamp() * 1000, START),
        (int(START.timestamp() * 1_000_000), START),
        (int(START.timestamp()) * 1_000_000_000, START),
        *((bad, None) for bad in ("yesterday", "", None, True, 1e300, "9" * 30, [], float("nan"))),
    ],
)
def test_times_are_read_in_all_their_units(value, expected):
    assert moment(value) == expected


@pytest.mark.parametrize(
    "source",
    [
        {"a": {"b": {"c": 1}}},
        {"a.b.c": 1},
        {"a": {"b.c": 1}},
        {"a.b": {"c": [1, None]}},
        {"a": [{"b": {"c": 1}}, {"b": 17}]},
    ],
)
def test_a_path_is_found_whichever_dots_are_part_of_a_key(source):
    assert values_at({"_source": source}, "a.b.c") == [1]


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
def test_values_are_never_syntax(name, phrase):
    query = LogQuery(window=HOUR, services=(name,), contains=phrase, minimum_level=LogLevel.ERROR)
    built = log_filter(query, layout(), LEVELS)
    filters = built["bool"]["filter"]
    assert {"terms": {"service.name": [name]}} in filters
    phrases = [f["multi_match"] for f in filters if "multi_match" in f]
    assert [(p["query"], p["type"]) for p in phrases] == [(phrase, "phrase")]
    assert "query_string" not in json.dumps(list(built["bool"]))


def test_a_phrase_in_a_keyword_field_has_its_wildcards_escaped():
    fields = ECS_FIELDS | {"message": KEYWORD}
    built = log_filter(LogQuery(window=HOUR, contains="a*b?\\c"), layout(fields), LEVELS)
    (wildcard,) = [f["wildcard"] for f in built["bool"]["filter"] if "wildcard" in f]
    assert wildcard["message"]["value"] == "*a\\*b\\?\\\\c*"


def test_flattened_parents_make_their_keys_searchable():
    flat = {"flattened": {"type": "flattened", "searchable": True, "aggregatable": True}}
    fields = {**ECS_FIELDS, "kubernetes.labels": flat}
    del fields["service.name"]
    (service,) = layout(fields).of("service")[:1]
    assert service.name.startswith("kubernetes.labels.app")
    assert service.is_aggregatable


@given(st.lists(st.sampled_from(list(LogLevel)), min_size=1, max_size=50))
def test_nested_sets_are_counted_apart(levels):
    """The server counts lines from each level up; what comes out are the lines of each level."""
    order = list(LogLevel)
    up = {
        level.value: {
            "doc_count": sum(order.index(found) >= order.index(level) for found in levels)
        }
        for level in order[1:]
    }
    bucket = {"key": {"at": 0, "service0": "pay"}, "doc_count": len(levels)}
    bucket |= {"levels": {"buckets": up}}
    cluster = Cluster()
    count = LineCount(detector(cluster)._api, layout(), LEVELS, LogQuery(window=HOUR))
    counted = Counted()
    count._add(counted, bucket)
    assert {c.level: c.count for c in counted.counts()} == {
        level: levels.count(level) for level in set(levels)
    }
    assert {c.service for c in counted.counts()} == {"pay"}


async def test_counts_follow_each_other_in_pages_and_begin_with_the_window():
    def bucket(number: int) -> dict[str, Any]:
        key = {"at": (START.timestamp() + number) * 1000, "service0": None, "service1": "pay"}
        return {"key": key, "doc_count": 1, "levels": {"buckets": {}}}

    full = [bucket(number) for number in range(1000)]
    pages = [
        {"aggregations": {"lines": {"buckets": full, "after_key": {"at": 1}}}},
        {"aggregations": {"lines": {"buckets": [bucket(1000)], "after_key": {"at": 2}}}},
    ]
    cluster = Cluster(*pages)
    counted = await detector(cluster).counts(LogQuery(window=HOUR), bucket_s=7)
    assert len(counted.counts) == 1001
    assert {(c.level, c.service) for c in counted.counts} == {(LogLevel.DEBUG, "pay")}
    first, second = (body["aggs"]["lines"]["composite"] for body in cluster.bodies)
    assert second["after"] == {"at": 1}
    histogram = first["sources"][0]["at"]["date_histogram"]
    offset_ms = START.timestamp() * 1000 % 7000
    assert histogram["fixed_interval"] == "7000ms"
    assert histogram["offset"] == f"{offset_ms:.0f}ms"


async def test_endless_buckets_are_given_up_on():
    key = {"at": START.timestamp() * 1000}
    full = [{"key": key, "doc_count": 1, "levels": {"buckets": {}}}] * 1000
    cluster = Cluster({"aggregations": {"lines": {"buckets": full, "after_key": {"at": 1}}}})
    counted = await detector(cluster).counts(LogQuery(window=HOUR), bucket_s=1)
    assert "counting stopped after 50000 buckets" in counted.gaps[0]


@pytest.mark.parametrize("kind", [TEXT, KEYWORD])
def test_what_a_level_selects_a_lower_one_selects_too(kind):
    wanted = layout(ECS_FIELDS | {"log.level": kind})
    fatal, error, warning = (
        set(json.dumps(LEVELS.at_least(level, wanted)).replace('"', " ").replace(",", " ").split())
        for level in (LogLevel.FATAL, LogLevel.ERROR, LogLevel.WARNING)
    )
    assert "critical" in fatal
    assert {"critical", "severe"} <= error
    assert {"critical", "severe", "warn"} <= warning


def nested(depth: int) -> dict[str, Any]:
    return {"bool": {"must": nested(depth - 1)}} if depth else {"match_all": {}}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ([], "is no JSON object"),
        ({"aggs": {}}, "has 'aggs'"),
        ({"query": []}, "no JSON object"),
        ({"query": {"script": {}}}, "'script'"),
        ({"query": {"script_score": {}}}, "'script_score'"),
        ({"sort": [{"_script": {}}]}, "'_script'"),
        ({"query": {"terms": {"a": {"index": "x", "id": "1", "path": "b"}}}}, "'index'"),
        ({"query": {"more_like_this": {"like": []}}}, "'more_like_this'"),
        ({"query": nested(30)}, "nested more than 20 deep"),
        ({"query": {"match": {"m": "x" * 70_000}}}, "bytes, more than 64000"),
        ({"query": {"match": {"m": object()}}}, "is no JSON"),
        ({"query": {"match": {1: 2}}}, "a key that is no text"),
        *(({"size": size}, "hits; 1 to 5000") for size in (0, -1, 10**9, "5", True, 1.5)),
    ],
)
def test_a_search_that_could_do_harm_is_refused(query, said):
    with pytest.raises(InputRejected, match=said.replace("(", r"\(")):
        checked_search(query)


def test_the_guides_search_is_taken():
    must = [{"match": {"incident_id": "INC-1"}}, {"range": {"@timestamp": {"gte": "now-1h"}}}]
    query = {"query": {"bool": {"must": must}}}
    assert checked_search(query) == query | {"size": 1000}
    assert checked_search({"query": {"term": {"index": {"value": "x"}}}})


def line(message: str, level: LogLevel = LogLevel.ERROR, service: str | None = "pay") -> LogLine:
    return LogLine(
        at=datetime(2026, 11, 24, tzinfo=UTC), message=message, level=level, service=service
    )


def test_lines_that_differ_in_variables_are_one_incident():
    alike = [
        line(f'user {n} of "{n}" failed at 0x{n:x}: 3f2504e0-4f89-11d3-9a0c-0305e82c330{n}')
        for n in range(9)
    ]
    (group,) = grouped(alike)
    assert group.count == 9
    assert shape_of(alike[0].message) == "user <*> of <*> failed at <*>: <*>"


def test_kinds_of_messages_are_bounded_and_none_is_lost():
    letters = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(600)]
    groups = grouped([line(f"failed {word}") for word in letters])
    assert len(groups) == 201
    assert sum(group.count for group in groups) == 600


@given(st.text(max_size=300))
def test_any_message_has_a_bounded_shape(message):
    assert len(shape_of(message)) <= 300
