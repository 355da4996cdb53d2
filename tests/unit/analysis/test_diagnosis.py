from datetime import timedelta

import pytest

from it_incident_response.analysis.diagnosis import diagnose
from it_incident_response.analysis.evidence_words import NOW, evidence_from
from it_incident_response.analysis.rules_engine import DiagnosticRule, RulesEngine
from it_incident_response.domain.diagnosis import Verdict
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import CommandOutput
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.severity import Severity
from it_incident_response.domain.topology import Topology

INCIDENT = Incident(
    id="0190", key="INC-000001", title="t", severity=Severity.HIGH, opened_at=NOW, updated_at=NOW
)
TOPOLOGY = Topology(
    calls={"shop": frozenset({"orders"}), "orders": frozenset({"db"})},
    runs_on={
        "shop": frozenset({"web-1"}),
        "orders": frozenset({"app-1"}),
        "db": frozenset({"db-1"}),
    },
)
SHIPPED = RulesEngine.shipped()


def diagnosed(*items, rules=SHIPPED, evidence=()):
    seen = (*evidence_from(items), *evidence)
    return diagnose(INCIDENT, seen, rules, TOPOLOGY, now=NOW, diagnosis_id="d1")


# What real blackbox and node exporter alerts with what Prometheus and a host say beside them.
@pytest.mark.parametrize(
    ("items", "cause", "action"),
    [
        (
            [
                {"alert": "ProbeFailed", "host": "web-1", "text": "probe of http://web-1/ fails"},
                {
                    "metric": "up",
                    "value": 0,
                    "baseline": 1,
                    "shape": "level_shift",
                    "host": "web-1",
                },
                {
                    "command": "systemctl show",
                    "facts": {"ActiveState": "failed"},
                    "service": "shop",
                },
            ],
            "service-down",
            "restart_service",
        ),
        (
            [
                {"alert": "NodeFilesystemAlmostOutOfSpace", "host": "db-1"},
                {"metric": "disk_use", "value": 0.98, "baseline": 0.5, "host": "db-1"},
            ],
            "disk-full",
            "clean_disk",
        ),
        (
            [
                {"alert": "HostOutOfDiskSpace", "host": "db-1"},
                {"command": "df -P -k -l", "facts": {"use:/srv": "100%"}, "host": "db-1"},
            ],
            "disk-full",
            "clean_disk",
        ),
        (
            [
                {"alert": "BlackboxSslCertificateWillExpireSoon", "host": "web-1"},
                {"metric": "certificate_lifetime", "value": 40000, "host": "web-1"},
            ],
            "certificate-expiring",
            "renew_certificate",
        ),
        (
            [
                {"alert": "BlackboxSslCertificateExpired", "host": "web-1"},
                {"alert": "BlackboxProbeFailed", "host": "web-1"},
                {"metric": "certificate_lifetime", "value": -60, "baseline": 3000, "host": "web-1"},
            ],
            "certificate-expired",
            "renew_certificate",
        ),
        (
            [
                {"alert": "HostOomKillDetected", "host": "app-1"},
                {"log": "Out of memory: Killed process <*> (java)", "host": "app-1"},
                {"alert": "ServiceDown", "service": "orders"},
            ],
            "oom-kill",
            "restart_service",
        ),
        (
            [
                {"alert": "ProcessMemoryHigh", "service": "orders"},
                {
                    "metric": "process_memory",
                    "value": 9e8,
                    "baseline": 3e8,
                    "shape": "trend",
                    "service": "orders",
                },
            ],
            "memory-leak",
            "restart_service",
        ),
        (
            [
                {"alert": "HostHighCpuLoad", "host": "app-1"},
                {"metric": "cpu_use", "value": 0.98, "baseline": 0.2, "host": "app-1"},
            ],
            "cpu-saturation",
            "restart_service",
        ),
        (
            [
                {"alert": "HighErrorRate", "service": "orders"},
                {"log": "FATAL: sorry, too many clients already", "service": "orders"},
                {"metric": "connection_pool_use", "value": 1.0, "service": "orders"},
            ],
            "database-connections-exhausted",
            "restart_service",
        ),
    ],
)
def test_common_incidents(items, cause, action):
    diagnosis = diagnosed(*items)
    assert diagnosis.verdict is Verdict.CONFIRMED
    assert diagnosis.top.cause_id == cause
    assert diagnosis.top.suggestions[0].action == action


