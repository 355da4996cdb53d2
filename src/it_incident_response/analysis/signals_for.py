"""Which signals to read for which incident: what the alerts are about, and the usual suspects."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal
from it_incident_response.domain.labels import words_of

_HOST_LIKE = frozenset({EntityKind.HOST, EntityKind.NODE, EntityKind.INSTANCE})
_SERVICE_LIKE = frozenset(
    {EntityKind.SERVICE, EntityKind.INSTANCE, EntityKind.POD, EntityKind.CONTAINER, EntityKind.JOB}
)

_OF_HOSTS = (
    Signal.UP,
    Signal.CPU_USE,
    Signal.MEMORY_USE,
    Signal.DISK_USE,
    Signal.OOM_KILLS,
)
"""Utilisation and errors of every resource: the USE method (Gregg 2013)."""

_OF_SERVICES = (
    Signal.UP,
    Signal.REQUEST_RATE,
    Signal.ERROR_RATIO,
    Signal.LATENCY_P95,
    Signal.CONNECTION_POOL_USE,
    Signal.PROCESS_MEMORY,
)
"""Rate, errors, duration (the RED method, Wilkie 2015), and what saturates first."""

_BY_COMPONENT: Mapping[str, tuple[Signal, ...]] = {
    "tls": (Signal.CERTIFICATE_LIFETIME,),
    "database": (
        *(Signal.CONNECTION_POOL_USE, Signal.LOCK_CONFLICTS, Signal.REPLICATION_LAG),
        *(Signal.QUEUE_LENGTH, Signal.CACHE_MISSES, Signal.REJECTIONS, Signal.THREADS),
        *(Signal.DISK_USE, Signal.DISK_IO_BUSY, Signal.DISK_LATENCY),
    ),
    "cache": (
        *(Signal.MEMORY_USE, Signal.CONNECTION_POOL_USE, Signal.CACHE_MISSES, Signal.EVICTIONS),
        *(Signal.REJECTIONS, Signal.REPLICATION_LAG),
    ),
    "queue": (Signal.QUEUE_LENGTH, Signal.SATURATION, Signal.MISSING_REPLICAS),
    "disk": (Signal.DISK_USE, Signal.INODE_USE, Signal.DISK_IO_BUSY, Signal.DISK_LATENCY),
    "memory": (
        *(Signal.MEMORY_USE, Signal.PROCESS_MEMORY, Signal.OOM_KILLS, Signal.RESTARTS),
        Signal.GC_TIME,
    ),
    "cpu": (Signal.CPU_USE, Signal.SATURATION, Signal.GC_TIME, Signal.THREADS),
    "network": (Signal.NETWORK_LATENCY, Signal.NETWORK_ERRORS, Signal.REJECTIONS),
    "web": (
        *(Signal.NETWORK_LATENCY, Signal.CERTIFICATE_LIFETIME, Signal.REJECTIONS),
        *(Signal.SATURATION, Signal.QUEUE_LENGTH),
    ),
    "kubernetes": (
        *(Signal.MISSING_REPLICAS, Signal.RESTARTS, Signal.OOM_KILLS, Signal.CPU_USE),
        *(Signal.MEMORY_USE, Signal.SATURATION),
    ),
    "node": (Signal.CLOCK_OFFSET, Signal.FILE_DESCRIPTOR_USE, Signal.INODE_USE),
}

_BY_WORD: Mapping[str, tuple[Signal, ...]] = {
    **dict.fromkeys(("replication", "replica", "behind"), (Signal.REPLICATION_LAG,)),
    **dict.fromkeys(("lag", "backlog", "consumer"), (Signal.QUEUE_LENGTH, Signal.REPLICATION_LAG)),
    **dict.fromkeys(("replicas", "unavailable", "replicated"), (Signal.MISSING_REPLICAS,)),
    **dict.fromkeys(("deadlock", "deadlocks", "lock", "locks"), (Signal.LOCK_CONFLICTS,)),
    **dict.fromkeys(("evicted", "evicting", "eviction", "evictions"), (Signal.EVICTIONS,)),
    **dict.fromkeys(("hit", "hits", "miss", "misses"), (Signal.CACHE_MISSES,)),
    **dict.fromkeys(("gc", "garbage", "pause", "jvm"), (Signal.GC_TIME, Signal.MEMORY_USE)),
    **dict.fromkeys(("heap", "leak"), (Signal.MEMORY_USE, Signal.PROCESS_MEMORY, Signal.GC_TIME)),
    **dict.fromkeys(("thread", "threads", "goroutines", "processes"), (Signal.THREADS,)),
    **dict.fromkeys(
        ("restart", "restarts", "restarted", "crash", "crashloop", "looping"),
        (Signal.RESTARTS, Signal.OOM_KILLS),
    ),
    **dict.fromkeys(("fd", "fds", "descriptor", "descriptors"), (Signal.FILE_DESCRIPTOR_USE,)),
    **dict.fromkeys(("rejected", "refused", "dropped", "drops"), (Signal.REJECTIONS,)),
    **dict.fromkeys(("throttled", "throttling", "saturated", "saturation"), (Signal.SATURATION,)),
}
"""What words of an alert's name ask for, whatever component it is about."""


def signals_for(alerts: Sequence[Alert], entities: Collection[Entity]) -> tuple[Signal, ...]:
    """Return the signals worth reading, those that the alerts are about first."""
    kinds = {entity.kind for entity in entities}
    chosen = [s for alert in alerts for s in _of_alert(alert)]
    if kinds & _HOST_LIKE:
        chosen += _OF_HOSTS
    if kinds & _SERVICE_LIKE or not kinds:
        chosen += _OF_SERVICES
    return tuple(dict.fromkeys(chosen))


def _of_alert(alert: Alert) -> Iterator[Signal]:
    for word in words_of(alert.name):
        yield from _BY_WORD.get(word, ())
    yield from _BY_COMPONENT.get(alert.component or "", ())
