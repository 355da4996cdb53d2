"""incidents, alerts, approvals, audit, db, silences: on a real record."""

import json
import sqlite3

import pytest

from it_incident_response.cli.silences_commands import parse_matcher
from it_incident_response.errors import InputRejected

KEY = "INC-000001"


def alert(name="Down", **labels):
    return {
        "labels": {"alertname": name, "severity": "critical", "instance": "web-1", **labels},
        "annotations": {"summary": "it is down"},
        "startsAt": "2026-03-01T12:00:00Z",
    }


LISTINGS = [
    ("incidents", "list"),
    ("incidents", "list", "--open"),
    ("incidents", "show", KEY),
    ("incidents", "timeline", KEY),
    ("alerts", "list"),
    ("approvals", "list", "--status", "all"),
    ("audit", "list"),
    ("audit", "list", "--incident", KEY, "--limit", "3"),
    ("audit", "verify"),
    ("db", "stats"),
    ("db", "prune", "--dry-run"),
    ("rules", "list"),
    ("policy", "show"),
    ("config", "show"),
    ("config", "profiles"),
    ("demo", "--list"),
    ("simulate", "--list"),
]


@pytest.mark.parametrize("arguments", LISTINGS, ids=" ".join)
def test_every_listing_is_json_for_programs_and_text_for_people(demo_shell, arguments):
    assert demo_shell.json(*arguments) is not None
    printed = demo_shell.ok(*arguments)
    assert "\x1b" not in printed
    if "--open" not in arguments:
        assert printed.strip()


def test_an_empty_record_says_what_to_do_next(shell):
    assert "iir demo" in shell.ok("incidents", "list")
    assert "iir alerts ingest" in shell.ok("alerts", "list")
    assert "Nothing waits" in shell.ok("approvals", "list")
    for listing in (("incidents", "list"), ("alerts", "list"), ("approvals", "list")):
        assert shell.json(*listing) == []


def test_a_demo_leaves_a_record_that_tells_the_whole_story(demo_shell, demo_record):
    played = json.loads((demo_record.parent / "printed.json").read_text())
    assert played["fault"] == "service_down"
    assert played["cause"] == "service-down"
    assert played["action"] == "restart_service"
    assert played["status"] == "resolved"
    assert played["fault_is_gone"] is True
    text = demo_shell.ok("incidents", "show", KEY)
    for part in ("Diagnosis: ", "Plan ", "Approval ", "Step 1: finished", "Verification: verified"):
        assert part in text
    timeline = demo_shell.ok("incidents", "timeline", KEY)
    order = ["incident.opened", "diagnosis.made", "approval.approved", "action.finished"]
    places = [timeline.index(kind) for kind in [*order, "incident.resolved"]]
    assert places == sorted(places)
    view = demo_shell.json("incidents", "show", KEY)
    assert view["incident"]["key"] == KEY
    assert view["verification"]["result"] == "verified"
    found = demo_shell.json("incidents", "show", view["incident"]["id"])
    assert found["incident"]["id"] == view["incident"]["id"]


def test_people_take_over(copied):
    assert "noted" in copied.ok("incidents", "note", KEY, "called the vendor", "--by", "carol")
    assert "assigned to bob" in copied.ok("incidents", "assign", KEY, "bob", "--by", "carol")
    assert copied.json("incidents", "list", "--assignee", "bob")[0]["key"] == KEY
    assert "investigating" in copied.ok("incidents", "reopen", KEY, "--reason", "again")
    assert "resolved" in copied.ok("incidents", "resolve", KEY, "--reason", "by hand")
    assert "closed" in copied.ok("incidents", "close", KEY)
    timeline = copied.ok("incidents", "timeline", KEY)
    assert "called the vendor" in timeline
    assert "user:carol" in timeline
    assert "again" in timeline
    (listed,) = copied.json("incidents", "list", "--status", "closed")
    assert (listed["assignee"], listed["reopened_count"]) == ("bob", 1)
    assert copied.json("audit", "verify")["is_intact"]


def test_what_is_not_allowed_says_why(copied):
    assert "there is no incident" in copied.refused(3, "incidents", "show", "INC-999999").lower()
    for word in ("", "nonsense", "INC-", "INC-" + "9" * 5000, "%", "\N{SNOWMAN}"):
        copied.refused(3, "incidents", "show", word)
    said = copied.refused(4, "incidents", "resolve", KEY)
    assert "already" in said
    said = copied.refused(3, "incidents", "settle", KEY, "1", "--took-effect", "--reason", "seen")
    assert "in doubt" in said
    assert "empty" in copied.refused(2, "incidents", "note", KEY, "  ")
    copied.refused(3, "approvals", "show", "01234567")
    copied.refused(3, "approvals", "approve", "01234567", "--yes")
    copied.refused(3, "audit", "list", "--incident", "INC-000099")


def test_alerts_come_from_a_file_and_twice_is_once(shell, tmp_path):
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps([alert(), alert("Slow")]))
    first = shell.json("alerts", "ingest", str(file))
    assert first["alerts"] == 2
    assert first["incidents"] == [KEY]
    before = shell.json("incidents", "show", KEY)
    events = shell.json("audit", "list")
    again = shell.json("alerts", "ingest", str(file))
    assert again == {"alerts": 2, "incidents": []}
    assert shell.json("incidents", "show", KEY)["incident"] == before["incident"]
    assert shell.json("audit", "list") == events
    assert len(shell.json("alerts", "list")) == 2
    assert "Slow" in shell.ok("alerts", "list", "--firing")


def test_alerts_come_from_standard_input_one_a_line(shell):
    lines = "\n".join(json.dumps(alert(f"Alert{number}")) for number in range(3))
    assert shell.json("alerts", "ingest", "-", typed=lines)["alerts"] == 3


