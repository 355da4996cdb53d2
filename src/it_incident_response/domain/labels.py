"""Normalises the label set of an alert: its fingerprint, affected entities, component and tags."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.severity import Severity, parse_severity

NAME_LENGTH_MAX = 256
"""Characters kept of an alert's, entity's or tag's name; labels themselves keep all of theirs."""
LABELS_MAX = 256
LABEL_VALUE_LENGTH_MAX = 131_072
ANNOTATIONS_MAX = 64
ANNOTATION_LENGTH_MAX = 16_384
URL_LENGTH_MAX = 8_192
UNNAMED = "(unnamed alert)"

Labels = tuple[tuple[str, str], ...]

_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211
_MASK_64 = (1 << 64) - 1
_CACHED_LENGTH_MAX = 4_096
"""Label sets longer than this are not cached, so that hostile ones cannot fill the memory."""

_ENTITY_LABELS: Mapping[EntityKind, tuple[str, ...]] = {
    EntityKind.HOST: ("host", "hostname", "nodename", "host_name", "server", "exported_host"),
    EntityKind.NODE: ("node", "kubernetes_node", "node_name", "exported_node"),
    EntityKind.SERVICE: (
        "service",
        "app",
        "application",
        "app_kubernetes_io_name",
        "label_app_kubernetes_io_name",
        "app_kubernetes_io_component",
        "service_name",
        "exported_service",
        "kubernetes_service",
        "deployment",
        "statefulset",
        "daemonset",
    ),
    EntityKind.INSTANCE: ("instance", "exported_instance", "target"),
    EntityKind.POD: ("pod", "pod_name", "exported_pod", "kubernetes_pod_name"),
    EntityKind.CONTAINER: ("container", "container_name", "exported_container"),
    EntityKind.NAMESPACE: ("namespace", "exported_namespace", "kubernetes_namespace"),
    EntityKind.MOUNT: ("mountpoint", "mount", "filesystem_mount"),
    EntityKind.DEVICE: ("device", "interface", "volume"),
    EntityKind.JOB: ("job", "exported_job"),
}
_UNIT_LABELS = ("unit", "name", "systemd_unit")
_SEVERITY_LABELS = ("severity", "priority", "sev", "level", "criticality", "urgency")
_TAG_LABELS = ("environment", "env", "stage", "team", "owner", "region", "zone", "cluster")

_COMPONENT_WORDS = {
    "tls": "tls ssl cert certs certificate certificates x509 certmanager",
    "database": "database db sql postgres postgresql pg pgbouncer patroni mysql mariadb mongo "
    "mongodb mssql sqlserver oracle cassandra clickhouse cockroach couchdb elasticsearch "
    "opensearch influxdb etcd",
    "cache": "cache redis memcached memcache varnish valkey",
    "queue": "queue queues kafka rabbitmq nats activemq pulsar sqs zookeeper celery sidekiq",
    "disk": "disk disks filesystem fs inode inodes volume storage smart raid zfs mountpoint",
    "memory": "memory mem oom swap heap rss",
    "cpu": "cpu load throttling throttled steal",
    "network": "network net interface dns bandwidth packet packets conntrack icmp bond tcp nic",
    "web": "http https api web nginx apache haproxy traefik envoy caddy ingress request requests "
    "latency 5xx 4xx blackbox probe",
    "kubernetes": "kubernetes kube kubelet k8s pod pods deployment statefulset daemonset",
    "node": "node host systemd clock ntp server machine kernel reboot",
}
_BY_WORD = {word: name for name, words in _COMPONENT_WORDS.items() for word in words.split()}
_COMPONENT_ORDER = {name: place for place, name in enumerate(_COMPONENT_WORDS)}
_COMPONENT_BY_LABEL = {
    "mountpoint": "disk",
    "datname": "database",
    "queue": "queue",
    "topic": "queue",
    "consumergroup": "queue",
    "pod": "kubernetes",
}
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[0-9]?[A-Z]+|[0-9]+[a-z]*")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})")
_HOST_PORT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.%]{2,64})\]|(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{0,252})):\d{1,5}"
)


