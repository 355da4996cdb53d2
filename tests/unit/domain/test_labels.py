import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.labels import (
    LABEL_VALUE_LENGTH_MAX,
    LABELS_MAX,
    NAME_LENGTH_MAX,
    UNNAMED,
    fingerprint,
    host_of,
    label_facts,
    make_alert,
)
from it_incident_response.domain.severity import Severity

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
RECORDED = Path(__file__).parents[4] / "shared" / "data" / "recorded"

# Labels and fingerprints as a real Alertmanager 0.25 reported them.
REAL = [
    (
        {
            "alertname": "HighErrorRate",
            "cluster": "testbed",
            "instance": "web-1",
            "job": "checkout",
            "service": "checkout",
            "severity": "critical",
        },
        "1de5451a84cc11d2",
    ),
]


def alert(labels, **changes):
    fields = {
        "labels": labels,
        "annotations": {},
        "status": AlertStatus.FIRING,
        "starts_at": NOW,
        "ends_at": None,
        "received_at": NOW,
        "source": "test",
    }
    return make_alert(**(fields | changes))


@pytest.mark.parametrize(("labels", "expected"), REAL)
def test_fingerprint_is_prometheus_own(labels, expected):
    assert fingerprint(labels) == expected


def test_fingerprint_of_nothing_is_the_fnv_offset_basis():
    assert fingerprint({}) == "cbf29ce484222325"


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded payloads are not beside this checkout"
)
def test_fingerprints_of_recorded_payloads():
    webhook = json.loads((RECORDED / "webhook_firing.json").read_text())["alerts"]
    pulled = json.loads((RECORDED / "api_v2_alerts.json").read_text())
    for reported in webhook + pulled:
        assert fingerprint(reported["labels"]) == reported["fingerprint"]


def test_fingerprint_ignores_order_and_empty_values():
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "gone": "", "a": "1"})


def test_fingerprint_separates_names_from_values():
    assert fingerprint({"ab": "c"}) != fingerprint({"a": "bc"})


def test_long_label_sets_hash_like_short_ones():
    long = {"alertname": "x" * 5_000}
    assert fingerprint(long) == label_facts(long).fingerprint
    assert fingerprint(long) != fingerprint({"alertname": "x" * 4_999})


@pytest.mark.parametrize(
    ("instance", "host"),
    [
        ("10.0.0.7:9100", "10.0.0.7"),
        ("web-1.example.org:443", "web-1.example.org"),
        ("web-1", "web-1"),
        ("http://web-1:8080/health?x=1", "web-1"),
        ("https://user:pw@shop.example/x", "shop.example"),
        ("[2001:db8::1]:9100", "2001:db8::1"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("https://[bad", None),
        ("$(reboot):80", None),
        ("a b", None),
        ("x" * 10_000, None),
        ("/path/only", None),
    ],
)
def test_host_of_an_instance(instance, host):
    assert host_of(instance) == host


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("host", EntityKind.HOST),
        ("nodename", EntityKind.HOST),
        ("kubernetes_node", EntityKind.NODE),
        ("pod_name", EntityKind.POD),
        ("exported_namespace", EntityKind.NAMESPACE),
        ("app_kubernetes_io_name", EntityKind.SERVICE),
        ("application", EntityKind.SERVICE),
        ("container", EntityKind.CONTAINER),
        ("mountpoint", EntityKind.MOUNT),
        ("device", EntityKind.DEVICE),
        ("job", EntityKind.JOB),
        ("instance", EntityKind.INSTANCE),
    ],
)
def test_labels_name_entities(label, kind):
    assert Entity(kind, "thing-1") in alert({label: "thing-1"}).entities


def test_instance_gives_its_host_and_a_unit_its_service():
    entities = alert({"instance": "web-1:9100", "name": "nginx.service"}).entities
    assert Entity(EntityKind.HOST, "web-1") in entities
    assert Entity(EntityKind.SERVICE, "nginx") in entities


