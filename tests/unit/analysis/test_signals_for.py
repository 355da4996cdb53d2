"""Which signals are read for which alerts."""

from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.analysis.metric_findings import find
from it_incident_response.analysis.signals_for import signals_for
from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Shape, Signal, SignalSeries
from it_incident_response.domain.labels import make_alert

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SHOP = Entity(EntityKind.SERVICE, "shop")


def alert(name: str, **labels: str):
    return make_alert(
        labels={"alertname": name, **labels},
        annotations={},
        status=AlertStatus.FIRING,
        starts_at=NOW,
        ends_at=None,
        received_at=NOW,
        source="test",
    )


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("PostgresqlReplicationLag", Signal.REPLICATION_LAG),
        ("KafkaConsumerLag", Signal.QUEUE_LENGTH),
        ("MysqlDeadlocks", Signal.LOCK_CONFLICTS),
        ("RedisEvictions", Signal.EVICTIONS),
        ("JvmGcTooLong", Signal.GC_TIME),
        ("GoroutinesGrowing", Signal.THREADS),
        ("KubePodCrashLooping", Signal.RESTARTS),
        ("KubeDeploymentReplicasMismatch", Signal.MISSING_REPLICAS),
        ("NginxConnectionsDropped", Signal.REJECTIONS),
        ("ContainerCpuThrottling", Signal.SATURATION),
        ("HostOutOfFileDescriptors", Signal.FILE_DESCRIPTOR_USE),
    ],
)
def test_what_an_alerts_name_says_is_read_first(name, first):
    assert signals_for([alert(name)], [SHOP])[0] is first


def test_the_component_and_the_usual_suspects_follow_and_nothing_is_read_twice():
    chosen = signals_for([alert("TooManyConnections", job="postgres")], [SHOP])
    assert Signal.CONNECTION_POOL_USE in chosen
    assert {Signal.CACHE_MISSES, Signal.ERROR_RATIO, Signal.UP} <= set(chosen)
    assert len(chosen) == len(set(chosen))
    assert Signal.OTHER not in chosen


def test_a_series_of_unknown_meaning_is_judged_by_its_change_and_keeps_its_title():
    start = NOW - timedelta(minutes=10)
    times = tuple((NOW - timedelta(seconds=15 * n)).timestamp() for n in range(240, -1, -1))
    values = tuple(99.0 if at >= start.timestamp() else 1.0 for at in times)
    series = SignalSeries(
        signal=Signal.OTHER,
        entity=SHOP,
        source="grafana",
        query="q",
        times=times,
        values=values,
        title="Orders (short)",
    )
    baseline = NOW - timedelta(hours=1)
    finding = find(series, incident_start=start, baseline_start=baseline, now=NOW)
    assert finding.shape is Shape.LEVEL_SHIFT, "not saturation: it is no ratio"
    assert finding.title == "Orders (short)"
