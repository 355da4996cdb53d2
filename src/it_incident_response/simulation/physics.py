"""Moves the state on by one tick: demand, load, processors, latency, errors, memory, disks.

The model is coarse but causal. Latencies are log-logistic (shape 4, so the 95th percentile is 2.09
medians) with a second, slow part for requests that wait until a limit. A host's latency factor is
that of an M/M/1 queue, 1 / (1 - use). Errors and waits travel from a service to its callers.
"""

import math

from it_incident_response.simulation.state import (
    DISK_FULL_SHARE,
    LATENCY_BUCKETS_S,
    Host,
    Instance,
    Mount,
    Service,
    State,
    Trouble,
)

TICK_S = 15.0
SHAPE = 4.0
SLOW_SHAPE = 12.0
"""Requests that run into a limit all last about as long as the limit."""
BASE_RTT_S = 0.0004
_USE_MAX = 0.97
_BASE_ERROR_SHARE = 0.0006
_BASE_CPU_SHARE = 0.04
_POOL_WAIT_S = 3.0
_QUEUE_WAIT_S = 2.0
_QUICK_BOUNDS = [bound**-SHAPE for bound in LATENCY_BUCKETS_S]
_SLOW_BOUNDS = [bound**-SLOW_SHAPE for bound in LATENCY_BUCKETS_S]

Noise = list[float]


def noise_width(state: State) -> int:
    """Return how many random numbers one tick uses, whatever happens in it."""
    return 2 + 2 * len(state.instances) + len(state.hosts)


def tick(state: State, noise: Noise) -> None:
    """Move the world on by `TICK_S`; `noise` are `noise_width` standard normal numbers."""
    state.at += TICK_S
    instances = state.instances
    for place, instance in enumerate(instances):
        # An AR(1) process: what is busy now tends to be busy a minute later.
        instance.noise = 1 + 0.85 * (instance.noise - 1) + 0.02 * noise[2 + place]
        instance.troubles.clear()
    _spread_load(state, _demand(state, noise))
    own_error_noise = noise[2 + len(instances) :]
    _use_processors(state, noise[2 + 2 * len(instances) :])
    for service in reversed(state.services.values()):
        _serve(state, service)
    for place, instance in enumerate(instances):
        _count(instance, own_error_noise[place])
    for instance in instances:
        _grow_memory(state, instance)
    for host in state.hosts.values():
        _grow_host(state, host)
    state.cache_cold_share *= 0.94
    state.database_cold_share *= 0.95


def daily_share(at: float) -> float:
    """Return the share of the peak load at a time of day: low at 4:00, high at 16:00 UTC."""
    hours = at / 3600 % 24
    return 0.65 - 0.35 * math.cos((hours - 4) / 24 * 2 * math.pi)


def _demand(state: State, noise: Noise) -> float:
    state.latest_noise = 0.8 * state.latest_noise + 0.02 * noise[0]
    wanted = state.shop.peak_rps * daily_share(state.at) * (1 + state.latest_noise) * state.surge
    # Clients that do not accept the certificate give up before they send a request.
    state.demand_rps = wanted * (0.03 if state.certificate_has_expired else 1.0)
    return state.demand_rps


def _spread_load(state: State, demand: float) -> None:
    rates = {name: service.spec.background_rps for name, service in state.services.items()}
    rates[state.shop.entrance] += demand
    misses = _cache_miss_share(state)
    for name, service in state.services.items():
        passed_on = 0.0 if service.is_down else rates[name]
        for call in service.spec.calls:
            factor = 1 + misses * (call.without_cache - 1)
            rates[call.service] += passed_on * call.per_request * factor
        up = [instance for instance in service.instances if instance.is_up]
        for instance in service.instances:
            share = 1 / len(up) if up else 1 / len(service.instances)
            instance.rate = rates[name] * share if instance.is_up or not up else 0.0


def _cache_miss_share(state: State) -> float:
    return 1.0 if state.services[state.shop.cache].is_down else state.cache_cold_share