def test_alerts_come_as_alertmanager_posts_them(shell):
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "status": "firing",
        "receiver": "iir",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [{**alert(), "status": "firing", "fingerprint": "b44b1a5d7b6e7f60"}],
    }
    assert shell.json("alerts", "ingest", "-", typed=json.dumps(body))["alerts"] == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00\xff\xfe",
        b"null",
        b"42",
        b'"text"',
        b"{",
        b"<html>",
        b'[{"labels": 5}]',
        b'{"alerts": {}}',
        b"[[[[[]]]]]",
        b"[" * 50_000,
        b'[{"labels": {"alertname": "x"}, "startsAt": "yesterday"}]',
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
def test_garbage_is_refused_and_leaves_nothing(shell, garbage):
    assert shell.refused(2, "alerts", "ingest", "-", typed=garbage).startswith("Error: ")
    assert shell.json("db", "stats")["alerts"] == 0


def test_too_large_is_refused_and_missing_is_said(shell, tmp_path, monkeypatch):
    monkeypatch.setattr("it_incident_response.cli.alerts_commands.MAX_BODY_BYTES", 1000)
    assert "larger" in shell.refused(2, "alerts", "ingest", "-", typed=b"[" + b" " * 1000 + b"]")
    assert "cannot read" in shell.refused(2, "alerts", "ingest", str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("column", "forged"),
    [
        ("body", "replace(body, 'a', 'b')"),
        ("hash", "iif(hash LIKE '0%', '1', '0') || substr(hash, 2)"),
    ],
)
def test_a_tampered_trail_is_found_and_named(copied, column, forged):
    with sqlite3.connect(copied.database) as connection:
        connection.execute(
            f"UPDATE audit SET {column} = {forged} WHERE sequence = 3",
        )
    connection.close()
    done = copied.run("audit", "verify")
    assert done.exit_code == 1
    assert "BROKEN at event 3" in done.stdout
    report = json.loads(copied.run("audit", "verify", "--json").stdout)
    assert (report["is_intact"], report["broken_at"]) == (False, 3)


def test_a_missing_event_is_found(copied):
    with sqlite3.connect(copied.database) as connection:
        connection.execute("DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)")
    connection.close()
    assert copied.run("audit", "verify").exit_code == 1


def test_pruning_removes_what_ended_and_says_how_much(copied):
    assert copied.json("db", "stats")["incidents"] == 1
    would = copied.json("db", "prune", "--older-than-days", "0", "--dry-run")
    assert would["incidents"] == 1
    assert copied.json("db", "stats")["incidents"] == 1
    done = copied.json("db", "prune", "--older-than-days", "0")
    assert done["incidents"] == 1
    assert copied.json("incidents", "list") == []
    assert copied.json("audit", "verify")["is_intact"], "what happened stays on the trail"
    copied.refused(2, "db", "prune", "--older-than-days", "-1")


def test_silences_need_somewhere_to_go(shell):
    for command in (("list",), ("create", "a=b", "--comment", "x"), ("expire", "1")):
        assert "alert_manager_url" in shell.refused(2, "silences", *command)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instance=web-1", ("instance", "web-1", False, True)),
        ("instance!=web-1", ("instance", "web-1", False, False)),
        ('job=~"a|b"', ("job", "a|b", True, True)),
        ("job!~a.*", ("job", "a.*", True, False)),
        ("path=a=b", ("path", "a=b", False, True)),
        ("path=a!=b", ("path", "a!=b", False, True)),
        ("query=x=~y", ("query", "x=~y", False, True)),
        ('quoted="a b"', ("quoted", "a b", False, True)),
        ("empty=", ("empty", "", False, True)),
    ],
)
def test_matchers_are_read_at_their_first_operator(text, expected):
    found = parse_matcher(text)
    assert (found.name, found.value, found.is_regex, found.is_equal) == expected


@pytest.mark.parametrize("text", ["", "instance", "=x", "!=x", " =x", "a b=x"])
def test_what_is_no_matcher_is_refused(text):
    with pytest.raises(InputRejected, match="not a matcher"):
        parse_matcher(text)


HOSTILE = {
    "escapes": "\x1b[2J\x1b]0;owned\x07red\x1b[31m",
    "overrides": "safe\u202egpj.exe\u2066\u200f",
    "lines": "first\nsecond\r\nthird\x0b\x0c\u2028forged",
    "markup": "[bold red]not markup[/] {0} %s",
    "long": "A" * 100_000,
}
BAD = "\u2028\x1b\x07\x0b\x0c\r\u202e\u2066\u200f"


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_shown_harmlessly_and_kept_whole(shell, ingest, kind):
    text = HOSTILE[kind]
    hostile = alert(text, team=text)
    hostile["annotations"] = {"summary": text, "description": text}
    ingest(shell, hostile)
    shell.ok("incidents", "note", KEY, text[:90_000], "--by", text[:100])
    shell.ok("incidents", "assign", KEY, text[:100])
    for command in (
        ("incidents", "list"),
        ("incidents", "show", KEY),
        ("incidents", "timeline", KEY),
        ("alerts", "list"),
        ("audit", "list"),
    ):
        printed = shell.ok(*command)
        assert not set(printed) & set(BAD), command
        assert len(printed) < 20_000, command
        assert not [line for line in printed.splitlines() if line.startswith(("second", "forged"))]
    assert "[bold red]" in shell.ok("incidents", "timeline", KEY) or kind != "markup"
    (known,) = shell.json("alerts", "list")
    assert known["alert"]["labels"]["team"] == text
