"""Weighs how strongly an alert belongs to an incident, with the reasons in words.

Each thing they have in common is a piece of evidence with a weight; pieces combine as in a
noisy-or (Pearl 1988, section 4.3.2): `1 - product(1 - weight)`. The weights are our own judgement,
chosen so that one strong piece (same service, same sick host) suffices, a place in common (job,
namespace, cluster) never does, and are held in place by the seeded storms of the tests.
"""

import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.topology import Topology

SAME_CORE = 0.72
"""The same service, pod or process, or the same host where the host itself is what is sick."""
SAME_TOUCHED = 0.55
"""A host or service that the incident touched, but is not about."""
SAME_SHARED_NODE = 0.25
"""A cluster node, which many unrelated services share."""
SCOPE_LABEL = 0.45
"""A label that names a thing several hosts or services can have in common."""
OTHER_LABEL = 0.25
BROAD_LABEL = 0.05
SAME_NAME = 0.15
SAME_MOMENT = 0.1
SAME_MOMENT_S = 120.0
LABELS_WEIGHT_MAX = 0.6

# fmt: off
SCOPE_LABELS = frozenset({
     "rack", "chassis", "switch", "hypervisor", "vm_host", "datname", "database", "db", "queue",
     "topic", "consumergroup", "consumer_group", "broker", "upstream", "backend", "dependency",
     "peer", "cn", "domain", "server_name", "persistentvolumeclaim", "persistentvolume", "vhost",
     "shard", "ingress", "certificate",
})
BROAD_LABELS = frozenset({
     "namespace", "job", "cluster", "environment", "env", "region", "zone", "stage", "team",
     "owner", "prometheus", "replica", "datacenter", "dc", "tenant", "product", "component",
     "tier", "role", "app_kubernetes_io_part_of", "app_kubernetes_io_managed_by", "project",
     "account", "monitor", "source",
})
IGNORED_LABELS = frozenset({
     "alertname", "severity", "priority", "level", "sev", "instance", "host", "hostname",
     "nodename", "node", "service", "app", "application", "pod", "container", "device",
     "mountpoint", "fstype", "endpoint", "metrics_path", "le", "quantile", "code", "status",
     "method", "mode", "cpu", "state", "condition", "reason", "type", "kernel", "release",
     "machine", "sysname", "interface", "image", "uid", "id", "name", "version", "alertgroup",
})
# fmt: on
_REPORTERS = ("kube-state-metrics", "pushgateway", "cloudwatch", "yace", "stackdriver", "federate")
_WORKLOADS = frozenset({"pod", "deployment", "statefulset", "daemonset", "exported_service"})
_WORKLOAD_OF_POD = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]{0,200}?)(?:-[a-z0-9]{6,10})?-(?:[a-z0-9]{5}|[0-9]{1,3})"
)
_SERVICE_KINDS = frozenset({EntityKind.SERVICE, EntityKind.POD})
_CORE_KINDS = (
    (EntityKind.SERVICE,),
    (EntityKind.POD,),
    (EntityKind.HOST, EntityKind.NODE),
    (EntityKind.INSTANCE,),
)
"""An alert is about the first of these that it names, and touches those after it."""
_HOST_KINDS = frozenset({EntityKind.HOST, EntityKind.NODE})
_ASPECTS = tuple(kind for kinds in _CORE_KINDS for kind in kinds)


class Identity(NamedTuple):
    """What an alert is about (`core`) and what else it names (`touched`)."""

    core: tuple[Entity, ...]
    touched: tuple[Entity, ...]

    @property
    def all(self) -> tuple[Entity, ...]:
        """Both."""
        return self.core + self.touched

    @property
    def has_service(self) -> bool:
        """True if it is about a service, not about a host as such."""
        return any(entity.kind in _SERVICE_KINDS for entity in self.core)


def identity(alert: Alert, topology: Topology) -> Identity:
    """Return what an alert is about: its services if it names one, else its hosts.

    Labels of an exporter that reports about others (kube-state-metrics, Pushgateway) are left out
    when the alert names the other thing.
    """
    entities = list(_trusted(alert))
    if not any(entity.kind is EntityKind.SERVICE for entity in entities):
        entities += _implied_services(alert, topology)
    by_kind = {
        kind: tuple(entity for entity in entities if entity.kind is kind) for kind in _ASPECTS
    }
    for place, kinds in enumerate(_CORE_KINDS):
        if core := tuple(entity for kind in kinds for entity in by_kind[kind]):
            later = (kind for others in _CORE_KINDS[place + 1 :] for kind in others)
            return Identity(core, tuple(entity for kind in later for entity in by_kind[kind]))
    return Identity((), ())


def _implied_services(alert: Alert, topology: Topology) -> Iterator[Entity]:
    for name in alert.names(EntityKind.JOB):
        if name in topology.runs_on or name in topology.calls:
            yield Entity(EntityKind.SERVICE, name)
    for pod in alert.names(EntityKind.POD):
        # Kubernetes names pods WORKLOAD-[HASH-]SUFFIX.
        if match := _WORKLOAD_OF_POD.fullmatch(pod):
            yield Entity(EntityKind.SERVICE, match["name"])


def _trusted(alert: Alert) -> Iterator[Entity]:
    labels = alert.labels
    reporter = f"{labels.get('job', '')} {labels.get('service', '')}"
    is_reported = any(name in reporter for name in _REPORTERS) and not _WORKLOADS.isdisjoint(labels)
    distrusted = {labels.get("service"), labels.get("job")} if is_reported else set()
    for entity in alert.entities:
        is_exporter = is_reported and (
            entity.kind in (EntityKind.INSTANCE, EntityKind.HOST) or entity.name in distrusted
        )
        if not is_exporter:
            yield entity


class Evidence(NamedTuple):
    """One thing in common: its weight and what to tell a person."""

    weight: float
    reason: str


class Match(NamedTuple):
    """How strongly an alert belongs to an incident, and why."""

    score: float
    reason: str
    is_identity: bool
    """True if they share a service or host, rather than being neighbours or alike."""
    side: int = 0
    """1 if the incident is at what the alert's service depends on, -1 if at what depends on it."""
    widens_core: bool = False
    """True if the incident is then also about what the alert is about."""


def combine(evidence: Iterable[Evidence], *, fade: float, is_identity: bool) -> Match:
    """Return the match that pieces of evidence make, faded by distance in time (1: none)."""
    pieces = sorted(evidence, reverse=True)
    doubt = math.prod(1 - piece.weight for piece in pieces)
    reason = "; ".join(piece.reason for piece in pieces[:4])
    return Match(round((1 - doubt) * fade, 4), reason, is_identity)


def rarity(incidents: int, softness: float = 1.0) -> float:
    """Return how distinctive a thing is that this many open incidents have: 1 down to 0."""
    return 1 / (1 + softness * math.log2(max(1, incidents)))


def label_weight(name: str) -> float:
    """Return how much a label of this name says when its value is shared."""
    if name in IGNORED_LABELS:
        return 0.0
    if name in SCOPE_LABELS:
        return SCOPE_LABEL
    return BROAD_LABEL if name in BROAD_LABELS else OTHER_LABEL


def time_gap_s(moment: datetime, first: datetime | None, last: datetime | None) -> float:
    """Return the seconds between a moment and a span; 0 within it, or if there is no span."""
    if first is None or last is None:
        return 0.0
    return max((first - moment).total_seconds(), (moment - last).total_seconds(), 0.0)
