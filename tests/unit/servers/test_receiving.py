"""The endpoints: what is acknowledged is stored as it came; what is not says why."""

import asyncio
import json
import logging

import orjson
import pytest

from it_incident_response.errors import StoreUnavailable
from it_incident_response.servers import receiving
from tests.unit.servers.conftest import ALERTS, JSON, WEBHOOK, webhook


async def test_a_webhook_is_stored_byte_for_byte_and_acknowledged(receiver, inbox):
    body = webhook("ServiceDown", "DiskFull")
    async with receiver() as client:
        answer = await client.post(WEBHOOK, content=body, headers=JSON)
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    assert inbox.stored == [("alertmanager", body)]


async def test_real_webhooks_are_accepted(receiver, inbox, shared):
    async with receiver() as client:
        for name in ("webhook_firing.json", "webhook_resolved.json"):
            recorded = orjson.loads((shared / "data" / "recorded" / name).read_bytes())
            body = orjson.dumps(recorded.get("body", recorded))
            headers = {"content-type": "application/json; charset=utf-8"}
            answer = await client.post(WEBHOOK, content=body, headers=headers)
            assert answer.status_code == 200, answer.text
    assert len(inbox.stored) == 2


async def test_alerts_by_hand(receiver, inbox):
    body = b'[{"labels": {"alertname": "DiskFull", "instance": "web-1"}}]'
    lines = b'{"labels": {"alertname": "A"}}\n{"labels": {"alertname": "B"}}\n'
    async with receiver() as client:
        assert (await client.post(ALERTS, content=body, headers=JSON)).status_code == 200
        headers = {"content-type": "application/x-ndjson"}
        assert (await client.post(ALERTS, content=lines, headers=headers)).status_code == 200
    assert inbox.stored == [("alerts", body), ("alerts", lines)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"{}", "version"),
        (b'{"version":"3","alerts":[]}', "version"),
        (b'{"version":"4"}', "alerts"),
        (b'{"version":"4","alerts":{}}', "alerts"),
        (b'{"version":"4","alerts":[1]}', "alerts"),
        (b'{"version":"4","alerts":[{"labels":{"a":"b"}}]}', "alerts[0]: status"),
        (webhook("A").replace(b'"web-1:9100"', b"1"), "labels"),
        (b"\xff\xfe{}", ""),
        (b"[" * 100_000, ""),
        (b'{"version":"4","alerts":' + b"[" * 5000 + b"]" * 5000 + b"}", ""),
    ],
)
async def test_what_is_no_webhook_is_refused_naming_the_field(receiver, inbox, body, field):
    async with receiver() as client:
        answer = await client.post(WEBHOOK, content=body, headers=JSON)
        alive = await client.get("/healthz")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["title"] == "Bad Request"
    assert problem["status"] == 400
    assert "this is not an Alertmanager webhook" in problem["detail"]
    assert field in problem["detail"]
    assert problem["hint"]
    assert inbox.stored == []
    assert alive.status_code == 200


