"""How trouble travels in the topology: from what is sick to what depends on it, a few steps far."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from it_incident_response.analysis.affinity import rarity
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.topology import Topology

STEP_WEIGHTS = (0.6, 0.5, 0.45)
"""Weight of a link of one, two, three steps; the last two need to begin at the same moment too."""
STEPS_MAX = 3
CALLS_MAX = 2
"""Calls that a link goes along at most; a third step is from a service to its host."""
DEDICATED_SERVICES_MAX = 4
_HOST_KINDS = frozenset({EntityKind.HOST, EntityKind.NODE})


class Link(NamedTuple):
    """How one thing is connected with another one."""

    weight: float
    steps: int
    side: int
    """1: the other is what it depends on; -1: the other depends on it; 0: neither."""
    reason: str
    is_dedicated: bool = False
    """A host and a service that few others share it with: they are as good as one."""


class Reach:
    """The links of each entity, found once."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._callers: dict[str, set[str]] = {}
        for name, callees in topology.calls.items():
            for callee in callees:
                self._callers.setdefault(callee, set()).add(name)
        self._on_host: dict[str, set[str]] = {}
        for name, hosts in topology.runs_on.items():
            for host in hosts:
                self._on_host.setdefault(host, set()).add(name)
        self._links: dict[Entity, Mapping[Entity, Link]] = {}
        self._size = len(self._on_host) + len({*topology.calls, *topology.runs_on, *self._callers})

    def links(self, entity: Entity) -> Mapping[Entity, Link]:
        """Return what an entity is connected with: along dependencies, and hosts of one service.

        Services that only call the same one are not connected.
        """
        if entity not in self._links:
            self._links[entity] = self._find(entity)
        return self._links[entity]

    def extends(self, one: Entity, other: Entity) -> bool:
        """Return whether trouble of `one` makes `other` a likely part of the same cause.

        True for what `one` calls, and between a service and a host that few others share: on a
        host of many services one's trouble is not the others'.
        """
        link = self.links(one).get(other)
        if link is None or link.steps > 1:
            return False
        return link.is_dedicated or (link.side > 0 and one.kind is EntityKind.SERVICE)

    def _find(self, entity: Entity) -> Mapping[Entity, Link]:
        found: dict[Entity, Link] = {}
        walk = self._from_host if entity.kind in _HOST_KINDS else self._from_service
        for other, link in walk(entity):
            if other != entity and (other not in found or link.weight > found[other].weight):
                found[other] = link
        return found

    def chance(self, entity: Entity, steps: int) -> float:
        """Return the share of all things that lie within so many steps of this one.

        Times the number of unrelated incidents it is how many of them would be met by chance.
        """
        if not self._size:
            return 0.0
        return sum(link.steps <= steps for link in self.links(entity).values()) / self._size

    def _from_service(self, service: Entity) -> Iterator[tuple[Entity, Link]]:
        for name in self._topology.runs_on.get(service.name, ()):
            yield Entity(EntityKind.HOST, name), self._hosting(service.name, name, side=1)
        for steps, name in self._along(self._topology.calls, service.name):
            yield self._called(service.name, name, steps, side=1)
            for host in self._topology.runs_on.get(name, ()):
                reason = f"service {service.name} depends on host {host}, through {name}"
                link = Link(STEP_WEIGHTS[steps], steps + 1, 1, reason)
                yield Entity(EntityKind.HOST, host), link
        for steps, name in self._along(self._callers, service.name):
            yield self._called(service.name, name, steps, side=-1)

    def _from_host(self, host: Entity) -> Iterator[tuple[Entity, Link]]:
        for service in self._on_host.get(host.name, ()):
            yield Entity(EntityKind.SERVICE, service), self._hosting(service, host.name, side=-1)
            for steps, name in self._along(self._callers, service):
                reason = f"service {name} depends on host {host.name}, through {service}"
                link = Link(STEP_WEIGHTS[steps], steps + 1, -1, reason)
                yield Entity(EntityKind.SERVICE, name), link
            yield from self._beside(service, host.name)

    def _beside(self, service: str, host: str) -> Iterator[tuple[Entity, Link]]:
        """Yield the other hosts of a service, where hosts are for few services each."""
        hosts = self._topology.runs_on.get(service, frozenset())
        if host not in hosts or not all(self._is_dedicated(name) for name in hosts):
            return
        for name in hosts:
            first, second = sorted((host, name))
            reason = f"hosts {first} and {second} both run service {service}"
            yield Entity(EntityKind.HOST, name), Link(STEP_WEIGHTS[1], 2, 0, reason)

    def _is_dedicated(self, host: str) -> bool:
        return len(self._on_host.get(host, ())) <= DEDICATED_SERVICES_MAX

    @staticmethod
    def _along(
        edges: Mapping[str, frozenset[str] | set[str]], start: str
    ) -> Iterator[tuple[int, str]]:
        seen, front = {start}, {start}
        for steps in range(1, CALLS_MAX + 1):
            front = {name for near in front for name in edges.get(near, ())} - seen
            seen |= front
            yield from ((steps, name) for name in sorted(front))

    def _called(self, service: str, other: str, steps: int, *, side: int) -> tuple[Entity, Link]:
        caller, callee = (service, other) if side > 0 else (other, service)
        verb = "calls" if steps == 1 else "depends on"
        weight = STEP_WEIGHTS[steps - 1]
        if steps == 1:  # an edge between two hubs says little
            weight *= rarity(min(self._degree(service), self._degree(other)), 0.1)
        link = Link(weight, steps, side, f"service {caller} {verb} service {callee}")
        return Entity(EntityKind.SERVICE, other), link

    def _hosting(self, service: str, host: str, *, side: int) -> Link:
        sharers = len(self._on_host.get(host, ()))
        is_dedicated = self._is_dedicated(host)
        weight = STEP_WEIGHTS[0] if is_dedicated else STEP_WEIGHTS[0] * rarity(sharers, 0.1)
        return Link(weight, 1, side, f"service {service} runs on host {host}", is_dedicated)

    def _degree(self, service: str) -> int:
        calls, hosts = self._topology.calls, self._topology.runs_on
        return (
            len(calls.get(service, ()))
            + len(self._callers.get(service, ()))
            + len(hosts.get(service, ()))
        )
