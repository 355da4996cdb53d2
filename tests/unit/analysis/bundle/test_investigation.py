"""The cause is told by what a change does, where and when; or that no change did it."""

import pytest

from it_incident_response.analysis.bundle.investigation import investigate
from it_incident_response.domain.bundle import BundleAlert, Notice
from it_incident_response.domain.evidence import LogLevel
from tests.unit.analysis.bundle.made import (
    QUIET,
    at,
    bundle,
    commit,
    deploy,
    flag,
    lines,
    metric,
)

GUARD_LOST = "-    if price is None:\n-        return 0\n     return price.amount\n"
TIDIED = "-    total = sum(prices)\n-    return total\n+    return sum(prices)\n"
CRASHED = QUIET + lines("basket", "AttributeError: 'NoneType' object has no attribute 'amount'")


def test_what_a_change_does_counts_more_than_that_it_came_last():
    report = investigate(
        bundle(
            lines=CRASHED,
            commits=(commit("a" * 40, GUARD_LOST), commit("b" * 40, TIDIED, minute=26)),
            deploys=(deploy("a" * 40), deploy("b" * 40, minute=29)),
        )
    )
    assert report.root_cause.change == "a" * 40
    assert (report.root_cause.kind, report.remediation) == ("code_change", "rollback")
    assert report.first_failing_service == "basket"
    assert {item.source for item in report.root_cause.evidence} >= {"commit", "deploy", "metric"}


def test_a_change_that_came_after_the_onset_is_no_suspect():
    report = investigate(
        bundle(
            lines=CRASHED,
            commits=(commit("a" * 40, GUARD_LOST),),
            deploys=(deploy("a" * 40, minute=40),),
        )
    )
    assert [h.change for h in report.hypotheses] == [None]
    assert report.root_cause.kind == "unknown"


def test_a_change_of_configuration_is_reverted():
    changed = commit(
        "c" * 40, "-  max_connections: 80\n+  max_connections: 4\n", file="deploy/basket.yaml"
    )
    report = investigate(
        bundle(
            lines=QUIET + lines("basket", "connection pool exhausted, no free connection"),
            commits=(changed,),
            deploys=(deploy("c" * 40),),
        )
    )
    assert report.root_cause.kind == "config_change"
    assert report.remediation == "config-revert"
    assert "from 80 to 4" in report.root_cause.mechanism


def test_documents_and_tests_are_no_suspects():
    report = investigate(
        bundle(
            lines=CRASHED,
            commits=(commit("d" * 40, GUARD_LOST, file="docs/basket.md"),),
            deploys=(deploy("d" * 40),),
        )
    )
    assert report.root_cause.change is None


def test_an_expired_certificate_is_nobodys_change():
    alert = BundleAlert(service="basket", metric="error_ratio", fired_at=at(35), fields={"a": 1})
    report = investigate(
        bundle(
            alert=alert,
            metrics=(
                metric("basket", "error_ratio", 0.001, 0.9),
                metric("pricing", "tls_cert_seconds_until_expiry", 900, -60),
            ),
            lines=QUIET + lines("basket", "x509: certificate has expired or is not yet valid"),
            commits=(commit("b" * 40, TIDIED),),
            deploys=(deploy("b" * 40),),
        )
    )
    assert (report.root_cause.kind, report.root_cause.change) == ("certificate", None)
    assert report.remediation == "rotate-cert"


def test_more_traffic_is_told_from_more_calls_within():
    surge = (
        metric("door", "requests_per_sec", 100, 700, since=29),
        metric("basket", "requests_per_sec", 90, 650, since=29),
        metric("basket", "error_ratio", 0.001, 0.6),
    )
    told = investigate(
        bundle(metrics=surge, lines=QUIET + lines("basket", "server overloaded, shedding load"))
    )
    assert (told.root_cause.kind, told.remediation) == ("traffic", "scale")
    within = (
        metric("basket", "error_ratio", 0.001, 0.6),
        metric("store", "requests_per_sec", 90, 600, since=33),
    )
    told = investigate(bundle(metrics=within))
    assert told.root_cause.kind != "traffic"


def test_a_status_feed_near_in_time_points_outside():
    notice = Notice(
        file="status.json", at=at(29), text="status degraded; payments API elevated errors"
    )
    late = notice.model_copy(update={"at": at(-600)})
    said = QUIET + lines("basket", "charge failed: api.payments.com answered 503")
    told = investigate(bundle(lines=said, notices=(notice,)))
    assert (told.root_cause.kind, told.remediation) == ("external", "escalate-upstream")
    apart = investigate(bundle(lines=said, notices=(late,)))
    assert apart.root_cause.kind == "unknown"


def test_a_flag_of_which_the_failure_speaks():
    said = QUIET + lines("basket", "bulk_discount rejected: negative total")
    report = investigate(bundle(lines=said, flags=(flag("bulk_discount"),)))
    assert (report.root_cause.kind, report.remediation) == ("config_change", "feature-flag-disable")


def test_who_is_dragged_down_and_who_is_merely_called_more():
    report = investigate(
        bundle(
            metrics=(
                metric("basket", "error_ratio", 0.001, 0.6),
                metric("door", "latency_p99_ms", 100, 900, since=32),
                metric("store", "requests_per_sec", 100, 900),
            ),
            lines=QUIET + lines("mail", "basket did not answer", level=LogLevel.WARNING),
        )
    )
    assert set(report.blast_radius) == {"door", "mail"}


def test_shares_are_shares():
    report = investigate(bundle(lines=CRASHED, commits=(commit("a" * 40, GUARD_LOST),)))
    shares = [h.confidence for h in report.hypotheses]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1.001


def test_an_empty_incident_has_no_cause_and_no_error():
    report = investigate(bundle(alert=BundleAlert(), metrics=(), lines=()))
    assert (report.root_cause.kind, report.first_failing_service) == ("unknown", None)


@pytest.mark.parametrize("hostile", ["-" * 50_000, "+for (" * 9000, "@@\n" * 9000, "\x1b[31m\x00"])
def test_hostile_differences_end(hostile):
    assert investigate(bundle(commits=(commit("e" * 40, hostile),))).hypotheses
