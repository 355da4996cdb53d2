"""What the world's exporters show: node exporter, blackbox exporter, applications, databases.

Metric names and labels are those of the real exporters, so that queries written for them work here.
"""

from collections.abc import Iterator, Mapping

from it_incident_response.simulation.history import Block, SeriesKey
from it_incident_response.simulation.physics import BASE_RTT_S
from it_incident_response.simulation.shop import EXTERNAL_URL, SHOP_URL
from it_incident_response.simulation.state import CODES, LATENCY_BUCKETS_S, Host, Instance, State

_FILES_SHARE = 0.12
_DESCRIPTORS_MAX = 65536.0
_MODES = ("idle", "iowait", "system", "user")


def blocks(state: State) -> list[Block]:
    """Return every scrape target of the world."""
    found: list[Block] = []
    for host in state.hosts.values():
        found.append(_node_block(state, host))
    for instance in state.instances:
        found.extend(_instance_blocks(state, instance))
    found.extend(_probe_blocks(state))
    found.extend(_ping_block(state, source, target) for source, target in call_pairs(state))
    return found


def call_pairs(state: State) -> list[tuple[str, str]]:
    """Return the (host, other host) pairs between which services call each other."""
    pairs = {
        (source, target): None
        for service in state.services.values()
        for call in service.spec.calls
        for source in service.spec.hosts
        for target in state.services[call.service].spec.hosts
        if source != target
    }
    return list(pairs)


def _keys(labels: Mapping[str, str], *names: str) -> list[SeriesKey]:
    return [SeriesKey(name, dict(labels)) for name in names]


def _node_block(state: State, host: Host) -> Block:
    labels = {"instance": f"{host.spec.name}:9100", "job": "node"}
    instances = state.by_host[host.spec.name]
    keys = _keys(
        labels,
        "up",
        "node_memory_MemTotal_bytes",
        "node_memory_MemAvailable_bytes",
        "node_memory_MemFree_bytes",
        "node_vmstat_oom_kill",
        "node_load1",
        "node_boot_time_seconds",
        "node_time_seconds",
        "node_timex_offset_seconds",
        "node_filefd_allocated",
        "node_filefd_maximum",
    )
    keys += _keys({**labels, "device": "vda"}, "node_disk_io_time_seconds_total")
    keys += _keys(
        {**labels, "device": "eth0"},
        "node_network_receive_bytes_total",
        "node_network_transmit_bytes_total",
        "node_network_receive_errs_total",
        "node_network_transmit_errs_total",
    )
    for core in range(host.spec.cores):
        for mode in _MODES:
            keys += _keys({**labels, "cpu": str(core), "mode": mode}, "node_cpu_seconds_total")
    for mount in host.mounts:
        file_system = {"device": mount.device, "fstype": "ext4", "mountpoint": mount.path}
        keys += _keys(
            {**labels, **file_system},
            "node_filesystem_size_bytes",
            "node_filesystem_free_bytes",
            "node_filesystem_avail_bytes",
            "node_filesystem_files",
            "node_filesystem_files_free",
        )
    for instance in instances:
        for name in ("active", "failed"):
            unit = {"name": instance.spec.unit, "state": name, "type": "simple"}
            keys += _keys({**labels, **unit}, "node_systemd_unit_state")
    return Block(tuple(keys), lambda: list(_node_values(state, host, instances)))


def _node_values(state: State, host: Host, instances: list[Instance]) -> Iterator[float]:
    available = host.memory_available_bytes
    yield from (1.0, host.spec.memory_bytes, available, 0.4 * available, float(host.oom_kills))
    yield host.cpu_demand * host.spec.cores
    yield from (host.boot_at, state.at, 0.0002 * state.latest_noise)
    yield from (1500.0 + 20 * sum(i.workers_busy for i in instances), 1_000_000.0)
    yield host.io_seconds
    yield from (host.network_bytes, 1.4 * host.network_bytes)
    yield from (host.network_errors, 0.0)
    yield from [host.cpu_seconds[mode] for mode in _MODES] * host.spec.cores
    for mount in host.mounts:
        free = mount.size_bytes - mount.used_bytes
        files = mount.size_bytes / 16384
        yield from (mount.size_bytes, free, free, files)
        yield files * (1 - _FILES_SHARE - 0.05 * mount.used_share)
    for instance in instances:
        yield float(instance.is_up)
        yield float(not instance.is_up)


def _instance_blocks(state: State, instance: Instance) -> list[Block]:
    spec = instance.spec
    labels = {"instance": instance.address, "job": spec.name, "service": spec.name}
    found = [
        Block(tuple(_keys(labels, "up")), lambda: [float(instance.is_up)]),
        _process_block(labels, instance),
    ]
    if spec.has_http_metrics:
        found.append(_http_block(labels, instance, state))
    if spec.pool_size:
        keys = _keys(labels, "db_pool_connections_in_use", "db_pool_connections_max")
        found.append(
            Block(
                tuple(keys),
                lambda: [instance.pool_in_use, float(spec.pool_size)] if instance.is_up else None,
            )
        )
    if spec.name == state.shop.database:
        found.append(_database_block(labels, instance, state))
    if spec.name == state.shop.cache:
        found.append(_cache_block(labels, instance, state))
    return found


