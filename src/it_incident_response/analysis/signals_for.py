"""Which signals to read for which incident: what the alerts are about, and the usual suspects."""

from collections.abc import Collection, Mapping, Sequence

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal

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
    "database": (Signal.CONNECTION_POOL_USE, Signal.DISK_USE, Signal.DISK_IO_BUSY),
    "cache": (Signal.MEMORY_USE, Signal.CONNECTION_POOL_USE),
    "queue": (Signal.QUEUE_LENGTH, Signal.SATURATION),
    "disk": (Signal.DISK_USE, Signal.INODE_USE, Signal.DISK_IO_BUSY),
    "memory": (Signal.MEMORY_USE, Signal.PROCESS_MEMORY, Signal.OOM_KILLS, Signal.RESTARTS),
    "cpu": (Signal.CPU_USE, Signal.SATURATION),
    "network": (Signal.NETWORK_LATENCY, Signal.NETWORK_ERRORS),
    "web": (Signal.NETWORK_LATENCY, Signal.CERTIFICATE_LIFETIME),
    "kubernetes": (Signal.RESTARTS, Signal.OOM_KILLS, Signal.CPU_USE, Signal.MEMORY_USE),
    "node": (Signal.CLOCK_OFFSET, Signal.FILE_DESCRIPTOR_USE, Signal.INODE_USE),
}


def signals_for(alerts: Sequence[Alert], entities: Collection[Entity]) -> tuple[Signal, ...]:
    """Return the signals worth reading, those that the alerts are about first."""
    kinds = {entity.kind for entity in entities}
    chosen = [s for alert in alerts for s in _BY_COMPONENT.get(alert.component or "", ())]
    if kinds & _HOST_LIKE:
        chosen += _OF_HOSTS
    if kinds & _SERVICE_LIKE or not kinds:
        chosen += _OF_SERVICES
    return tuple(dict.fromkeys(chosen))
