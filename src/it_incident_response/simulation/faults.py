"""The fault library: each fault bends the state and knows which action would mend it.

A fault only changes the state. That an action heals follows from what the action does to the state
(`remedies`), not from a table: a restart replaces a process and with it a leak, but not a release.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.simulation.physics import daily_share, kill
from it_incident_response.simulation.state import Instance, Release, State


@dataclass(frozen=True)
class Remedy:
    """The one action that mends a fault: kind of action, and where."""

    action: str
    host: str | None = None
    service: str | None = None


class Fault(ABC):
    """One thing that goes wrong."""

    kind: ClassVar[str]
    story: ClassVar[str]
    """What goes wrong, in one sentence for people."""
    alerts_within_s: ClassVar[float] = 600.0
    """Bound on the time from its begin to its first alert."""
    ends_by_itself_after_s: ClassVar[float | None] = None

    target: Entity
    remedy: Remedy | None = None
    """None if nothing that we can do helps."""

    @abstractmethod
    def begin(self, state: State) -> None:
        """Bend the state."""

    @abstractmethod
    def is_present(self, state: State) -> bool:
        """Return whether the cause is still there."""

    def end(self, state: State) -> None:
        """Take the cause away, as time or other people do; most faults stay until we act."""
        return


class _InstanceFault(Fault):
    """A fault of one process; a restart replaces the process."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.target = Entity(EntityKind.SERVICE, instance.spec.name)
        self.remedy = Remedy("restart_service", instance.host, instance.spec.name)


class ConnectionLeak(_InstanceFault):
    """Connections are taken from the pool and never given back."""

    kind = "database_connection_timeouts"
    story = "a process leaks database connections until its pool is exhausted"

    def begin(self, state: State) -> None:
        """Start the leak: the pool is used up in four minutes."""
        self.instance.process.leak_connections_per_s = self.instance.spec.pool_size / 240

    def is_present(self, state: State) -> bool:
        """True until the process is replaced."""
        return self.instance.process.leak_connections_per_s > 0


class MemoryLeak(_InstanceFault):
    """Memory that grows until the kernel ends the process."""

    kind = "memory_leak"
    story = "a process leaks memory until the garbage collector stalls it and the kernel kills it"
    alerts_within_s = 1200.0
    minutes_to_limit = 25.0

    def begin(self, state: State) -> None:
        """Start the leak."""
        spec = self.instance.spec
        room = spec.memory_limit_bytes - spec.memory_bytes
        self.instance.process.leak_bytes_per_s = room / (self.minutes_to_limit * 60)

    def is_present(self, state: State) -> bool:
        """True until the process is replaced."""
        return not self.instance.is_up or self.instance.process.leak_bytes_per_s > 0


class OomKill(MemoryLeak):
    """Memory that grows so fast that the process is killed within two minutes."""

    kind = "oom_kill"
    story = "a process takes memory so fast that the kernel kills it; it stays down"
    minutes_to_limit = 1.5
    alerts_within_s = 600.0


class ServiceCrash(_InstanceFault):
    """A process that died and is not started again."""

    kind = "service_down"
    story = "the process of a service crashes and is not started again"

    def begin(self, state: State) -> None:
        """Kill the process."""
        kill(self.instance, "signal")

    def is_present(self, state: State) -> bool:
        """True until it runs again."""
        return not self.instance.is_up


class CacheDown(ServiceCrash):
    """The cache's process died; everything that relied on it works harder."""

    kind = "cache_down"
    story = "the cache crashes; sessions fail and the database gets all the reads"


class RunawayProcess(_InstanceFault):
    """A process that spins on all processors."""

    kind = "cpu_saturation"
    story = "a process runs away and takes all the processors of its host"

    def begin(self, state: State) -> None:
        """Make it spin on as many cores as there are."""
        cores = state.hosts[self.instance.host].spec.cores
        self.instance.process.spin_cores = cores

    def is_present(self, state: State) -> bool:
        """True until the process is replaced."""
        return self.instance.process.spin_cores > 0


