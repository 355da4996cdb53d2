"""The shop that is simulated: its hosts, services and dependencies, as plain data."""

from dataclasses import dataclass, field

from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry

GIB = 1024**3
MIB = 1024**2
SHOP_URL = "https://shop.example/"
EXTERNAL_URL = "https://api.cardprocessor.example/health"


@dataclass(frozen=True)
class Call:
    """That a service calls another, for how much of its own traffic."""

    service: str
    per_request: float
    """Calls made for one incoming request, on average."""
    without_cache: float = 1.0
    """Factor on the calls while the cache is empty or down."""
    fatal_share: float = 1.0
    """Share of failed calls that make the whole request fail; the rest is served without."""


@dataclass(frozen=True)
class ServiceSpec:
    """What one service needs and how it behaves when all is well."""

    name: str
    hosts: tuple[str, ...]
    port: int
    unit: str
    own_latency_s: float
    """Median time spent in the service itself for one request."""
    cpu_s: float
    """Processor time of one request."""
    workers: int
    """Requests that one instance handles at a time."""
    memory_bytes: float
    memory_limit_bytes: float
    calls: tuple[Call, ...] = ()
    timeout_s: float = 3.0
    """After which it gives up on a call."""
    pool_size: int = 0
    """Connections to the database that one instance may hold; 0 if it has no pool."""
    has_http_metrics: bool = True
    start_s: float = 5.0
    """How long a restart keeps an instance away."""
    data_mount: str = "/"
    """Where it writes; full, it cannot work."""
    background_rps: float = 0.0
    """Work it does without being called."""


@dataclass(frozen=True)
class MountSpec:
    """One file system of a host."""

    path: str
    device: str
    size_bytes: float
    used_share: float


