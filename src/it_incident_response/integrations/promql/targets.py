"""How the things we ask about are named in labels: the matchers that find an entity's series."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import Inventory
from it_incident_response.integrations.promql.escaping import any_of_regex, matcher

_NAMES = {
    EntityKind.HOST: ("host", "hostname", "nodename", "node", "exported_host"),
    EntityKind.NODE: ("node", "kubernetes_node", "nodename"),
    EntityKind.SERVICE: (
        "service",
        "app",
        "application",
        "app_kubernetes_io_name",
        "service_name",
        "exported_service",
        "deployment",
        "statefulset",
        "daemonset",
        "job",
        "container",
        "groupname",
        "container_label_com_docker_compose_service",
    ),
    EntityKind.JOB: ("job", "exported_job"),
    EntityKind.POD: ("pod", "pod_name", "exported_pod"),
    EntityKind.CONTAINER: ("container", "container_name"),
}
"""Labels whose value is the entity's name, the likeliest first."""


class Target(NamedTuple):
    """One way to find an entity's series."""

    label: str
    matcher: str


def targets_of(entity: Entity, inventory: Inventory) -> tuple[Target, ...]:
    """Return the ways to find an entity's series, the likeliest first; none for some kinds."""
    if entity.kind in (EntityKind.HOST, EntityKind.NODE):
        return _host_targets(entity, inventory)
    if entity.kind is EntityKind.SERVICE:
        return _service_targets(entity.name, inventory)
    if entity.kind is EntityKind.INSTANCE:
        return (Target("instance", matcher("instance", "=", entity.name)),)
    return tuple(_by_name(entity.kind, (entity.name,)))


def _host_targets(entity: Entity, inventory: Inventory) -> tuple[Target, ...]:
    """Match `instance` as a bare name, `name:port`, `[v6]:port` or a URL of the host."""
    names = [entity.name]
    if host := inventory.host(entity.name):
        names += [host.name, host.address, *host.aliases]
    names = list(dict.fromkeys(names))
    address = rf"([a-z]+://)?\[?({any_of_regex(names)})\]?(:[0-9]+)?(/.*)?"
    found = [Target("instance", matcher("instance", "=~", address))]
    return (*found, *_by_name(entity.kind, names))


def _service_targets(name: str, inventory: Inventory) -> tuple[Target, ...]:
    entries = [entry for _, entry in inventory.locate(name)]
    names = dict.fromkeys([name, *(n for e in entries for n in (e.name, *e.aliases))])
    units = dict.fromkeys([f"{name}.service", *(e.unit for e in entries if e.unit)])
    found = list(_by_name(EntityKind.SERVICE, names))
    addresses = [alias for alias in names if ":" in alias or "/" in alias]
    if addresses:
        found.append(Target("instance", matcher("instance", "=~", any_of_regex(addresses))))
    # A systemd unit of node_exporter, or a container of cAdvisor without Kubernetes.
    found.append(Target("name", matcher("name", "=~", any_of_regex([*units, *names]))))
    return tuple(found)


def _by_name(kind: EntityKind, names: Iterable[str]) -> Iterator[Target]:
    values = list(names)
    for label in _NAMES.get(kind, ()):
        if len(values) == 1:
            yield Target(label, matcher(label, "=", values[0]))
        else:
            yield Target(label, matcher(label, "=~", any_of_regex(values)))
