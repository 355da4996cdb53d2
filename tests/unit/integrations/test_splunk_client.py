"""Splunk's real SDK against a stand-in with state: searches, jobs, errors, cancellation, TLS."""

import asyncio
import logging
import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from it_incident_response.domain.evidence import LogLevel, TimeWindow
from it_incident_response.errors import (
    ConfigError,
    ConnectorError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
    InputRejected,
)
from it_incident_response.integrations.splunk_client import (
    CONNECTOR,
    SplunkLogAnalyzer,
    SplunkSettings,
)
from it_incident_response.ports import LogQuery, SystemClock
from tests.splunk_stand_in import Splunk, serving
from tests.unit.integrations.test_tls import Authority

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
WINDOW = TimeWindow(start=NOW - timedelta(minutes=15), end=NOW)


def event(ago_s, raw, service="api", level="ERROR", host="web-1", **more):
    found = {
        "_time": NOW.timestamp() - ago_s,
        "_raw": raw,
        "service": service,
        "level": level,
        "host": host,
        "source": "/var/log/app.log",
        "sourcetype": "app",
        "index": "main",
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def many(count):
    return [event(1 + n * 0.05, f"request {n} failed") for n in range(count)]


@pytest.fixture
def splunk():
    return Splunk(
        events=[
            event(60, "card declined", trace_id="abc"),
            event(50, "card accepted", level="INFO"),
            event(40, "connection lost", service="db", host="db-1"),
            event(30, "FATAL: panic now", level=None),
            event(20, "nothing to see", level=None),
            event(5000, "card declined long ago"),
        ]
    )


@pytest.fixture
def url(splunk):
    with serving(splunk) as address:
        yield address


def analyzer(url, **more):
    given = {"url": url, "bearer_token": "tok-123456", "attempts": 3} | more
    return SplunkLogAnalyzer(settings=SplunkSettings(**given))


def query(**more):
    return LogQuery(window=WINDOW, **more)


async def lines(url, asked, **more):
    async with analyzer(url, **more) as splunk:
        return await splunk.lines(asked)


def texts(batch):
    return [line.message for line in batch.lines]


def test_the_guides_call_with_user_and_password(splunk, url):
    client = SplunkLogAnalyzer(url, "admin", "changeme!")
    found = client.search_logs('index=main "card declined"')
    assert [row["_raw"] for row in found] == ["card declined", "card declined long ago"]
    assert splunk.searches == ['search index=main "card declined"']
    assert client.search_logs("search *", earliest_time="99999999999") == []
    client.close()


async def test_a_session_that_expired_is_renewed(splunk, url):
    client = SplunkLogAnalyzer(url, "admin", "changeme!")
    assert (await client.check()).version == "9.3.1"
    splunk.expire_sessions()
    assert (await client.check()).detail == "enterprise sh1"
    assert splunk.requests.count("POST /services/auth/login") == 2
    await client.aclose()


async def test_lines_are_those_of_window_service_host_level_and_phrase(url):
    assert texts(await lines(url, query())) == [
        "card declined",
        "card accepted",
        "connection lost",
        "FATAL: panic now",
        "nothing to see",
    ]
    assert texts(await lines(url, query(services=("db",)))) == ["connection lost"]
    assert texts(await lines(url, query(hosts=("db-1", "nowhere")))) == ["connection lost"]
    assert texts(await lines(url, query(contains="CARD dec"))) == ["card declined"]
    assert texts(await lines(url, query(minimum_level=LogLevel.ERROR))) == [
        "card declined",
        "connection lost",
        "FATAL: panic now",
    ]
    assert texts(await lines(url, query(minimum_level=LogLevel.FATAL))) == ["FATAL: panic now"]


async def test_a_line_has_its_fields(url):
    batch = await lines(url, query(contains="declined"), fields={"trace": "trace_id"})
    (line,) = batch.lines
    assert (line.service, line.host, line.level) == ("api", "web-1", LogLevel.ERROR)
    assert line.trace_id == "abc"
    assert line.at == NOW - timedelta(seconds=60)
    assert line.attributes == {"source": "/var/log/app.log", "sourcetype": "app"}
    assert batch.query.startswith('search "declined"') or batch.query.startswith("search *")


async def test_the_newest_are_kept_and_it_is_said_that_there_are_more(splunk, url):
    splunk.events = many(50)
    batch = await lines(url, query(limit=10))
    assert batch.is_truncated
    assert texts(batch) == [f"request {n} failed" for n in range(9, -1, -1)]
    assert not (await lines(url, query(limit=50))).is_truncated


async def test_a_field_that_is_not_configured_is_a_gap(url):
    (gap,) = (await lines(url, query(pods=("p",)))).gaps
    assert "no field is configured for the pod" in gap


async def test_counts_are_by_bucket_level_and_service(url):
    async with analyzer(url) as client:
        found = await client.counts(query(), bucket_s=60.0)
        errors = await client.counts(query(minimum_level=LogLevel.ERROR), bucket_s=900.0)
    assert sum(count.count for count in found.counts) == 5
    assert {c.at.timestamp() % 60 for c in found.counts} == {0.0}
    assert {(c.level, c.service, c.count) for c in errors.counts} == {
        (LogLevel.ERROR, "api", 2),  # one of them by a word of its text alone
        (LogLevel.ERROR, "db", 1),
    } or sum(c.count for c in errors.counts) == 3
    assert "stats count" in found.query


async def test_many_lines_are_fetched_by_a_job_page_by_page_which_is_then_removed(splunk, url):
    splunk.events, splunk.polls = many(3_000), 2
    batch = await lines(url, query(limit=2_500), page_size=400)
    assert len(batch.lines) == 2_500
    assert batch.is_truncated
    results = [r for r in splunk.requests if r.endswith("/results")]
    assert len(results) == 7
    assert splunk.jobs == {}
    assert len(splunk.cancelled) == 1


async def test_very_many_lines_are_streamed(splunk, url):
    splunk.events = many(2_000)
    batch = await lines(url, query(limit=60_000))
    assert len(batch.lines) == 2_000
    assert [r for r in splunk.requests if "export" in r] == ["POST /services/search/v2/jobs/export"]


def test_an_export_yields_as_it_comes_and_ends_at_the_server_when_nobody_reads(splunk, url):
    splunk.events, splunk.hangs = many(500), True
    client = analyzer(url)
    rows = client.export_logs("index=main")
    assert [next(rows)["_raw"] for _ in range(3)] == [f"request {n} failed" for n in range(3)]
    rows.close()
    assert splunk.wait_cancelled(None)
    client.close()


async def test_an_older_splunk_is_asked_by_the_older_paths(splunk, url):
    splunk.version, splunk.events = "8.2.6", many(2_000)
    assert len((await lines(url, query(limit=1_500))).lines) == 1_500
    assert not [r for r in splunk.requests if "/v2/" in r]


async def test_a_path_before_the_api_is_kept(splunk):
    with serving(splunk, prefix="/splunk/api") as url:
        assert len((await lines(url, query())).lines) == 5


async def test_a_job_that_fails_says_why(splunk, url):
    splunk.failure, splunk.events = "Search peer idx2 is down", many(10)
    with pytest.raises(ConnectorRejected, match="search failed: FATAL: Search peer idx2 is down"):
        await lines(url, query(limit=5_000))
    assert splunk.jobs == {}


async def test_what_splunk_warns_of_is_a_gap(splunk, url):
    splunk.warning = "Search auto-finalized after time limit"
    assert "WARN: Search auto-finalized after time limit" in (await lines(url, query())).gaps


async def test_a_finalized_job_is_partial(splunk, url):
    splunk.finalizes, splunk.events = True, many(10)
    gaps = (await lines(url, query(limit=5_000))).gaps
    assert any("finalized before its end" in gap for gap in gaps)


async def test_a_busy_server_is_asked_again_within_the_budget(splunk, url):
    splunk.busy = 2
    assert len((await lines(url, query())).lines) == 5
    splunk.busy = 9
    with pytest.raises(ConnectorUnavailable, match="503.*maximum number of concurrent"):
        await lines(url, query())


@pytest.mark.parametrize("limit", [100, 5_000])
async def test_a_search_that_takes_too_long_is_cancelled_at_the_server(splunk, url, limit):
    splunk.hangs = True
    began = time.monotonic()
    with pytest.raises(ConnectorUnavailable):
        await lines(url, query(limit=limit), search_timeout_s=0.4, attempts=1)
    assert time.monotonic() - began < 4
    assert splunk.wait_cancelled(None)


@pytest.mark.parametrize("limit", [100, 5_000, 60_000])
async def test_a_search_that_nobody_waits_for_is_cancelled_at_the_server(splunk, url, limit):
    splunk.hangs, splunk.events = True, many(100)
    async with analyzer(url) as client:
        task = asyncio.create_task(client.lines(query(limit=limit)))
        async with asyncio.timeout(5):
            while not splunk.searches:
                await SystemClock().sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(splunk.wait_cancelled, None)


@pytest.mark.parametrize(
    "more",
    [
        {"bearer_token": "wrong-token"},
        {"bearer_token": None, "username": "admin", "password": "wrong-secret"},
        {"bearer_token": None},
    ],
)
async def test_wrong_credentials_are_rejected_and_never_shown(url, more, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConnectorRejected) as caught:
        await lines(url, query(), **more)
    assert caught.value.status == 401
    assert "basic_auth" in str(caught.value)
    for secret in ("wrong-token", "wrong-secret"):
        assert secret not in str(caught.value)
        assert secret not in caplog.text
    with pytest.raises(ConnectorRejected):
        async with analyzer(url, **more) as client:
            await client.check()


async def test_a_missing_right_is_rejected(splunk, url):
    splunk.has_search_right = False
    with pytest.raises(ConnectorRejected, match="403.*insufficient permission") as caught:
        await lines(url, query())
    assert caught.value.status == 403


async def test_a_wrong_search_shows_splunks_words(url):
    async with analyzer(url) as client:
        with pytest.raises(ConnectorRejected, match="400.*Unknown search command 'nonsense'"):
            await asyncio.to_thread(client.search_logs, "index=main | nonsense")


def test_an_empty_search_is_refused(url):
    with pytest.raises(InputRejected, match="empty"):
        analyzer(url).search_logs("  ")


async def test_a_certificate_is_verified(splunk, tmp_path):
    authority = Authority(tmp_path)
    with serving(splunk, certificate=authority.issue("splunk.test")) as url:
        trusted = {"ca_file": authority.file, "server_name": "splunk.test"}
        assert len((await lines(url, query(), **trusted)).lines) == 5
        with pytest.raises(ConnectorRejected, match="not trusted"):
            await lines(url, query())
        with pytest.raises(ConnectorRejected, match="not trusted"):
            await lines(url, query(), ca_file=authority.file)
        assert len((await lines(url, query(), insecure_skip_verify=True)).lines) == 5


HOSTILE = [
    'x" OR index=* OR "',
    "x\\",
    'x\\" | delete',
    "a | delete",
    "[search index=secret | return 1]",
    "`drop_all`",
    "$token$",
    "*",
    "web*",
    "a b",
    "x') OR true() OR in('host', 'x",
    "%22%7C",
    "ünïcödé \u2028 \U0001f600",
    "\ud800",
    "a\nb\tc\x00d",
    "NOT",
    "(",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_value_is_never_search_language(splunk, url, value):
    """Each finds exactly the event that has it; what stands for other events stays out."""
    kept = value.encode(errors="replace").decode()
    splunk.events = [
        event(10, f"left {kept} right", service=kept, host=kept),
        event(20, "other", service="secret", host="webX", index="secret"),
    ]
    for asked in (query(services=(value,)), query(hosts=(value, "nobody")), query(contains=value)):
        assert [line.service for line in (await lines(url, asked)).lines] == [kept]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=60), st.text(min_size=1)), min_size=20))
