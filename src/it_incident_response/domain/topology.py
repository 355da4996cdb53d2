"""Topology: who calls whom and what runs where; used by correlation and ranking."""

from collections.abc import Mapping

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value


class Topology(Value):
    """A directed graph of services and where they run."""

    calls: Mapping[str, frozenset[str]] = {}
    """Service name to the names of the services it depends on."""
    runs_on: Mapping[str, frozenset[str]] = {}
    """Service name to the names of its hosts."""

    @classmethod
    def from_inventory(cls, inventory: Inventory) -> "Topology":
        """Return the graph that the inventory states."""
        runs_on: dict[str, set[str]] = {}
        for host in inventory.hosts:
            for service in host.services:
                runs_on.setdefault(service.name, set()).add(host.name)
        return cls(
            calls={name: frozenset(deps) for name, deps in inventory.depends_on.items()},
            runs_on={name: frozenset(hosts) for name, hosts in runs_on.items()},
        )

    def united(self, other: "Topology") -> "Topology":
        """Return the graph with the edges of both."""
        return Topology(
            calls=_united(self.calls, other.calls), runs_on=_united(self.runs_on, other.runs_on)
        )

    def callers(self, service: str) -> frozenset[str]:
        """Return the services that depend directly on `service`."""
        return frozenset(name for name, deps in self.calls.items() if service in deps)

    def neighbours(self, entity: Entity) -> frozenset[Entity]:
        """Return services one call away, either way, and the hosts or services in its place."""
        if entity.kind is EntityKind.SERVICE:
            services = self.calls.get(entity.name, frozenset()) | self.callers(entity.name)
            hosts = self.runs_on.get(entity.name, frozenset())
            return frozenset(
                [Entity(EntityKind.SERVICE, name) for name in services]
                + [Entity(EntityKind.HOST, name) for name in hosts]
            )
        if entity.kind in (EntityKind.HOST, EntityKind.NODE):
            return frozenset(
                Entity(EntityKind.SERVICE, service)
                for service, hosts in self.runs_on.items()
                if entity.name in hosts
            )
        return frozenset()


def _united(
    first: Mapping[str, frozenset[str]], second: Mapping[str, frozenset[str]]
) -> Mapping[str, frozenset[str]]:
    none: frozenset[str] = frozenset()
    return {name: first.get(name, none) | second.get(name, none) for name in {*first, *second}}
