"""From entities to targets: exact look-ups in the inventory, in the order of the entities."""

from collections.abc import Iterable, Sequence

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.errors import TargetUnknown

Placed = tuple[HostEntry, ServiceEntry]

HOST_LIKE = frozenset({EntityKind.HOST, EntityKind.NODE, EntityKind.INSTANCE})
"""The kinds whose names may name a host; an instance may be a host's alias or a service's."""

SERVICE_LIKE = frozenset(
    {
        EntityKind.SERVICE,
        EntityKind.JOB,
        EntityKind.INSTANCE,
        EntityKind.CONTAINER,
        EntityKind.POD,
    }
)
"""The kinds whose names may name a service."""


def hosts_named(entities: Iterable[Entity], inventory: Inventory) -> tuple[HostEntry, ...]:
    """Return the hosts that the entities name, each once."""
    named = (inventory.host(entity.name) for entity in entities if entity.kind in HOST_LIKE)
    return tuple({host.name: host for host in named if host is not None}.values())


def hosts_concerned(entities: Sequence[Entity], inventory: Inventory) -> tuple[HostEntry, ...]:
    """Return the hosts that are named, or, if none is, those of the named services."""
    if hosts := hosts_named(entities, inventory):
        return hosts
    placed = _services_named(entities, inventory)
    return tuple({host.name: host for host, _ in placed}.values())


def services_concerned(entities: Sequence[Entity], inventory: Inventory) -> tuple[Placed, ...]:
    """Return (host, service) pairs: the named services, on the named hosts where both are named.

    A host named alone stands for its service if it runs exactly one; which of several is meant
    would be a guess.
    """
    placed = _services_named(entities, inventory)
    hosts = hosts_named(entities, inventory)
    names = {host.name for host in hosts}
    if placed:
        return tuple(pair for pair in placed if pair[0].name in names) or placed
    return tuple((host, host.services[0]) for host in hosts if len(host.services) == 1)


def service_names_concerned(entities: Sequence[Entity], inventory: Inventory) -> tuple[str, ...]:
    """Return the inventory's names of the services concerned, each once."""
    pairs = services_concerned(entities, inventory)
    called = {name for callees in inventory.depends_on.values() for name in callees}
    known = called | set(inventory.depends_on)
    named = [e.name for e in entities if e.kind in SERVICE_LIKE and e.name in known]
    return tuple(dict.fromkeys([*(service.name for _, service in pairs), *named]))


def require_service(kind: str, service: str, inventory: Inventory) -> None:
    """Raise `TargetUnknown` unless the inventory has a service of exactly this name."""
    placed = {entry.name for host in inventory.hosts for entry in host.services}
    called = {name for callees in inventory.depends_on.values() for name in callees}
    if service not in placed | called | set(inventory.depends_on):
        raise TargetUnknown(
            f"{kind}: service {service!r} is not in the inventory",
            hint="list it under `services` of the hosts it runs on, or correct the name",
        )


def require_listed(kind: str, value: str, allowed: Iterable[str], where: str) -> None:
    """Raise `TargetUnknown` unless `value` is one of the allowed ones, letter for letter."""
    if value not in set(allowed):
        raise TargetUnknown(
            f"{kind}: {value!r} is not listed as {where} in the inventory",
            hint=f"only what `{where}` lists may be a target; add it there if it should be one",
        )


def entry_of(host: str | None, inventory: Inventory) -> HostEntry:
    """Return the host of exactly this name; raises `TargetUnknown`."""
    for entry in inventory.hosts:
        if entry.name == host:
            return entry
    raise TargetUnknown(
        f"host {host!r} is not in the inventory",
        hint="add it under `inventory.hosts`, or correct the name",
    )


def _services_named(entities: Iterable[Entity], inventory: Inventory) -> tuple[Placed, ...]:
    found = (
        pair
        for entity in entities
        if entity.kind in SERVICE_LIKE
        for pair in inventory.locate(entity.name)
    )
    return tuple({(host.name, service.name): (host, service) for host, service in found}.values())