@settings(max_examples=5, deadline=None)
def test_any_value_is_found_literally(values):
    splunk = Splunk()
    with serving(splunk) as url:
        client = analyzer(url)
        for value, other in values:
            kept = value.encode(errors="replace").decode()
            splunk.events = [event(10, "a", service=kept), event(20, "b", service=kept + other)]
            batch = asyncio.run(client.lines(query(services=(value,), limit=100)))
            assert [line.service for line in batch.lines] == [kept]
        client.close()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>login</html>",
        b"[17]",
        b'"text"',
        b'{"results": 7}',
        b'{"results": [7]}',
        b'{"a": 1}',
    ],
)
async def test_an_answer_that_is_none_is_refused(splunk, url, body, monkeypatch):
    monkeypatch.setattr("tests.splunk_stand_in.json.dumps", lambda content: body.decode())
    with pytest.raises(ConnectorReplyInvalid):
        await lines(url, query())


async def test_an_answer_without_end_is_refused(splunk, url):
    splunk.events = [event(n, "x" * 5_000) for n in range(100)]
    with pytest.raises(ConnectorReplyInvalid, match="longer than 65536 bytes"):
        await lines(url, query(), response_bytes_max=65_536)


async def test_a_line_of_ten_megabytes_is_cut(splunk, url):
    splunk.events = [event(10, "x" * 10_000_000)]
    (line,) = (await lines(url, query())).lines
    assert len(line.message) == 65_536


