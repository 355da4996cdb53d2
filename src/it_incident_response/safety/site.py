"""Where a step acts: the inventory hosts and the services it touches."""

from typing import NamedTuple

from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.domain.plan import PlanStep

BY_HAND = "person"
"""`PlanStep.executor` of a step that a person carries out: no target of ours is touched."""

_ON_A_HOST = (EntityKind.HOST, EntityKind.NODE, EntityKind.INSTANCE)


class Site(NamedTuple):
    """The place of a step, by the names of the inventory."""

    hosts: tuple[HostEntry, ...]
    services: tuple[str, ...]
    named_host: str | None
    is_by_hand: bool

    @classmethod
    def of(cls, step: PlanStep, inventory: Inventory) -> "Site":
        """Return where `step` acts; a service without a host acts wherever it runs."""
        named = step.host
        if named is None and step.target.kind in _ON_A_HOST:
            named = step.target.name
        service = step.target.name if step.target.kind is EntityKind.SERVICE else None
        if named is not None:
            entry = inventory.host(named)
            hosts = [entry] if entry is not None else []
        else:
            hosts = [host for host, _ in inventory.locate(service)] if service else []
        return cls(tuple(hosts), _services(step, tuple(hosts)), named, step.executor == BY_HAND)

    @property
    def is_known(self) -> bool:
        """True if the inventory lists the place, or no place of ours is touched."""
        return self.is_by_hand or bool(self.hosts)

    @property
    def host_names(self) -> tuple[str, ...]:
        """Inventory names of the hosts."""
        return tuple(host.name for host in self.hosts)

    @property
    def environments(self) -> tuple[str, ...]:
        """The hosts' environments, each once."""
        return tuple(dict.fromkeys(host.environment for host in self.hosts))

    @property
    def every_name(self) -> tuple[str, ...]:
        """Everything the hosts are called: a ban on one name holds under every alias."""
        names = [n for host in self.hosts for n in (host.name, host.address, *host.aliases)]
        return tuple(dict.fromkeys([*names, *([self.named_host] if self.named_host else [])]))


def _services(step: PlanStep, hosts: tuple[HostEntry, ...]) -> tuple[str, ...]:
    """Return the services meant by target or parameters, also by their inventory names."""
    said = [step.target.name] if step.target.kind is EntityKind.SERVICE else []
    said += [v for k in ("service", "unit") if isinstance(v := step.action.parameters.get(k), str)]
    listed = [e.name for host in hosts for e in host.services if any(_is(e, name) for name in said)]
    return tuple(dict.fromkeys([*said, *listed]))


def _is(entry: ServiceEntry, name: str) -> bool:
    return name in (entry.name, entry.unit, *entry.aliases)
