"""A seeded alert storm with known causes: the input of the correlation tests and benchmark."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.labels import make_alert
from it_incident_response.domain.topology import Topology

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVICE_ALERTS = [
    "HighErrorRate", "HighLatency", "ServiceDown", "ProbeFailed", "QueueBacklog", "PoolExhausted",
    "CrashLooping", "TooManyRestarts", "SlowQueries", "SloBurnRate", "RequestTimeouts", "GcPauses",
]  # fmt: skip
HOST_ALERTS = [
    "InstanceDown", "HostOutOfMemory", "HostOutOfDiskSpace", "HostHighCpuLoad", "HostOomKill",
    "NodeFilesystemAlmostOutOfSpace", "HostNetworkErrors", "HostClockSkew", "HostDiskSlow",
]  # fmt: skip


@dataclass
class Storm:
    """Reports in order of delivery, the cause of each fingerprint, and the true topology."""

    reports: list[Alert]
    causes: dict[str, int]
    topology: Topology


@dataclass(frozen=True)
class StormShape:
    causes: int = 50
    alerts: int = 10_000
    services_per_cause: int = 2
    hosts_per_cause: int = 4
    shared_nodes: int = 0
    """Cluster nodes that the pods of all causes run on; 0: none."""
    spread_s: float = 600
    duplicates: float = 0.2
    flaps: float = 0.05
    kubernetes: bool = False


def make_storm(seed: int, shape: StormShape = StormShape()) -> Storm:
    """Return a storm of `shape.alerts` different alerts, plus duplicates and flaps."""
    rng = random.Random(seed)
    timed: list[tuple[float, dict[str, str], AlertStatus, float]] = []
    causes: dict[str, int] = {}
    calls: dict[str, frozenset[str]] = {}
    runs_on: dict[str, frozenset[str]] = {}
    for number in range(shape.causes):
        began = rng.uniform(0, shape.spread_s)
        services = [f"svc-{number:02}-{i}" for i in range(shape.services_per_cause)]
        hosts = [f"host-{number:02}-{i}" for i in range(shape.hosts_per_cause)]
        for upper, lower in zip(services[1:], services, strict=False):
            calls[upper] = frozenset([lower])
        for service in services:
            runs_on[service] = frozenset(hosts)
        for index in range(shape.alerts // shape.causes):
            labels = _labels(rng, shape, services, hosts, index)
            at = began + rng.expovariate(1 / 60)
            timed.append((at, labels, AlertStatus.FIRING, at))
            if rng.random() < shape.duplicates:
                timed.append((at + rng.uniform(1, 300), labels, AlertStatus.FIRING, at))
            if rng.random() < shape.flaps:
                timed.append((at + 20, labels, AlertStatus.RESOLVED, at))
                timed.append((at + 40, labels, AlertStatus.FIRING, at + 40))
            causes[str(sorted(labels.items()))] = number
    timed.sort(key=lambda item: item[0])
    reports = [_report(*item) for item in timed]
    by_fingerprint = {r.fingerprint: causes[str(sorted(r.labels.items()))] for r in reports}
    return Storm(reports, by_fingerprint, Topology(calls=calls, runs_on=runs_on))


def _labels(rng, shape, services, hosts, index):
    labels = {
        "cluster": "prod-eu",
        "environment": "production",
        "region": "eu-west-1",
        "prometheus": "monitoring/main",
        "severity": rng.choice(["critical", "warning", "info"]),
        "team": rng.choice(["payments", "search", "platform"]),
        "replica": str(index),  # makes the alerts of a cause different ones
    }
    host, service = rng.choice(hosts), rng.choice(services)
    kind = rng.random()
    if kind < 0.4:
        labels |= {"alertname": rng.choice(HOST_ALERTS), "instance": f"{host}:9100", "job": "node"}
        labels |= {"device": "/dev/sda1", "mountpoint": "/", "fstype": "ext4"}
    elif kind < 0.7 and not shape.kubernetes:
        labels |= {"alertname": rng.choice(SERVICE_ALERTS), "service": service, "job": "app"}
        labels |= {"instance": f"{host}:8080", "namespace": "shop"}
    elif shape.kubernetes:
        labels |= {"alertname": rng.choice(SERVICE_ALERTS), "namespace": "shop"}
        labels |= {"pod": f"{service}-7d9f8b6c{index % 10}5-x2{index % 7}z{index % 9}"}
        labels |= {"job": "kube-state-metrics", "instance": "10.0.0.9:8080"}
        if shape.shared_nodes:
            labels["node"] = f"node-{rng.randrange(shape.shared_nodes)}"
    else:
        labels |= {"alertname": rng.choice(SERVICE_ALERTS), "service": service, "job": "app"}
    return labels


def _report(at, labels, status, starts):
    received = START + timedelta(seconds=at)
    return make_alert(
        labels=labels,
        annotations={"summary": f"{labels['alertname']} for 1 minute"},
        status=status,
        starts_at=START + timedelta(seconds=starts),
        ends_at=received if status is AlertStatus.RESOLVED else None,
        received_at=received,
        source="storm",
    )