class LabelFacts(NamedTuple):
    """What a label set says, apart from its text."""

    fingerprint: str
    severity: Severity
    entities: tuple[Entity, ...]
    component: str | None
    tags: tuple[str, ...]


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return Prometheus' hash of a label set: 16 hex digits, the same as Alertmanager's.

    `model.LabelSet.Fingerprint` of prometheus/common: FNV-1a, 64 bit, over `name 0xff value 0xff`
    of the labels sorted by name. An empty value means that the label is absent, as it does there.
    """
    key = _key(labels)
    return _cached_fingerprint(key) if _is_small(key) else _fnv1a(key)


def label_facts(labels: Mapping[str, str]) -> LabelFacts:
    """Return fingerprint, severity, entities, component and tags of any label set."""
    key = _key(labels)
    return _cached_facts(key) if _is_small(key) else _facts(key)


def make_alert(  # noqa: PLR0913 - one keyword for each thing a monitoring system says
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    status: AlertStatus,
    starts_at: datetime,
    ends_at: datetime | None,
    received_at: datetime,
    source: str,
    generator_url: str | None = None,
) -> Alert:
    """Return the alert that a monitoring system reported, normalised and bounded.

    Labels are kept as they are except that lone surrogates and NUL, which no database takes,
    become U+FFFD. A time that means "none" (year 1) or lies more than a day ahead is replaced by
    `received_at`; `ends_at` is kept for resolved alerts only. Raises `ValueError` for a time
    without a zone.
    """
    facts = label_facts(labels)
    is_resolved = status is AlertStatus.RESOLVED
    return Alert(
        fingerprint=facts.fingerprint,
        name=_bounded(labels.get("alertname", "")) or UNNAMED,
        status=status,
        severity=facts.severity,
        labels=_bounded_texts(labels, LABELS_MAX, LABEL_VALUE_LENGTH_MAX),
        annotations=_bounded_texts(annotations, ANNOTATIONS_MAX, ANNOTATION_LENGTH_MAX),
        starts_at=_plausible(starts_at, received_at),
        ends_at=_plausible(ends_at or received_at, received_at) if is_resolved else None,
        received_at=received_at,
        generator_url=_web_address(generator_url),
        source=_bounded(source),
        entities=facts.entities,
        component=facts.component,
        tags=facts.tags,
    )


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(item for item in labels.items() if item[1]))


def _is_small(key: Labels) -> bool:
    return sum(len(name) + len(value) for name, value in key) <= _CACHED_LENGTH_MAX


def _fnv1a(key: Labels) -> str:
    encoded = b"".join(b"%b\xff%b\xff" % (_utf8(name), _utf8(value)) for name, value in key)
    state, prime, mask = _FNV_OFFSET, _FNV_PRIME, _MASK_64
    for byte in encoded:
        state = ((state ^ byte) * prime) & mask
    return f"{state:016x}"


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which Go reads as U+FFFD
        return _without_surrogates(text).encode()


def _facts(key: Labels) -> LabelFacts:
    labels = dict(key)
    component = _component(labels)
    return LabelFacts(
        fingerprint=_fnv1a(key),
        severity=parse_severity(next(_values(labels, _SEVERITY_LABELS), None)),
        entities=tuple(dict.fromkeys(_entities(labels))),
        component=component,
        tags=tuple(dict.fromkeys(_tags(labels, component))),
    )


_cached_fingerprint = lru_cache(maxsize=4_096)(_fnv1a)
_cached_facts = lru_cache(maxsize=4_096)(_facts)


def _values(labels: Mapping[str, str], names: tuple[str, ...]) -> Iterator[str]:
    return (labels[name] for name in names if name in labels)


def _entities(labels: Mapping[str, str]) -> Iterator[Entity]:
    for kind, names in _ENTITY_LABELS.items():
        for value in _values(labels, names):
            yield Entity(kind, _bounded(value))
    for value in _values(labels, _UNIT_LABELS):
        if value.endswith(".service") and len(value) > len(".service"):
            yield Entity(EntityKind.SERVICE, _bounded(value.removesuffix(".service")))
    for value in _values(labels, _ENTITY_LABELS[EntityKind.INSTANCE]):
        if host := host_of(value):
            yield Entity(EntityKind.HOST, host)


def host_of(instance: str) -> str | None:
    """Return the host in `host`, `host:port`, `[v6]:port` or a URL; None if there is none."""
    if len(instance) > URL_LENGTH_MAX:
        return None
    if "://" in instance:
        try:
            host = urlsplit(instance).hostname
        except ValueError:
            return None
        return host if host and _HOST.fullmatch(host.replace(":", ".").strip(".")) else None
    if match := _HOST_PORT.fullmatch(instance):
        return match["v6"] or match["host"]
    return instance if _HOST.fullmatch(instance) else None


def _component(labels: Mapping[str, str]) -> str | None:
    if name := _component_in(labels.get("alertname", "")):
        return name
    for label, component in _COMPONENT_BY_LABEL.items():
        if label in labels:
            return component
    return _component_in(labels.get("job", "")) or _component_in(labels.get("service", ""))


def words_of(name: str) -> tuple[str, ...]:
    """Return the lower-case words of a name: `HostOutOfDiskSpace` -> host, out, of, disk, space."""
    return tuple(word.lower() for word in _WORD.findall(name[:NAME_LENGTH_MAX]))


def _component_in(text: str) -> str | None:
    found = {_BY_WORD[word] for word in words_of(text) if word in _BY_WORD}
    return min(found, key=_COMPONENT_ORDER.__getitem__) if found else None


def _tags(labels: Mapping[str, str], component: str | None) -> Iterator[str]:
    if component:
        yield component
    for name in _TAG_LABELS:
        if value := labels.get(name):
            yield _bounded(f"{name}:{value}")


def _bounded(text: str) -> str:
    return _storable(text[:NAME_LENGTH_MAX]).strip()


def _bounded_texts(texts: Mapping[str, str], count: int, length: int) -> dict[str, str]:
    names = texts if len(texts) <= count else sorted(texts)[:count]
    return {
        _storable(name[:NAME_LENGTH_MAX]): _storable(texts[name][:length])
        for name in names
        if texts[name]
    }


def _storable(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    return _without_surrogates(text.replace("\0", "\ufffd"))


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _plausible(moment: datetime, received_at: datetime) -> datetime:
    is_none = moment.year < 1971
    return received_at if is_none or moment > received_at + timedelta(days=1) else moment


def _web_address(url: str | None) -> str | None:
    if not url or len(url) > URL_LENGTH_MAX:
        return None
    return _storable(url) if url.startswith(("http://", "https://")) else None