def _use_processors(state: State, noise: Noise) -> None:
    for place, host in enumerate(state.hosts.values()):
        busy = _BASE_CPU_SHARE * host.spec.cores * (1 + 0.1 * noise[place])
        for instance in state.by_host[host.spec.name]:
            if instance.is_up:
                busy += _cores_of(state.services[instance.spec.name], instance)
        host.cpu_demand = max(0.01, busy / host.spec.cores)
        host.cpu_share = min(0.995, host.cpu_demand)


def _cores_of(service: Service, instance: Instance) -> float:
    cores = instance.rate * instance.spec.cpu_s / service.capacity + instance.process.spin_cores
    instance.process.cpu_seconds += cores * TICK_S
    return cores


def _serve(state: State, service: Service) -> None:
    for instance in service.instances:
        if instance.is_up:
            _handle_requests(state, service, instance)
        else:
            instance.latency_s = instance.slow_share = instance.slow_s = 0.0
            instance.error_share = 1.0
            instance.pool_in_use = instance.workers_busy = 0.0
    _summarise(service)


def _summarise(service: Service) -> None:
    """Set what callers see: a mean over the instances that take requests."""
    taking = [i for i in service.instances if i.is_up] or service.instances
    count = len(taking)
    service.error_share = sum(i.error_share for i in taking) / count
    service.latency_s = sum(i.latency_s for i in taking) / count
    service.slow_share = sum(i.slow_share for i in taking) / count
    service.slow_s = max(i.slow_s for i in taking)


def _handle_requests(state: State, service: Service, instance: Instance) -> None:
    release = service.release
    instance.latency_s = (
        instance.spec.own_latency_s * _slowness(state, instance) * instance.noise
        + release.extra_latency_s
    )
    instance.slow_share = instance.slow_s = 0.0
    instance.timeout_share = instance.shed_share = 0.0
    succeeded = 1 - release.error_share
    if release.error_share > 0:
        instance.troubles.append(Trouble("exception", release.error_share, release.version))
    succeeded *= 1 - _disk_errors(state, instance)
    succeeded *= 1 - _call_others(state, instance)
    succeeded *= 1 - _queue(service, instance)
    succeeded *= 1 - min(1.0, instance.outage_s / TICK_S)
    instance.outage_s = max(0.0, instance.outage_s - TICK_S)
    instance.error_share = 1 - succeeded


def _slowness(state: State, instance: Instance) -> float:
    host = state.hosts[instance.host]
    demand = host.cpu_demand
    queueing = 1 / (1 - min(demand, _USE_MAX)) * max(1.0, demand) ** 3
    filled = instance.rss_bytes / instance.spec.memory_limit_bytes
    collecting = 1 + 12 * max(0.0, filled - 0.8) / 0.2
    cold = 0.0
    if instance.spec.name == state.shop.database:
        cold = 4 * state.database_cold_share
        if _is_disk_full(state, instance):
            cold += 25
    return queueing * collecting * (1 + cold)


def _is_disk_full(state: State, instance: Instance) -> bool:
    host = state.hosts[instance.host]
    full = [mount for mount in host.mounts if mount.used_share >= DISK_FULL_SHARE]
    return bool(full) and host.mount(instance.spec.data_mount) in full


def _disk_errors(state: State, instance: Instance) -> float:
    if not _is_disk_full(state, instance):
        return 0.0
    share = 0.35
    instance.troubles.append(Trouble("no_space", share, instance.spec.data_mount))
    return share


def _call_others(state: State, instance: Instance) -> float:
    """Add the time of all calls to the latency and return the share of requests they fail."""
    succeeded = 1.0
    misses = _cache_miss_share(state)
    for call in instance.spec.calls:
        callee = state.services[call.service]
        calls = call.per_request * (1 + misses * (call.without_cache - 1))
        if callee.spec.name == state.shop.database and instance.spec.pool_size:
            succeeded *= 1 - _use_pool(state, instance, callee, calls)
        failed = _call(state, instance, callee, calls)
        succeeded *= 1 - failed * call.fatal_share
    if instance.spec.name == state.shop.payer:
        succeeded *= 1 - _call_provider(state, instance)
    return 1 - succeeded