async def test_nobody_there_is_unavailable():
    with serving(Splunk()) as url:
        pass
    with pytest.raises(ConnectorUnavailable, match="cannot be reached"):
        await lines(url, query(), attempts=1)


async def test_it_can_be_used_again_after_it_was_closed(url):
    client = analyzer(url)
    for _ in range(2):
        assert len((await client.lines(query())).lines) == 5
        await client.aclose()


async def test_many_searches_at_once(splunk, url):
    async with analyzer(url) as client:
        found = await asyncio.gather(*(client.lines(query()) for _ in range(20)))
    assert {len(batch.lines) for batch in found} == {5}


def test_the_link_leads_to_the_same_search(url):
    batch = asyncio.run(lines(url, query(), web_url="https://splunk.example.com"))
    assert batch.link.startswith("https://splunk.example.com/en-US/app/search/search?q=search%20")
    assert "earliest=1795427100.000&latest=1795428000.000" in batch.link


@pytest.mark.parametrize(
    "wrong",
    [
        {"indexes": ('x" OR "',)},
        {"sourcetypes": ("a|b",)},
        {"fields": {"service": "a b"}},
        {"fields": {"colour": "x"}},
        {"bearer_token": "a", "username": "b", "password": "c"},
    ],
)
def test_settings_that_could_become_language_are_refused(wrong):
    with pytest.raises(ConfigError):
        CONNECTOR.read_settings({"url": "https://splunk.invalid:8089"} | wrong)


