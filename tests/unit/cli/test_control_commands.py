"""take-over, cancel, rediagnose, wake, ops, alerts rejected: on a real record."""

import json

import pytest

from it_incident_response.cli import COMMANDS
from tests.unit.cli.test_record_commands import BAD, HOSTILE, KEY, alert


@pytest.fixture(autouse=True)
def ops_is_a_command(monkeypatch):
    monkeypatch.setitem(COMMANDS, "ops", ("ops_command:ops", "What needs an operator."))


@pytest.fixture
def opened(shell, ingest):
    ingest(shell, alert())
    return shell


def test_an_incident_is_stopped_and_handed_back(opened):
    said = opened.ok("incidents", "take-over", KEY, "--by", "carol", "--reason", "mine")
    assert said == f"{KEY}: taken over by carol\n"
    shown = opened.ok("incidents", "show", KEY)
    assert "now: stopped, taken over by carol: mine" in shown
    assert f"iir incidents rediagnose {KEY}" in shown
    timeline = opened.ok("incidents", "timeline", KEY)
    assert "incident.taken_over" in timeline
    assert "now: stopped, taken over by carol" in timeline.splitlines()[-3:][0]
    back = opened.json("incidents", "rediagnose", KEY, "--by", "carol")
    assert (back["halt"], back["status"]) == (None, "investigating")
    assert back["assignee"] == "carol"
    cancelled = opened.json("incidents", "cancel", KEY, "--reason", "enough", "--by", "dan")
    assert cancelled["halt"] == "cancelled by dan: enough"
    assert "cancelled by dan" in opened.ok("incidents", "list")
    assert "looked at now" in opened.ok("incidents", "wake", KEY)
    assert opened.json("audit", "verify")["is_intact"]


@pytest.mark.parametrize("command", ["take-over", "cancel", "rediagnose", "wake"])
def test_garbage_is_refused_in_words(opened, command):
    more = ["--reason", "x"] if command == "cancel" else []
    for word in ("INC-999999", "", "%", "\x1b[2J", "x" * 5_000):
        opened.refused(3, "incidents", command, word, *more)
    if command != "wake":
        for by in ("agent:x", "", "\x1b[2J", "x" * 5_000):
            said = opened.refused(7, "incidents", command, KEY, *more, "--by", by)
            assert "\x1b" not in said
    assert opened.json("incidents", "show", KEY)["incident"]["halt"] is None


def test_a_reason_is_bounded_and_asked_for(opened):
    opened.refused(2, "incidents", "cancel", KEY)
    opened.refused(2, "incidents", "cancel", KEY, "--reason", " ")
    opened.refused(2, "incidents", "take-over", KEY, "--reason", "x" * 2_001)


def test_what_is_over_says_so(copied):
    assert "it is resolved" in copied.refused(4, "incidents", "cancel", KEY, "--reason", "x")
    assert "it is resolved" in copied.refused(4, "incidents", "take-over", KEY)


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "long"])
def test_hostile_reasons_are_shown_harmlessly(opened, kind):
    opened.ok("incidents", "take-over", KEY, "--reason", HOSTILE[kind])
    for command in (
        ("incidents", "show", KEY),
        ("incidents", "timeline", KEY),
        ("incidents", "list"),
        ("ops",),
    ):
        printed = opened.ok(*command)
        assert not set(printed) & set(BAD), command
        assert not [line for line in printed.splitlines() if line.startswith(("second", "forged"))]


def test_ops_says_what_to_do_and_monitoring_may_ask(opened):
    opened.ok("incidents", "cancel", KEY, "--reason", "wait")
    assert f"iir incidents take-over {KEY}" in opened.ok("ops")
    found = opened.json("ops")
    assert [issue["kind"] for issue in found["issues"]] == ["untaken"]
    assert found["open_incidents"] == 1
    assert opened.run("ops", "--fail-on", "untaken").exit_code == 10
    assert opened.run("ops", "--fail-on", "stuck", "--fail-on", "in_doubt").exit_code == 0
    assert json.loads(opened.run("ops", "--json", "--fail-on", "untaken").stdout) is not None
    opened.ok("incidents", "take-over", KEY)
    assert "Nothing is stuck" in opened.ok("ops")
    opened.refused(2, "ops", "--fail-on", "everything")


def test_an_empty_record_needs_nobody(shell):
    assert "Nothing is stuck" in shell.ok("ops")
    assert shell.json("alerts", "rejected") == []
    assert "No body was rejected" in shell.ok("alerts", "rejected")
    shell.refused(3, "alerts", "rejected", "--show", "7")


def test_a_rejected_body_is_listed_and_shown_harmlessly(shell):
    import asyncio

    from it_incident_response.ports import IngestOutcome, SystemClock
    from it_incident_response.storage import open_store

    body = b'{"x": "\x1b[2J\xe2\x80\xae' + b"\xff" + b"\n" * 3 + b"forged" + b"A" * 70_000

    async def reject():
        clock = SystemClock()
        store = open_store(f"sqlite:///{shell.database}", clock=clock)
        await store.open()
        await store.accept([("alertmanager", body)], clock.now())
        async with store.ingestion(9) as ingestion:
            bad = tuple((item.id, "\x1b]0;owned\x07 no JSON") for item in ingestion.items)
            await ingestion.commit(IngestOutcome(rejected=bad))
        await store.close()

    asyncio.run(reject())
    (item,) = shell.json("alerts", "rejected")
    assert item["size_bytes"] == len(body)
    assert len(item["body"]) <= 64 * 1024
    for command in (("alerts", "rejected"), ("alerts", "rejected", "--show", str(item["id"]))):
        printed = shell.ok(*command)
        assert not set(printed) & set(BAD), command
        assert len(printed) < 10_000
    assert "iir alerts rejected" in shell.ok("ops")