@pytest.mark.parametrize(
    ("labels", "component"),
    [
        ({"alertname": "PostgresqlDown"}, "database"),
        ({"alertname": "HostOutOfDiskSpace"}, "disk"),
        ({"alertname": "NodeFilesystemAlmostOutOfSpace", "job": "node"}, "disk"),
        ({"alertname": "BlackboxSslCertificateWillExpireSoon"}, "tls"),
        ({"alertname": "RedisOutOfMemory"}, "cache"),
        ({"alertname": "HostOomKillDetected"}, "memory"),
        ({"alertname": "KubernetesPodCrashLooping"}, "kubernetes"),
        ({"alertname": "APIHigh5xxRate"}, "web"),
        ({"alertname": "InstanceDown", "job": "postgres"}, "database"),
        ({"alertname": "Whatever"}, None),
    ],
)
def test_component(labels, component):
    assert alert(labels).component == component


def test_severity_words_and_their_default():
    assert alert({"severity": "page"}).severity is Severity.CRITICAL
    assert alert({"priority": "P4"}).severity is Severity.LOW
    assert alert({}).severity is Severity.MEDIUM


def test_tags_name_component_and_surroundings():
    tags = alert({"alertname": "DiskFull", "env": "prod", "team": "payments"}).tags
    assert tags == ("disk", "env:prod", "team:payments")


def test_label_text_is_kept_and_never_interpreted():
    hostile = {"alertname": "$(reboot) {{ x }}", "note": "a\n\u202eb'\"`;|" + "x" * 100_000}
    made = alert(hostile)
    assert made.labels == hostile
    assert made.name == "$(reboot) {{ x }}"


def test_everything_is_bounded():
    labels = {f"label{i:05}": "x" for i in range(LABELS_MAX * 2)}
    made = alert({"alertname": "n" * 9_999, "instance": "i" * 9_999, **labels})
    assert len(made.labels) == LABELS_MAX
    assert len(made.name) == NAME_LENGTH_MAX
    assert all(len(entity.name) <= NAME_LENGTH_MAX for entity in made.entities)
    large = alert({"v": "x" * (LABEL_VALUE_LENGTH_MAX + 5)}, annotations={"a": "y" * 99_999})
    assert len(large.labels["v"]) == LABEL_VALUE_LENGTH_MAX
    assert len(large.annotations["a"]) < 20_000


def test_text_no_database_takes_is_replaced():
    made = alert({"alertname": "a\0b", "lone": "x\ud800y"}, annotations={"s": "\udfff"})
    assert made.labels["lone"] == "x\ufffdy"
    assert made.name == "a\ufffdb"
    made.model_dump_json().encode()


def test_times_that_mean_none_or_lie_far_ahead_are_replaced():
    absent = datetime(1, 1, 1, tzinfo=UTC)
    assert alert({}, starts_at=absent).starts_at == NOW
    assert alert({}, starts_at=NOW + timedelta(days=900)).starts_at == NOW
    assert alert({}, ends_at=absent).ends_at is None
    resolved = alert({}, status=AlertStatus.RESOLVED, ends_at=None)
    assert resolved.ends_at == NOW
    assert not resolved.is_firing


def test_a_time_without_zone_is_refused():
    with pytest.raises((ValueError, TypeError)):
        alert({}, starts_at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_only_web_addresses_become_links():
    assert alert({}, generator_url="javascript:alert(1)").generator_url is None
    assert alert({}, generator_url="http://p/graph").generator_url == "http://p/graph"
    assert alert({"severity": "page"}).name == UNNAMED


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=12))
def test_any_label_set_becomes_an_alert(labels):
    made = alert(labels)
    assert len(made.fingerprint) == 16
    assert made.model_validate_json(made.model_dump_json()) == made


@given(st.text())
def test_host_of_never_fails(text):
    host = host_of(text)
    assert host is None or 0 < len(host) <= 253