@dataclass(frozen=True)
class HostSpec:
    """One machine."""

    name: str
    address: str
    cores: int
    memory_bytes: float
    mounts: tuple[MountSpec, ...]
    cleanable: tuple[str, ...] = ("/var/log/shop",)
    certificate_unit: str | None = None
    certificate_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shop:
    """A whole system: what to simulate."""

    hosts: tuple[HostSpec, ...]
    services: tuple[ServiceSpec, ...]
    """Callers before the services they call."""
    entrance: str
    database: str
    cache: str
    payer: str
    """The service that calls the card processor outside."""
    peak_rps: float
    """Requests per second at the entrance at the busiest time of day."""
    domain: str = "shop.example"
    by_name: dict[str, ServiceSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {service.name: service for service in self.services}
        seen: set[str] = set()
        for service in reversed(self.services):
            if missing := [call.service for call in service.calls if call.service not in seen]:
                raise ValueError(
                    f"{service.name} must be listed before {missing[0]}, which it calls"
                )
            seen.add(service.name)
        object.__setattr__(self, "by_name", names)

    def inventory(self) -> Inventory:
        """Return the inventory an operator of this shop would write."""
        return Inventory(
            hosts=tuple(self._host_entry(host) for host in self.hosts),
            depends_on={
                service.name: tuple(call.service for call in service.calls)
                for service in self.services
                if service.calls
            },
        )

    def _host_entry(self, host: HostSpec) -> HostEntry:
        return HostEntry(
            name=host.name,
            address=host.address,
            user="deploy",
            aliases=(host.address, f"{host.name}:9100", f"{host.name}.{self.domain}"),
            services=tuple(
                self._service_entry(service, host.name)
                for service in self.services
                if host.name in service.hosts
            ),
            certificate_unit=host.certificate_unit,
            certificate_paths=host.certificate_paths,
            cleanable_paths=host.cleanable,
        )

    def _service_entry(self, service: ServiceSpec, host: str) -> ServiceEntry:
        aliases: tuple[str, ...] = (f"{host}:{service.port}",)
        if service.name == self.entrance:
            aliases = (*aliases, SHOP_URL)
        return ServiceEntry(name=service.name, unit=service.unit, replicas=1, aliases=aliases)


def _root(used: float = 0.42, size: float = 40 * GIB) -> MountSpec:
    return MountSpec("/", "/dev/vda1", size, used)


SHOP = Shop(
    hosts=(
        HostSpec(
            "edge-1",
            "10.20.0.10",
            2,
            2 * GIB,
            (_root(0.35),),
            certificate_unit="certbot-renew.service",
            certificate_paths=("/etc/ssl/shop/fullchain.pem",),
        ),
        HostSpec("web-1", "10.20.0.11", 2, 4 * GIB, (_root(0.38),)),
        HostSpec("web-2", "10.20.0.12", 2, 4 * GIB, (_root(0.37),)),
        HostSpec("app-1", "10.20.0.21", 4, 8 * GIB, (_root(0.45),)),
        HostSpec("app-2", "10.20.0.22", 4, 8 * GIB, (_root(0.47),)),
        HostSpec("pay-1", "10.20.0.31", 2, 4 * GIB, (_root(0.30),)),
        HostSpec("search-1", "10.20.0.41", 4, 8 * GIB, (_root(0.52, 80 * GIB),)),
        HostSpec("cache-1", "10.20.0.51", 2, 4 * GIB, (_root(0.25),)),
        HostSpec(
            "db-1",
            "10.20.0.61",
            4,
            16 * GIB,
            (_root(0.33), MountSpec("/var/lib/postgresql", "/dev/vdb", 100 * GIB, 0.61)),
            cleanable=("/var/log/shop", "/var/lib/postgresql/backups"),
        ),
    ),
    services=(
        ServiceSpec(
            "edge", ("edge-1",), 443, "nginx.service", 0.002, 0.0010, 2000, 180 * MIB, 600 * MIB,
            (Call("storefront", 0.4), Call("api", 0.6)), timeout_s=10.0, start_s=2.0,
        ),
        ServiceSpec(
            "storefront", ("web-1", "web-2"), 8080, "storefront.service", 0.020, 0.0030, 20,
            700 * MIB, 2 * GIB,
            (Call("api", 1.0), Call("session-cache", 1.0, fatal_share=0.15)), timeout_s=6.0,
        ),
        ServiceSpec(
            "api", ("app-1", "app-2"), 8081, "shop-api.service", 0.012, 0.0020, 128,
            900 * MIB, 3 * GIB,
            (Call("catalog", 0.7), Call("checkout", 0.25), Call("search", 0.2),
             Call("session-cache", 1.0, fatal_share=0.15)),
            timeout_s=5.0,
        ),
        ServiceSpec(
            "checkout", ("app-2",), 8083, "checkout.service", 0.015, 0.0020, 128,
            800 * MIB, 2.5 * GIB,
            (Call("payments", 0.3), Call("shop-db", 2.0),
             Call("session-cache", 1.0, fatal_share=0.15)),
            timeout_s=3.0, pool_size=40,
        ),
        ServiceSpec(
            "catalog", ("app-1",), 8082, "catalog.service", 0.010, 0.0018, 96,
            1000 * MIB, 2.5 * GIB,
            (Call("shop-db", 0.3, without_cache=20.0), Call("session-cache", 2.0, fatal_share=0.1)),
            timeout_s=3.0, pool_size=40,
        ),
        ServiceSpec(
            "payments", ("pay-1",), 8084, "payments.service", 0.030, 0.0030, 96,
            600 * MIB, 2 * GIB, (Call("shop-db", 1.0),), timeout_s=4.0, pool_size=20,
        ),
        ServiceSpec(
            "mailer", ("app-2",), 8085, "mailer.service", 0.060, 0.0030, 8,
            250 * MIB, 1 * GIB, (Call("shop-db", 1.0),), timeout_s=5.0, pool_size=6,
            background_rps=3.0,
        ),
        ServiceSpec(
            "search", ("search-1",), 8086, "search.service", 0.040, 0.0080, 128,
            4 * GIB, 6.5 * GIB, timeout_s=3.0,
        ),
        ServiceSpec(
            "session-cache", ("cache-1",), 6379, "redis-server.service", 0.0006, 0.00008, 1000,
            1.2 * GIB, 2.5 * GIB, has_http_metrics=False, start_s=3.0,
        ),
        ServiceSpec(
            "shop-db", ("db-1",), 5432, "postgresql.service", 0.004, 0.0016, 200,
            6 * GIB, 13 * GIB, has_http_metrics=False, start_s=20.0,
            data_mount="/var/lib/postgresql",
        ),
    ),
    entrance="edge",
    database="shop-db",
    cache="session-cache",
    payer="payments",
    peak_rps=220.0,
)  # fmt: skip
"""The default shop: ten services on nine hosts."""