async def test_indexes_and_fields_of_other_layouts(splunk, url):
    splunk.events = [
        {
            "_time": NOW.timestamp() - 5,
            "_raw": "boom",
            "index": "otel-logs",
            "service.name": "api",
            "host.name": "node-3",
            "k8s.pod.name": "api-1",
            "severity": "Error",
            "host": "collector",
        },
        event(6, "elsewhere"),
    ]
    asked = query(services=("api",), pods=("api-1",), minimum_level=LogLevel.ERROR)
    batch = await lines(url, asked, preset="opentelemetry", indexes=("otel-*", "k8s"))
    (line,) = batch.lines
    assert (line.service, line.host, line.pod) == ("api", "node-3", "api-1")
    async with analyzer(url, preset="opentelemetry") as client:
        (count,) = (await client.counts(asked, bucket_s=60)).counts
    assert (count.service, count.level, count.count) == ("api", LogLevel.ERROR, 1)


async def test_our_reader_of_results_agrees_with_the_sdks(splunk, url):
    """Rows are read by the SDK's reader, frame by frame; over a whole page both give the same."""
    from splunklib.client import Service
    from splunklib.results import JSONResultsReader

    rng = random.Random(5)
    splunk.events = [event(n, f"line {rng.random()}") for n in range(30)]
    address = url.removeprefix("http://").split(":")
    service = Service(scheme="http", host=address[0], port=address[1], splunkToken=splunk.token)

    def by_sdk():
        body = service.jobs.oneshot("search *", output_mode="json", count=0)
        return list(JSONResultsReader(body))

    client = analyzer(url)
    assert await asyncio.to_thread(by_sdk) == await asyncio.to_thread(client.search_logs, "*")
    client.close()


async def test_every_failure_is_a_connector_error(splunk, url):
    splunk.version = "nonsense"
    with pytest.raises(ConnectorError):
        await lines(url, query())