def _call(state: State, instance: Instance, callee: Service, calls: float) -> float:
    if callee.is_down:
        instance.troubles.append(Trouble("refused", min(1.0, calls), callee.spec.name))
        return min(1.0, calls)
    limit = instance.spec.timeout_s
    latency = callee.latency_s + _rtt(state, instance.host, callee)
    timeouts = (1 - callee.slow_share) * tail(latency, limit, SHAPE)
    if callee.slow_share:
        timeouts += callee.slow_share * tail(callee.slow_s, limit, SLOW_SHAPE)
    instance.latency_s += calls * min(latency, limit)
    _wait(instance, _any_of(callee.slow_share, calls), min(callee.slow_s, limit))
    timed_out, failed = _any_of(timeouts, calls), _any_of(callee.error_share, calls)
    if timed_out > 0.002:
        instance.timeout_share = 1 - (1 - instance.timeout_share) * (1 - timed_out)
        _wait(instance, timed_out, limit)
        instance.troubles.append(Trouble("upstream_timeout", timed_out, callee.spec.name))
    if failed > 0.004:
        instance.troubles.append(Trouble("upstream_error", failed, callee.spec.name))
    return 1 - (1 - timed_out) * (1 - failed)


def _any_of(share: float, calls: float) -> float:
    """Return the share of requests of which at least one of their calls is among `share`."""
    return 1.0 - math.pow(1 - min(1.0, share), calls) if share else 0.0


def _wait(instance: Instance, share: float, seconds: float) -> None:
    if share <= 0:
        return
    instance.slow_share = 1 - (1 - instance.slow_share) * (1 - min(1.0, share))
    instance.slow_s = max(instance.slow_s, seconds)


def _rtt(state: State, host: str, callee: Service) -> float:
    if not state.link_delay_s:
        return BASE_RTT_S
    up = [i.host for i in callee.instances if i.is_up]
    extra = sum(state.link_delay_s.get((host, other), 0.0) for other in up)
    return BASE_RTT_S + (extra / len(up) if up else 0.0)


def _use_pool(state: State, instance: Instance, callee: Service, calls: float) -> float:
    """Return the share of requests that get no connection in time."""
    held_s = min(
        callee.mean_latency_s + _rtt(state, instance.host, callee), instance.spec.timeout_s
    )
    size = float(instance.spec.pool_size)
    process = instance.process
    process.leaked_connections = min(
        size, process.leaked_connections + process.leak_connections_per_s * TICK_S
    )
    needed = instance.rate * calls * held_s
    free = size - process.leaked_connections
    instance.pool_in_use = min(size, process.leaked_connections + needed)
    if needed <= free:
        return 0.0
    share = min(1.0, calls) * (1 - free / needed)
    _wait(instance, share, _POOL_WAIT_S)
    instance.troubles.append(Trouble("pool_timeout", share, str(instance.spec.pool_size)))
    return share


def _call_provider(state: State, instance: Instance) -> float:
    limit = instance.spec.timeout_s
    latency = state.provider_latency_s
    timeouts = tail(latency, limit, SHAPE)
    instance.latency_s += min(latency, limit)
    failed = 1 - state.provider_up_share * (1 - timeouts)
    if failed > 0.01:
        _wait(instance, failed, limit)
        instance.timeout_share = 1 - (1 - instance.timeout_share) * (1 - failed)
        instance.troubles.append(Trouble("provider_timeout", failed))
    return failed