class _DeployFault(Fault):
    """A flawed release; only going back to the one before helps."""

    def __init__(self, state: State, service: str, version: str) -> None:
        self.service = state.services[service]
        self.version = version
        self.target = Entity(EntityKind.SERVICE, service)
        self.remedy = Remedy("rollback_deployment", service=service)

    def begin(self, state: State) -> None:
        """Deploy the flawed release."""
        self.service.releases.append(self.release())

    @abstractmethod
    def release(self) -> Release:
        """Return the flawed release."""

    def is_present(self, state: State) -> bool:
        """True until that version is gone."""
        return self.service.release.is_flawed


class BadDeploy(_DeployFault):
    """A release that fails part of the requests."""

    kind = "api_errors_after_deploy"
    story = "a deployment makes a service fail a third of its requests"

    def release(self) -> Release:
        """A third of the requests raise."""
        return Release(self.version, error_share=0.34)


class SlowDeploy(_DeployFault):
    """A release that makes every request slow."""

    kind = "latency_after_deploy"
    story = "a deployment makes every request of a service slow"

    def release(self) -> Release:
        """Every request takes more than a second longer."""
        return Release(self.version, extra_latency_s=1.3)


class DiskFull(Fault):
    """A file system that files fill within minutes."""

    kind = "disk_full"
    story = "archived logs are unpacked into the log folder until nothing can be written any more"
    alerts_within_s = 900.0

    def __init__(self, state: State, host: str, path: str) -> None:
        self.mount = state.hosts[host].mount(path)
        self.path = path
        self.target = Entity(EntityKind.HOST, host)
        self.remedy = Remedy("clean_disk", host)

    def begin(self, state: State) -> None:
        """Fill it within six minutes."""
        free = self.mount.size_bytes - self.mount.used_bytes
        self.mount.growth_bytes_per_s = free / 360
        self.mount.growth_path = self.path

    def is_present(self, state: State) -> bool:
        """True until there is room again."""
        return self.mount.growth_bytes_per_s > 0 or self.mount.used_share > 0.9


class DatabaseDiskFull(DiskFull):
    """The database's own volume is full of backups."""

    kind = "database_disk_full"
    story = "backups fill the database's volume; writes fail and everything behind it slows down"


class CertificateExpiry(Fault):
    """Nobody renewed the certificate of the entrance."""

    kind = "tls_certificate_expiry"
    story = "the TLS certificate of the entrance expires; clients refuse to connect"

    def __init__(self, state: State) -> None:
        entrance = state.services[state.shop.entrance]
        self.target = Entity(EntityKind.SERVICE, entrance.spec.name)
        self.remedy = Remedy("renew_certificate", entrance.instances[0].host)

    def begin(self, state: State) -> None:
        """Let it end in three minutes."""
        state.certificate_expires_at = state.at + 180

    def is_present(self, state: State) -> bool:
        """True until a certificate with a future is in place."""
        return state.certificate_expires_at - state.at < 86400


class NetworkDelay(Fault):
    """A slow path between two hosts; the network people have to mend it."""

    kind = "network_latency"
    story = "packets between two hosts take a quarter of a second longer"
    ends_by_itself_after_s = 3 * 3600.0
    extra_s = 0.25

    def __init__(self, source: str, target: str) -> None:
        self.pair = (source, target)
        self.target = Entity(EntityKind.HOST, source)

    def begin(self, state: State) -> None:
        """Slow the path down, both ways."""
        state.link_delay_s[self.pair] = self.extra_s
        state.link_delay_s[self.pair[::-1]] = self.extra_s

    def is_present(self, state: State) -> bool:
        """True while the path is slow."""
        return self.pair in state.link_delay_s

    def end(self, state: State) -> None:
        """Mend the path."""
        state.link_delay_s.pop(self.pair, None)
        state.link_delay_s.pop(self.pair[::-1], None)