async def test_a_truncated_webhook_is_accepted(receiver, inbox):
    async with receiver() as client:
        body = webhook("A", truncatedAlerts=7)
        assert (await client.post(WEBHOOK, content=body, headers=JSON)).status_code == 200
    assert inbox.stored == [("alertmanager", body)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_another_form_is_415(receiver, inbox, headers):
    async with receiver() as client:
        answer = await client.post(WEBHOOK, content=webhook("A"), headers=headers)
    assert answer.status_code == 415
    assert inbox.stored == []


async def test_a_declared_size_that_is_too_large_is_refused_and_nothing_of_it_kept(receiver):
    async def body():
        for _ in range(10):
            assert client.intake.held_bytes == 0
            yield b"x" * 600

    async with receiver(max_body=5000) as client:
        for length in ("6000", "9" * 5000):
            headers = {**JSON, "content-length": length}
            answer = await client.post(WEBHOOK, content=body(), headers=headers)
            assert answer.status_code == 413
            assert "5,000 bytes" in answer.json()["detail"]
            assert answer.headers["connection"] == "close"


async def test_who_waits_to_be_told_to_continue_is_told_at_once(receiver):
    async def body():
        raise AssertionError("the body was asked for")
        yield b""

    headers = {**JSON, "content-length": "6000", "expect": "100-continue"}
    async with receiver(max_body=5000) as client:
        answer = await client.post(WEBHOOK, content=body(), headers=headers)
    assert answer.status_code == 413


async def test_a_stream_is_cut_at_the_limit_without_holding_more(receiver, monkeypatch):
    monkeypatch.setattr(receiving, "DISCARD_BYTES_MAX", 20_000)
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1000
            assert client.intake.held_bytes <= 5000
            yield b"x" * 1000

    async with receiver(max_body=5000) as client:
        answer = await client.post(WEBHOOK, content=endless(), headers=JSON)
        assert answer.status_code == 413
        assert client.intake.held_bytes == 0
    assert sent <= 30_000


async def test_a_slow_body_is_408(receiver, monkeypatch):
    monkeypatch.setattr(receiving, "DISCARD_WITHIN_S", 0.05)

    async def dripping():
        yield b"{"
        await asyncio.Event().wait()

    async with receiver(request_timeout=0.05) as client:
        answer = await client.post(WEBHOOK, content=dripping(), headers=JSON)
    assert answer.status_code == 408
    assert "0.05 s" in answer.json()["detail"]


async def test_more_than_memory_allows_is_503_with_retry_after(receiver, inbox):
    options = {"held_bytes_max": 100}
    async with receiver(intake_options=options) as client:
        answer = await client.post(WEBHOOK, content=webhook("A"), headers=JSON)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.intake.held_bytes == 0


async def test_when_the_store_is_down_nothing_is_acknowledged(receiver, inbox):
    inbox.failure = StoreUnavailable("the database is locked")
    async with receiver() as client:
        answers = await asyncio.gather(
            *(client.post(WEBHOOK, content=webhook("A"), headers=JSON) for _ in range(3))
        )
        assert {answer.status_code for answer in answers} == {503}
        assert answers[0].headers["retry-after"] == "5"
        assert "locked" in answers[0].json()["detail"]
        inbox.failure = None
        again = await client.post(WEBHOOK, content=webhook("A"), headers=JSON)
        assert again.status_code == 200
    assert len(inbox.stored) == 1


async def test_a_bug_in_a_reader_is_500_and_the_server_stays_up(receiver, caplog):
    def broken(body, received_at):
        raise ZeroDivisionError(f"secret {body!r}")

    checks = {"alertmanager": broken, "alerts": broken}
    async with receiver(checks=checks) as client:
        answer = await client.post(WEBHOOK, content=b"s3cr3t", headers=JSON)
        assert answer.status_code == 500
        assert (await client.get("/healthz")).status_code == 200
    assert "ZeroDivisionError" in caplog.text
    assert "s3cr3t" not in caplog.text + answer.text


async def test_a_large_body_is_checked_off_the_event_loop(receiver, inbox):
    body = webhook(*(f"Alert{n}" for n in range(2000)))
    assert len(body) > 200_000
    async with receiver() as client:
        answer = await client.post(WEBHOOK, content=body, headers=JSON)
        counts = (await client.get("/metrics")).text
    assert answer.status_code == 200
    assert inbox.stored == [("alertmanager", body)]
    assert 'iir_receiver_alerts_total{source="alertmanager"} 2000' in counts


async def test_refusals_are_logged_without_the_content(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    async with receiver() as client:
        body = b'{"version":"4","alerts":[{"labels":{"password=hunter2":1}}]}'
        await client.post(WEBHOOK, content=body, headers=JSON)
    assert "refused a request from 127.0.0.1: 400 Bad Request" in caplog.text
    assert "hunter2" not in caplog.text


async def test_health_and_readiness(receiver, inbox):
    async with receiver() as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "inbox_depth": 0})
        inbox.failure = StoreUnavailable("down")
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503


async def test_what_is_counted(receiver, inbox):
    async with receiver() as client:
        await client.post(WEBHOOK, content=webhook("A", "B"), headers=JSON)
        await client.post(WEBHOOK, content=b"{", headers=JSON)
        answer = await client.get("/metrics")
        inbox.failure = StoreUnavailable("down")
        down = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    for line in (
        'iir_receiver_requests_total{source="alertmanager",status="200"} 1',
        'iir_receiver_requests_total{source="alertmanager",status="400"} 1',
        'iir_receiver_alerts_total{source="alertmanager"} 2',
        "iir_receiver_acknowledged_seconds_count 1",
        'iir_receiver_acknowledged_seconds_bucket{le="+Inf"} 1',
        "iir_inbox_depth 1",
        "iir_store_up 1",
    ):
        assert line in lines, line
    assert answer.text.endswith("\n")
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert "iir_store_up 0" in down.text.splitlines()


@pytest.mark.parametrize(("method", "path"), [("GET", WEBHOOK), ("POST", "/nowhere")])
async def test_other_requests_are_4xx(receiver, method, path):
    async with receiver() as client:
        answer = await client.request(method, path)
    assert answer.status_code in (404, 405)
    assert json.loads(answer.text)
