"""What is so in the simulated world at one moment; physics, faults and actions change it."""

from dataclasses import dataclass, field

import numpy as np

from it_incident_response.simulation.shop import HostSpec, ServiceSpec, Shop

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram; the client libraries' defaults. +Inf follows."""
CODES = ("200", "404", "500", "503", "504")
CERTIFICATE_LIFETIME_S = 90 * 86400.0
DISK_FULL_SHARE = 0.995
"""Used share of a file system from which on writes fail."""


@dataclass
class Release:
    """One version of a service, with the flaws that every process of it has."""

    version: str
    extra_latency_s: float = 0.0
    error_share: float = 0.0

    @property
    def is_flawed(self) -> bool:
        """True if it misbehaves."""
        return self.extra_latency_s > 0 or self.error_share > 0


@dataclass
class Process:
    """One running process; a restart replaces it, and with it all that only it suffers from."""

    started_at: float
    leak_bytes_per_s: float = 0.0
    leaked_bytes: float = 0.0
    leak_connections_per_s: float = 0.0
    leaked_connections: float = 0.0
    spin_cores: float = 0.0
    codes: list[float] = field(default_factory=lambda: [0.0] * len(CODES))
    buckets: list[float] = field(default_factory=lambda: [0.0] * (len(LATENCY_BUCKETS_S) + 1))
    latency_sum_s: float = 0.0
    cpu_seconds: float = 0.0


@dataclass
class Trouble:
    """That a share of an instance's requests failed in one tick, and why."""

    reason: str
    """A kind of `log_lines.TEMPLATES`."""
    share: float
    detail: str = ""


@dataclass
class Instance:
    """One service on one host, and how it did in the last tick."""

    spec: ServiceSpec
    host: str
    process: Process
    is_up: bool = True
    outage_s: float = 0.0
    """Seconds of the coming tick in which it is being restarted."""
    last_exit: str = ""
    restarts: int = 0
    noise: float = 1.0
    rate: float = 0.0
    latency_s: float = 0.0
    """Median of the requests that nothing holds up."""
    slow_share: float = 0.0
    """Share of the requests that wait for something until a limit."""
    slow_s: float = 0.0
    error_share: float = 0.0
    shed_share: float = 0.0
    timeout_share: float = 0.0
    pool_in_use: float = 0.0
    workers_busy: float = 0.0
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def address(self) -> str:
        """`host:port`, as Prometheus calls the instance."""
        return f"{self.host}:{self.spec.port}"

    @property
    def rss_bytes(self) -> float:
        """Resident memory."""
        grown = self.spec.memory_bytes * (0.93 + 0.07 * self.noise)
        return grown + self.process.leaked_bytes

    @property
    def mean_latency_s(self) -> float:
        """Mean over the quick and the held-up requests."""
        return (1 - self.slow_share) * self.latency_s + self.slow_share * self.slow_s


@dataclass
class Service:
    """All instances of one service, and how it looks to its callers."""

    spec: ServiceSpec
    instances: list[Instance]
    releases: list[Release]
    replicas: int
    error_share: float = 0.0
    latency_s: float = 0.0
    slow_share: float = 0.0
    slow_s: float = 0.0

    @property
    def release(self) -> Release:
        """The version that runs."""
        return self.releases[-1]

    @property
    def capacity(self) -> float:
        """Replicas as a multiple of the normal number."""
        return self.replicas / len(self.instances)

    @property
    def mean_latency_s(self) -> float:
        """Mean over the quick and the held-up requests."""
        return (1 - self.slow_share) * self.latency_s + self.slow_share * self.slow_s

    @property
    def is_down(self) -> bool:
        """True while no instance answers."""
        return not any([instance.is_up for instance in self.instances])


@dataclass
class Mount:
    """One file system."""

    path: str
    device: str
    size_bytes: float
    used_bytes: float
    reclaimable: dict[str, float] = field(default_factory=dict)
    """Folder to the bytes of old files that can be deleted there."""
    growth_bytes_per_s: float = 0.0
    growth_path: str = ""

    @property
    def used_share(self) -> float:
        """0 to 1."""
        return self.used_bytes / self.size_bytes


