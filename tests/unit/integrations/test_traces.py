"""Traces are read from Jaeger, Tempo and files, however odd their answers are."""

import json
import os
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorReplyInvalid, ConnectorUnavailable
from it_incident_response.integrations import jaeger_client, tempo_client
from it_incident_response.integrations._otlp import spans_of_otlp
from it_incident_response.integrations.jaeger_client import spans_of_jaeger
from it_incident_response.integrations.otlp_files import OtlpFolder
from it_incident_response.integrations.tempo_client import traceql
from it_incident_response.ports import TraceQuery
from it_incident_response.ports.registry import Surroundings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = TimeWindow(start=NOW - timedelta(minutes=15), end=NOW)
NANOS = int((NOW - timedelta(minutes=5)).timestamp()) * 10**9
KEYS = [
    "resourceSpans",
    "scopeSpans",
    "spans",
    "resource",
    "attributes",
    "key",
    "value",
    "traceId",
    "spanId",
    "status",
    "startTimeUnixNano",
    "processes",
    "traceID",
    "spanID",
    "startTime",
    "tags",
    "logs",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def document(trace="2f3e0cee77ae5dc9c17ade3689eb2e54", span="563d623c76514f8e", **given):
    raw = {
        "traceId": trace,
        "spanId": span,
        "name": "price",
        "startTimeUnixNano": str(NANOS),
        "endTimeUnixNano": str(NANOS + 250_000_000),
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "pricing"}}]}
    spans = [{"scope": {}, "spans": [raw | given]}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": spans}]}


def client(module, answer, **settings):
    connector = module.CONNECTOR
    given = connector.read_settings({"url": "http://traces", "attempts": 1} | settings)
    return connector.build(given, Surroundings(transport=httpx.MockTransport(answer)))


def test_ids_in_hex_and_in_base64_are_the_same_span():
    (hexed,) = spans_of_otlp(document())
    (coded,) = spans_of_otlp(document("Lz4M7neuXcnBet42iesuVA==", "Vj1iPHZRT44="))
    assert hexed == coded
    assert (hexed.service, hexed.duration_s, hexed.is_error) == ("pricing", 0.25, False)


def test_an_exception_is_the_error():
    attributes = [
        {"key": "exception.type", "value": {"stringValue": "IOError"}},
        {"key": "exception.message", "value": {"stringValue": "refused"}},
    ]
    events = [{"name": "exception", "attributes": attributes}]
    (span,) = spans_of_otlp(document(status={"code": 2}, events=events))
    assert (span.is_error, span.error) == (True, "IOError: refused")


@pytest.mark.parametrize(
    "broken",
    [{"traceId": "zz"}, {"traceId": "0" * 32}, {"startTimeUnixNano": "x"}, {"spanId": None}],
)
def test_what_is_no_span_is_left_out(broken):
    assert list(spans_of_otlp(document(**broken))) == []


@given(JSON)
def test_any_json_is_read_without_an_error(value):
    list(spans_of_otlp(value))
    spans_of_jaeger(value if isinstance(value, dict) else {})


def test_a_name_never_becomes_language():
    hostile = ('a" || true || "', "b\\", "c\n} | select(x)")
    assert traceql(hostile) == (
        '(resource.service.name = "a\\" || true || \\"" || resource.service.name = "b\\\\")'
    )


async def test_a_trace_that_tempo_lost_is_a_gap():
    def answer(request):
        if request.url.path == "/api/search":
            found = [{"traceID": "a1"}, {"traceID": "b2"}]
            return httpx.Response(200, json={"traces": found, "status": "PARTIAL"})
        if request.url.path.endswith("a1"):
            return httpx.Response(200, json=document())
        return httpx.Response(404)

    batch = await client(tempo_client, answer).traces(TraceQuery(window=WINDOW, limit=2))
    assert len(batch.spans) == 1
    assert any("could not be fetched" in gap for gap in batch.gaps)
    assert "tempo answered in part" in batch.gaps


async def test_jaeger_says_which_services_it_left_out():
    asked = []

    def answer(request):
        asked.append(request.url.params.get("service"))
        return httpx.Response(200, json={"data": []})

    services = tuple(f"s{n}" for n in range(12))
    query = TraceQuery(window=WINDOW, services=services)
    batch = await client(jaeger_client, answer).traces(query)
    assert batch.gaps == ("traces of 10 of 12 services were read",)
    assert set(asked) == set(services[:10])


async def test_jaeger_without_a_list_is_said():
    broken = client(jaeger_client, lambda request: httpx.Response(200, json={"data": {"a": 1}}))
    with pytest.raises(ConnectorReplyInvalid, match="no list"):
        await broken.traces(TraceQuery(window=WINDOW))


async def test_a_trace_id_cannot_leave_its_path():
    paths = []

    def answer(request):
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"data": []})

    await client(jaeger_client, answer).traces(TraceQuery(window=WINDOW, trace_id="../../x?y"))
    assert paths == ["/api/traces/..%2F..%2Fx%3Fy"]


async def test_files_hold_whole_documents_or_one_a_line(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(document(), indent=2))
    lines = [json.dumps(document("1" * 32)), "nonsense", json.dumps(document("2" * 32))]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    (tmp_path / "c.txt").write_text("not ours")
    batch = await OtlpFolder(tmp_path).traces(TraceQuery(window=WINDOW))
    assert len({span.trace_id for span in batch.spans}) == 3
    assert batch.gaps == ("b.jsonl: 1 documents are no JSON",)


async def test_only_traces_of_the_window_and_the_services(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(document()))
    folder = OtlpFolder(tmp_path)
    past = TimeWindow(start=NOW - timedelta(days=2), end=NOW - timedelta(days=1))
    assert (await folder.traces(TraceQuery(window=past))).spans == ()
    assert (await folder.traces(TraceQuery(window=WINDOW, services=("mail",)))).spans == ()
    assert len((await folder.traces(TraceQuery(window=WINDOW, services=("pricing",)))).spans) == 1


async def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(ConnectorUnavailable, match="cannot be read"):
        await OtlpFolder(tmp_path / "none").traces(TraceQuery(window=WINDOW))


async def test_a_file_that_cannot_be_read_is_a_gap(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "dir.json").mkdir()
    batch = await OtlpFolder(tmp_path).traces(TraceQuery(window=WINDOW))
    assert any("dir.json cannot be read" in gap for gap in batch.gaps)
