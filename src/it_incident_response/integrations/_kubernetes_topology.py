"""Which service runs on which nodes, by selectors, endpoints and owner references."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from it_incident_response.domain.topology import Topology
from it_incident_response.integrations._kubernetes_changes import controller, service_label
from it_incident_response.integrations.change_payloads.fields import Fields

_SERVICE_OF_SLICE = "kubernetes.io/service-name"
_HASH = "pod-template-hash"
_WORKLOADS = ("StatefulSet", "DaemonSet", "Job")


class _Pod(NamedTuple):
    namespace: str
    node: str
    labels: dict[str, str]
    names: frozenset[str]
    """Of its workload, and of the service it says it belongs to."""


def topology_of(
    services: Iterable[Fields], slices: Iterable[Fields], pods: Iterable[Fields]
) -> Topology:
    """Return the nodes of every service and every workload.

    Namespaces do not count: what has one name in two of them is one service here, as it is in
    most labels of metrics and logs.
    """
    runs_on: dict[str, set[str]] = defaultdict(set)
    placed = [pod for item in pods if (pod := _pod(item)) is not None]
    for pod in placed:
        for own in pod.names:
            runs_on[own].add(pod.node)
    for service in services:
        if (name := service.text("metadata", "name")) is not None:
            runs_on[name] |= _selected(service, placed)
    for part in slices:
        if (of := part.text("metadata", "labels", _SERVICE_OF_SLICE)) is not None:
            nodes = (each.text("nodeName") for each in part.each("endpoints", limit=1000))
            runs_on[of] |= {node for node in nodes if node}
    return Topology(runs_on={name: frozenset(nodes) for name, nodes in runs_on.items() if nodes})


def _selected(service: Fields, pods: Sequence[_Pod]) -> set[str]:
    selector = _texts(service, "spec", "selector")
    if not selector:
        return set()  # Without one the endpoints are made by hand, or there are none.
    namespace = service.text("metadata", "namespace")
    wanted = selector.items()
    return {p.node for p in pods if p.namespace == namespace and wanted <= p.labels.items()}


def _pod(item: Fields) -> _Pod | None:
    node = item.text("spec", "nodeName")
    if node is None or item.text("status", "phase") in ("Succeeded", "Failed"):
        return None
    names = {_workload(item), service_label(item)} - {None}
    return _Pod(
        namespace=item.text("metadata", "namespace") or "",
        node=node,
        labels=_texts(item, "metadata", "labels"),
        names=frozenset(name for name in names if name),
    )


def _workload(item: Fields) -> str | None:
    replica_set = controller(item, "ReplicaSet")
    if replica_set is not None:
        # The Deployment's name, the hash cut off: asking for every ReplicaSet would tell no more.
        template = item.text("metadata", "labels", _HASH)
        return replica_set.removesuffix(f"-{template}") if template else replica_set
    owners = (controller(item, kind) for kind in _WORKLOADS)
    return next((owner for owner in owners if owner), None)


def _texts(item: Fields, *path: str) -> dict[str, str]:
    found = item.value(*path)
    pairs = list(found.items())[:100] if isinstance(found, dict) else ()
    return {str(name): text for name, text in pairs if isinstance(text, str)}
