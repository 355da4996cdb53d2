"""Which evidence goes into which file of a bundle, and what is written of it."""

from datetime import UTC, datetime, timedelta

from it_incident_response.analysis.incident_bundle import (
    incident_documents,
    manifest,
    rendered,
)
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    Change,
    Evidence,
    LogLevel,
    LogPattern,
    MetricFinding,
    Shape,
    Signal,
    SourceGap,
    SpanFinding,
)
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.severity import Severity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = Entity(EntityKind.SERVICE, "shop")
SHA = "0123456789abcdef0123456789abcdef01234567"
INCIDENT = Incident(
    id=IncidentId("i1"),
    key="INC-000007",
    title="shop is slow",
    severity=Severity.HIGH,
    affected_systems=("shop",),
    opened_at=NOW,
    updated_at=NOW,
)


def seen(finding, **more):
    return Evidence(
        id=f"e{id(finding)}",
        incident_id=INCIDENT.id,
        source="test",
        summary="seen",
        finding=finding,
        observed_at=NOW,
        **more,
    )


def change(what, **more):
    given = {"change_id": f"{what}-1", "at": NOW, "summary": f"a {what}", "entity": SHOP}
    return seen(Change(what=what, **(given | more)))


def metric(samples, **more):
    given = {"signal": Signal.LATENCY_P95, "entity": SHOP, "shape": Shape.SPIKE}
    given |= {"baseline": 1.0, "current": 2.0, "peak": 3.0, "effect": 9.0}
    return seen(MetricFinding(**(given | more), samples=samples))


def documents(*evidence):
    return incident_documents(INCIDENT, (), evidence)


def test_changes_are_told_apart_and_our_own_are_nobodys_deploy():
    found = documents(
        change("commit", version=SHA, files=("a.py",), diff="+x"),
        change("deploy", version="v1.2"),
        change("deploy", version=SHA[:12]),
        change("flag"),
        change("certificate"),
        change("deploy", change_id="ours", is_ours=True),
    )
    assert [row["sha"] for row in found["context/commits.json"]] == [SHA]
    assert found["context/commits.json"][0]["diff"] == "+x"
    deploys = found["context/deploys.json"]
    assert [(row["version"], row["commit_sha"]) for row in deploys] == [
        ("v1.2", None),
        (SHA[:12], SHA[:12]),
    ]
    assert [row["flag"] for row in found["context/flags.json"]] == ["flag-1"]
    others = found["context/changes.json"]
    assert [(row["what"], row["is_by_responder"]) for row in others] == [
        ("certificate", False),
        ("deploy", True),
    ]


def test_a_deploy_that_came_with_its_difference_is_a_commit_of_the_same_name():
    found = documents(change("deploy", version="v1.2", diff="-limit = 50\n+limit = 5"))
    sha = found["context/commits.json"][0]["sha"]
    assert found["context/deploys.json"][0]["commit_sha"] == sha


def test_samples_have_one_row_each_in_order_of_time_and_names_that_say_the_unit():
    found = documents(
        metric(((1_800_000_060.0, 2.0), (1_800_000_120.0, 3.0))),
        metric(((1_800_000_000.0, 1.0), (1_800_000_060.0, 2.5))),
        metric(((1_800_000_000.0, 7.0),), signal=Signal.OTHER, title="orders, open"),
    )
    text = rendered("metrics.csv", found["metrics.csv"])
    assert text.splitlines() == [
        "timestamp,service,metric,value",
        "2027-01-15T08:00:00Z,shop,latency_p95_seconds,1.0",
        '2027-01-15T08:00:00Z,shop,"orders, open",7.0',
        "2027-01-15T08:01:00Z,shop,latency_p95_seconds,2.5",
        "2027-01-15T08:02:00Z,shop,latency_p95_seconds,3.0",
    ]


def test_examples_have_the_times_that_are_known():
    later = NOW + timedelta(minutes=5)
    pattern = LogPattern(
        template="lost <*>",
        level=LogLevel.ERROR,
        service="shop",
        count=40,
        baseline_count=4.0,
        first_at=NOW,
        last_at=later,
        examples=("lost 1", "lost 2", "lost 3"),
    )
    found = documents(seen(pattern))
    assert [(row["msg"], row["timestamp"][14:16]) for row in found["logs.ndjson"]] == [
        ("lost 1", "00"),
        ("lost 2", "00"),
        ("lost 3", "05"),
    ]
    assert found["patterns.json"][0]["delta_vs_baseline"] == "+36"
    assert found["patterns.json"][0]["sentiment"] == "negative"


def test_calls_keep_who_called_whom_and_say_that_they_are_summaries():
    span = SpanFinding(
        service="shop", operation="pay", caller="web", calls=9, errors=3, p95_s=1.5, error="boom"
    )
    caller, callee = documents(seen(span))["traces.json"]
    assert (caller["service"], callee["service"]) == ("web", "shop")
    assert callee["parent_id"] == caller["span_id"]
    assert callee["trace_id"] == caller["trace_id"]
    assert (callee["duration_ms"], callee["status"], callee["error"]) == (1500.0, "ERROR", "boom")
    assert callee["summary_of"]["calls"] == 9


def test_a_manifest_names_gaps_and_empty_files():
    evidence = (seen(SourceGap(source="splunk", reason="timed out")),)
    found = incident_documents(INCIDENT, (), evidence)
    told = manifest(INCIDENT, found, evidence, product_version="1", exported_at=NOW)
    assert "splunk: timed out" in told["missing"]
    assert "metrics.csv: nothing was kept" in told["missing"]
    assert found["alert.json"]["service"] == "shop"