def test_every_hypothesis_cites_evidence_that_exists():
    diagnosis = diagnosed(
        {"alert": "ServiceDown", "service": "shop"},
        {"metric": "up", "value": 1, "service": "shop"},
        {"alert": "HostOutOfMemory", "host": "web-1"},
    )
    assert diagnosis.evidence_ids == ("e1", "e2", "e3")
    for hypothesis in diagnosis.hypotheses:
        assert hypothesis.supporting
        assert {*hypothesis.supporting, *hypothesis.contradicting} <= set(diagnosis.evidence_ids)
        assert 0 < hypothesis.confidence < 1
    assert sum(h.confidence for h in diagnosis.hypotheses) < 1, "something unknown stays possible"


def test_a_cause_takes_over_its_consequences():
    down = {"alert": "ServiceDown", "service": "db"}
    assert diagnosed(down).top.cause_id == "service-down"
    full = diagnosed(
        down,
        {"log": "could not extend file: No space left on device", "host": "db-1"},
        {
            "metric": "disk_use",
            "value": 1.0,
            "baseline": 0.5,
            "shape": "saturation",
            "host": "db-1",
        },
    )
    assert full.top.cause_id == "disk-full"
    assert full.top.entity == Entity(EntityKind.HOST, "db-1")


def test_the_dependency_is_blamed_not_its_callers():
    items = [
        {"alert": "ServiceDown", "service": name, "minutes": 5} for name in ("shop", "orders", "db")
    ]
    assert diagnosed(*items).top.entity == Entity(EntityKind.SERVICE, "db")


def test_a_unit_that_was_looked_at_means_its_service():
    look = evidence_from([{"command": "systemctl show", "facts": {"ActiveState": "failed"}}])[0]
    finding = CommandOutput(
        entity=Entity(EntityKind.SERVICE, "app-1/orders-api.service"),
        command="systemctl show -- orders-api.service",
        exit_status=0,
        output="",
        facts={"ActiveState": "failed"},
    )
    diagnosis = diagnosed(
        {"alert": "ProbeFailed", "host": "app-1"},
        evidence=[look.model_copy(update={"id": "look", "finding": finding})],
    )
    assert diagnosis.top.entity == Entity(EntityKind.SERVICE, "orders")
    assert diagnosis.verdict is Verdict.CONFIRMED


def test_one_kind_of_evidence_is_not_enough_to_confirm():
    one = diagnosed({"alert": "RedisDown", "host": "cache-1"}, {"alert": "DiskFull", "host": "x"})
    assert one.verdict is not Verdict.CONFIRMED
    assert diagnosed({"alert": "DiskFull", "host": "db-1"}).verdict is Verdict.LIKELY


def test_silence_is_reported_and_never_taken_for_health():
    alert = {"alert": "ServiceDown", "service": "shop"}
    silent = diagnosed(alert, {"gap": "metrics", "text": "refused"}, {"gap": "host web-1"})
    heard = diagnosed(alert, {"metric": "up", "value": 1, "service": "shop"})
    assert "metrics could not be asked: refused" in silent.missing
    assert "Silent" in silent.summary
    assert silent.top.confidence >= heard.top.confidence
    assert any("refused" in missing for missing in silent.top.missing)


def test_without_a_fitting_rule_it_says_where_to_look():
    diagnosis = diagnosed({"alert": "SomethingOdd", "service": "shop"})
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert diagnosis.top is None
    assert diagnosis.missing
    assert diagnosed().verdict is Verdict.INCONCLUSIVE