class TrafficSurge(Fault):
    """Many more visitors than usual."""

    kind = "traffic_surge"
    story = "visitors come in such numbers that a service runs out of workers"
    ends_by_itself_after_s = 2 * 3600.0
    peaks = 4.6

    def __init__(self, state: State, service: str) -> None:
        self.service = state.services[service]
        self.target = Entity(EntityKind.SERVICE, service)
        self.remedy = Remedy("scale_service", service=service)
        self._replicas_before = self.service.replicas

    def begin(self, state: State) -> None:
        """Send as many as `peaks` times the busiest time of a day."""
        state.surge = self.peaks / daily_share(state.at)

    def is_present(self, state: State) -> bool:
        """True until there are 1.4 times the replicas, or the visitors have gone."""
        return state.surge > 1.0 and self.service.replicas < 1.4 * self._replicas_before

    def end(self, state: State) -> None:
        """The visitors go."""
        state.surge = 1.0


class ProviderOutage(Fault):
    """The card processor does not answer; it is not ours to mend."""

    kind = "dependency_outage"
    story = "an external provider does not answer; payments fail until it is back"
    ends_by_itself_after_s = 3600.0

    def __init__(self, state: State) -> None:
        self.target = Entity(EntityKind.SERVICE, state.shop.payer)

    def begin(self, state: State) -> None:
        """Let nearly all calls time out."""
        state.provider_up_share = 0.04

    def is_present(self, state: State) -> bool:
        """True while it is away."""
        return state.provider_up_share < 0.9

    def end(self, state: State) -> None:
        """It is back."""
        state.provider_up_share = 1.0


Choice = Callable[[Sequence[str]], str]
Maker = Callable[[State, Choice], Fault]


def _pooled(state: State, choose: Choice) -> Fault:
    service = state.services[choose(["checkout", "catalog"])]
    return ConnectionLeak(service.instances[0])


def _any_instance(state: State, choose: Choice, *services: str) -> Instance:
    service = state.services[choose(services)]
    host = choose([instance.host for instance in service.instances])
    return next(instance for instance in service.instances if instance.host == host)


def _next_version(state: State, service: str) -> str:
    major, minor, _ = state.services[service].release.version.split(".")
    return f"{major}.{int(minor) + 1}.0"


def _bad_deploy(state: State, choose: Choice) -> Fault:
    service = choose(["api", "checkout", "catalog"])
    return BadDeploy(state, service, _next_version(state, service))


def _slow_deploy(state: State, choose: Choice) -> Fault:
    service = choose(["api", "search", "storefront"])
    return SlowDeploy(state, service, _next_version(state, service))


def _disk_full(state: State, choose: Choice) -> Fault:
    return DiskFull(state, choose(["app-1", "app-2", "pay-1", "web-1"]), "/var/log/shop")


def _network(state: State, choose: Choice) -> Fault:
    source, target = choose(["app-2>db-1", "app-1>db-1"]).split(">")
    return NetworkDelay(source, target)


FAULTS: dict[str, Maker] = {
    "database_connection_timeouts": _pooled,
    "api_errors_after_deploy": _bad_deploy,
    "memory_leak": lambda s, choose: MemoryLeak(_any_instance(s, choose, "catalog", "checkout")),
    "disk_full": _disk_full,
    "tls_certificate_expiry": lambda s, choose: CertificateExpiry(s),
    "service_down": lambda s, choose: ServiceCrash(
        _any_instance(s, choose, "checkout", "payments", "storefront", "search", "catalog")
    ),
    "cpu_saturation": lambda s, choose: RunawayProcess(_any_instance(s, choose, "search")),
    "oom_kill": lambda s, choose: OomKill(_any_instance(s, choose, "payments", "catalog")),
    "network_latency": _network,
    "latency_after_deploy": _slow_deploy,
    "traffic_surge": lambda s, choose: TrafficSurge(s, "storefront"),
    "dependency_outage": lambda s, choose: ProviderOutage(s),
    "cache_down": lambda s, choose: CacheDown(s.services[s.shop.cache].instances[0]),
    "database_disk_full": lambda s, choose: DatabaseDiskFull(
        s, s.services[s.shop.database].instances[0].host, "/var/lib/postgresql/backups"
    ),
}
"""Kind of fault to the function that chooses its target and makes it."""


def make_fault(kind: str, state: State, rng: np.random.Generator) -> Fault:
    """Return a fault of this kind for this world; raises `KeyError` for an unknown kind."""
    return FAULTS[kind](state, lambda names: names[int(rng.integers(len(names)))])