@dataclass
class Host:
    """One machine, with the counters its node exporter shows."""

    spec: HostSpec
    mounts: list[Mount]
    boot_at: float
    cpu_share: float = 0.0
    cpu_demand: float = 0.0
    """Like `cpu_share`, but not limited to 1."""
    memory_available_bytes: float = 0.0
    disk_busy_share: float = 0.0
    cpu_seconds: dict[str, float] = field(
        default_factory=lambda: {"idle": 0.0, "iowait": 0.0, "system": 0.0, "user": 0.0}
    )
    """Per core, by mode."""
    io_seconds: float = 0.0
    network_bytes: float = 0.0
    network_errors: float = 0.0
    oom_kills: int = 0

    def mount(self, path: str) -> Mount:
        """Return the file system that holds a path: the longest mount point it lies below."""
        below = [m for m in self.mounts if (path + "/").startswith(m.path.rstrip("/") + "/")]
        return max(below, key=lambda m: len(m.path))


@dataclass
class State:
    """The whole world at one moment."""

    shop: Shop
    at: float
    """Unix seconds."""
    hosts: dict[str, Host]
    services: dict[str, Service]
    certificate_expires_at: float
    certificate_renewal_works: bool = True
    renewals: int = 0
    """How often the renewal unit has been started."""
    renewed_at: float = 0.0
    surge: float = 1.0
    link_delay_s: dict[tuple[str, str], float] = field(default_factory=dict)
    """(host, other host) to the extra round-trip time; both directions are listed."""
    provider_up_share: float = 1.0
    provider_latency_s: float = 0.18
    cache_cold_share: float = 0.0
    """1 while the cache knows nothing, falling to 0 as it warms up."""
    database_cold_share: float = 0.0
    demand_rps: float = 0.0
    latest_noise: float = 0.0
    instances: list[Instance] = field(init=False)
    """Every instance, in the order of the shop; which ones there are never changes."""
    by_host: dict[str, list[Instance]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.instances = [i for service in self.services.values() for i in service.instances]
        for instance in self.instances:
            self.by_host.setdefault(instance.host, []).append(instance)

    def on_host(self, host: str) -> list[Instance]:
        """Return the instances that run on a host; none if it is unknown."""
        return self.by_host.get(host, [])

    def by_unit(self, host: str, unit: str) -> Instance | None:
        """Return the instance that a host's systemd runs as this unit."""
        return next((i for i in self.on_host(host) if i.spec.unit == unit), None)

    @property
    def certificate_has_expired(self) -> bool:
        """True once the entrance's certificate is past its end."""
        return self.at >= self.certificate_expires_at


def new_state(shop: Shop, at: float, rng: np.random.Generator) -> State:
    """Return a healthy world as of `at`."""
    hosts = {
        spec.name: Host(
            spec,
            [
                Mount(m.path, m.device, m.size_bytes, m.size_bytes * m.used_share)
                for m in spec.mounts
            ],
            boot_at=at - float(rng.integers(5, 60)) * 86400,
        )
        for spec in shop.hosts
    }
    for host in hosts.values():
        age = at - host.boot_at
        host.cpu_seconds = {
            "idle": 0.84 * age,
            "iowait": 0.01 * age,
            "system": 0.03 * age,
            "user": 0.12 * age,
        }
        for path in host.spec.cleanable:
            mount = host.mount(path)
            mount.reclaimable[path] = 0.04 * mount.size_bytes
    services = {spec.name: _new_service(spec, at, rng) for spec in shop.services}
    lifetime = float(rng.uniform(35, 80)) * 86400
    return State(shop, at, hosts, services, certificate_expires_at=at + lifetime)


def _new_service(spec: ServiceSpec, at: float, rng: np.random.Generator) -> Service:
    minor, patch = int(rng.integers(2, 40)), int(rng.integers(0, 12))
    age = float(rng.integers(2, 20)) * 86400
    instances = [Instance(spec, host, Process(started_at=at - age)) for host in spec.hosts]
    releases = [Release(f"1.{minor - 1}.3"), Release(f"1.{minor}.{patch}")]
    return Service(spec, instances, releases, replicas=len(instances))