def _process_block(labels: Mapping[str, str], instance: Instance) -> Block:
    keys = _keys(
        labels,
        "process_resident_memory_bytes",
        "process_memory_limit_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_open_fds",
        "process_max_fds",
    )

    def read() -> list[float] | None:
        if not instance.is_up:
            return None
        process = instance.process
        return [
            instance.rss_bytes,
            instance.spec.memory_limit_bytes,
            process.cpu_seconds,
            process.started_at,
            60 + 2 * instance.workers_busy + instance.pool_in_use,
            _DESCRIPTORS_MAX,
        ]

    return Block(tuple(keys), read)


def _http_block(labels: Mapping[str, str], instance: Instance, state: State) -> Block:
    keys = [SeriesKey("http_requests_total", {**labels, "code": code}) for code in CODES]
    bounds = [*(f"{bound:g}" for bound in LATENCY_BUCKETS_S), "+Inf"]
    name = "http_request_duration_seconds"
    keys += [SeriesKey(f"{name}_bucket", {**labels, "le": le}) for le in bounds]
    keys += _keys(labels, f"{name}_sum", f"{name}_count", "http_workers_busy", "http_workers_max")

    def read() -> list[float] | None:
        if not instance.is_up:
            return None
        process = instance.process
        workers = instance.spec.workers * state.services[instance.spec.name].capacity
        return [
            *process.codes,
            *process.buckets,
            process.latency_sum_s,
            process.buckets[-1],
            instance.workers_busy,
            workers,
        ]

    return Block(tuple(keys), read)


def _database_block(labels: Mapping[str, str], instance: Instance, state: State) -> Block:
    keys = _keys(labels, "pg_up", "pg_settings_max_connections")
    keys += _keys({**labels, "state": "active"}, "pg_stat_activity_count")
    keys += _keys({**labels, "state": "idle"}, "pg_stat_activity_count")

    def read() -> list[float] | None:
        if not instance.is_up:
            return None
        clients = [other for other in state.instances if other.spec.pool_size and other.is_up]
        active = instance.workers_busy
        idle = sum(other.pool_in_use for other in clients) + 2 * len(clients) - active
        return [1.0, 200.0, active, max(0.0, idle)]

    return Block(tuple(keys), read)


def _cache_block(labels: Mapping[str, str], instance: Instance, state: State) -> Block:
    keys = _keys(labels, "redis_up", "redis_memory_used_bytes", "redis_keyspace_hit_ratio")

    def read() -> list[float] | None:
        if not instance.is_up:
            return None
        return [1.0, 0.8 * instance.rss_bytes, 0.96 * (1 - state.cache_cold_share)]

    return Block(tuple(keys), read)


def _probe_blocks(state: State) -> list[Block]:
    shop = {"instance": SHOP_URL, "job": "blackbox"}
    outside = {"instance": EXTERNAL_URL, "job": "blackbox"}
    names = ("probe_success", "probe_duration_seconds", "probe_http_status_code")
    shop_keys = _keys(shop, *names)
    certificate = _keys(shop, "probe_ssl_earliest_cert_expiry")

    def read_shop() -> list[float]:
        entrance = state.services[state.shop.entrance]
        if state.certificate_has_expired or entrance.is_down:
            return [0.0, 0.01, 0.0]
        if entrance.error_share > 0.5:
            return [0.0, entrance.mean_latency_s, 502.0]
        return [1.0, entrance.mean_latency_s, 200.0]

    def read_certificate() -> list[float] | None:
        entrance = state.services[state.shop.entrance]
        return None if entrance.is_down else [state.certificate_expires_at]

    def read_outside() -> list[float]:
        up = state.provider_up_share > 0.5
        return [float(up), state.provider_latency_s if up else 5.0, 200.0 if up else 0.0]

    return [
        Block(tuple(shop_keys), read_shop),
        Block(tuple(certificate), read_certificate),
        Block(tuple(_keys(outside, *names)), read_outside),
    ]


def _ping_block(state: State, source: str, target: str) -> Block:
    labels = {"instance": target, "job": "ping", "source": source, "phase": "rtt"}
    noise_scale = 0.0001

    def read() -> list[float]:
        extra = state.link_delay_s.get((source, target), 0.0)
        return [BASE_RTT_S + noise_scale * abs(state.latest_noise) + extra]

    return Block(tuple(_keys(labels, "probe_icmp_duration_seconds")), read)