def test_an_inconclusive_diagnosis_names_the_next_look():
    diagnosis = diagnosed({"alert": "APIHigh5xxRate", "service": "shop"}, {"gap": "logs"})
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert any("traceback" in missing for missing in diagnosis.missing)


def test_competing_causes_share_the_probability():
    both = diagnosed({"alert": "HostClockSkew", "host": "a"}, {"alert": "DiskFull", "host": "b"})
    assert {h.cause_id for h in both.hypotheses[:2]} == {"clock-skew", "disk-full"}
    assert both.verdict is Verdict.INCONCLUSIVE


def test_an_innocent_release_is_not_blamed():
    errors = {"metric": "error_ratio", "value": 0.3, "baseline": 0.001, "shape": "level_shift"}
    deploy = {"change": "deploy", "service": "orders", "minutes": 12}
    guilty = diagnosed(
        {"alert": "HighErrorRate", "service": "orders"},
        deploy,
        errors | {"service": "orders", "minutes": 11},
    )
    assert guilty.top.cause_id == "bad-deploy-errors"
    assert guilty.top.suggestions[0].action == "rollback_deployment"
    innocent = diagnosed(
        {"alert": "HighErrorRate", "service": "orders"},
        deploy,
        errors | {"service": "orders", "minutes": 11},
        errors | {"service": "db", "minutes": 11},
    )
    assert innocent.top is None or innocent.top.cause_id != "bad-deploy-errors"


def test_a_rule_in_python_cites_what_convinced_it():
    mine = DiagnosticRule(
        name="Odd",
        condition=lambda logs: any("odd thing" in log["message"] for log in logs),
        root_cause="An odd thing",
        confidence_base=0.9,
        remediation_actions=["Look at it"],
    )
    diagnosis = diagnosed(
        {"log": "an odd thing", "service": "shop"},
        {"log": "nothing"},
        rules=RulesEngine(rules=[mine]),
    )
    assert diagnosis.top.cause_id == "Odd"
    assert diagnosis.top.supporting == ("e1",)
    assert diagnosis.top.confidence == pytest.approx(0.9)


def test_an_alert_that_ended_is_no_evidence():
    (fact,) = evidence_from([{"alert": "ServiceDown", "service": "shop"}])
    ended = fact.model_copy(
        update={"finding": fact.finding.model_copy(update={"is_firing": False})}
    )
    assert diagnosed(evidence=[ended]).top is None


def test_it_is_pure():
    items = [{"alert": "ServiceDown", "service": "shop"}, {"gap": "logs"}]
    assert diagnosed(*items) == diagnosed(*items)
    later = diagnose(
        INCIDENT, evidence_from(items), SHIPPED, TOPOLOGY, now=NOW + timedelta(hours=1)
    )
    assert later.made_at == NOW + timedelta(hours=1)


def test_a_caller_in_trouble_is_no_cause_of_what_it_calls():
    """Trouble travels from what is called to its callers, not back."""
    items = [
        {"alert": "HighErrorRate", "service": "db"},
        {"metric": "certificate_lifetime", "value": -3000, "baseline": 9e6, "service": "shop"},
        {"log": "certificate has expired", "level": "error", "count": 50, "service": "shop"},
    ]
    seen = evidence_from(items)

    def odds_of_the_certificate(affected):
        entities = frozenset({Entity(EntityKind.SERVICE, affected)})
        footprint = INCIDENT.footprint.model_copy(update={"entities": entities})
        incident = INCIDENT.model_copy(update={"footprint": footprint})
        found = diagnose(incident, seen, SHIPPED, TOPOLOGY, now=NOW).hypotheses
        return next((h.confidence for h in found if h.cause_id == "certificate-expired"), 0.0)

    assert odds_of_the_certificate("shop") > 0.5
    assert odds_of_the_certificate("db") < 0.8 * odds_of_the_certificate("shop")