def _queue(service: Service, instance: Instance) -> float:
    """Return the share of requests that are turned away because all workers are busy."""
    spec = instance.spec
    limit = spec.workers * service.capacity
    wanted = instance.rate * instance.mean_latency_s
    instance.workers_busy = min(limit, wanted)
    if wanted <= limit:
        return 0.0
    share = 1 - limit / wanted
    instance.shed_share = share
    _wait(instance, min(0.9, 0.2 + share), _QUEUE_WAIT_S)
    instance.troubles.append(Trouble("overload", share, str(int(limit))))
    return share


def tail(median: float, limit: float, shape: float) -> float:
    """Return the share of a log-logistic distribution above `limit`."""
    if median <= 0:
        return 0.0
    return 1 / (1 + math.pow(limit / median, shape))


def _count(instance: Instance, noise: float) -> None:
    """Add the tick's requests to the counters of the process."""
    if not instance.is_up:
        return
    process = instance.process
    total = instance.rate * TICK_S
    base = _BASE_ERROR_SHARE * max(0.0, 1 + 0.5 * noise)
    failed = total * min(1.0, instance.error_share + base)
    shed = total * min(instance.error_share, instance.shed_share)
    timed_out = min(failed - shed, total * min(instance.error_share, instance.timeout_share))
    missing = 0.01 * (total - failed)
    counts = (total - failed - missing, missing, failed - shed - timed_out, shed, timed_out)
    process.codes = [before + new for before, new in zip(process.codes, counts, strict=True)]
    quick, held = total * (1 - instance.slow_share), total * instance.slow_share
    power = max(instance.latency_s, 1e-6) ** SHAPE
    added = [quick / (1 + power * inverse) for inverse in _QUICK_BOUNDS]
    if held:
        power = instance.slow_s**SLOW_SHAPE
        slow = [held / (1 + power * inverse) for inverse in _SLOW_BOUNDS]
        added = [one + other for one, other in zip(added, slow, strict=True)]
    buckets = zip(process.buckets, (*added, total), strict=True)
    process.buckets = [before + new for before, new in buckets]
    process.latency_sum_s += total * instance.mean_latency_s * 1.11


def _grow_memory(state: State, instance: Instance) -> None:
    if not instance.is_up:
        return
    instance.process.leaked_bytes += instance.process.leak_bytes_per_s * TICK_S
    if instance.rss_bytes >= instance.spec.memory_limit_bytes:
        state.hosts[instance.host].oom_kills += 1
        kill(instance, "oom-kill")


def kill(instance: Instance, reason: str) -> None:
    """End the process; systemd does not start it again by itself here."""
    instance.is_up = False
    instance.last_exit = reason
    instance.outage_s = 0.0


def _grow_host(state: State, host: Host) -> None:
    resident = sum(i.rss_bytes for i in state.by_host[host.spec.name] if i.is_up)
    total = host.spec.memory_bytes
    host.memory_available_bytes = max(0.01 * total, 0.93 * total - resident)
    for mount in host.mounts:
        _grow_mount(mount)
    writing = sum(i.rate for i in state.by_host[host.spec.name] if i.is_up)
    full = any(mount.used_share >= DISK_FULL_SHARE for mount in host.mounts)
    host.disk_busy_share = min(0.98, 0.02 + writing * 0.0006 + (0.6 if full else 0.0))
    host.io_seconds += host.disk_busy_share * TICK_S
    host.network_bytes += (writing * 6000 + 2000) * TICK_S
    waiting = min(1 - host.cpu_share, 0.3 * host.disk_busy_share)
    seconds = host.cpu_seconds
    seconds["user"] += 0.8 * host.cpu_share * TICK_S
    seconds["system"] += 0.2 * host.cpu_share * TICK_S
    seconds["iowait"] += waiting * TICK_S
    seconds["idle"] += (1 - host.cpu_share - waiting) * TICK_S


def _grow_mount(mount: Mount) -> None:
    if not mount.growth_bytes_per_s:
        return
    added = min(mount.growth_bytes_per_s * TICK_S, mount.size_bytes - mount.used_bytes)
    mount.used_bytes += added
    mount.reclaimable[mount.growth_path] = mount.reclaimable.get(mount.growth_path, 0.0) + added
