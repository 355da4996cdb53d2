"""Evidence written in a few words, for the examples of rules and for tests.

Each item has one word that says its kind; the rest is optional:

    {alert: HighErrorRate, service: shop, text: "5% of requests fail", minutes: 5}
    {metric: disk_use, value: 0.97, baseline: 0.6, shape: saturation, host: db-1}
    {log: "no space left on device", level: error, count: 12, baseline: 0, host: db-1}
    {change: deploy, text: "version 42", service: shop, minutes: 10}
    {command: "systemctl show", facts: {ActiveState: failed}, service: shop, output: ""}
    {gap: logs, text: "connection refused"}

`minutes` says how long before now it began, 5 if nothing is said.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    AlertFact,
    Change,
    CommandOutput,
    Evidence,
    Finding,
    LogLevel,
    LogPattern,
    MetricFinding,
    Shape,
    Signal,
    SourceGap,
)
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.labels import make_alert

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""The moment that examples are judged at."""

_PLACES = {"service": EntityKind.SERVICE, "host": EntityKind.HOST}
_COMMON = frozenset({"service", "host", "minutes", "text"})


def evidence_from(items: Iterable[Mapping[str, Any]], now: datetime = NOW) -> tuple[Evidence, ...]:
    """Return the evidence that the items describe, ids `e1`, `e2`...

    Raises `ValueError` that names the item for an unknown word or value.
    """
    return tuple(_evidence(number, item, now) for number, item in enumerate(items, 1))


def _evidence(number: int, item: Mapping[str, Any], now: datetime) -> Evidence:
    kind = next((word for word in _KINDS if word in item), None)
    if kind is None:
        raise ValueError(f"evidence {number} has none of the words {', '.join(_KINDS)}")
    make, words = _KINDS[kind]
    if unknown := set(item) - words - _COMMON - {kind}:
        raise ValueError(f"evidence {number} ({kind}): unknown word {sorted(unknown)[0]!r}")
    at = now - timedelta(minutes=float(item.get("minutes", 5)))
    try:
        finding = make(item, at)
    except (ValueError, TypeError) as error:
        raise ValueError(f"evidence {number} ({kind}): {error}") from error
    return Evidence(
        id=f"e{number}",
        incident_id=IncidentId("example"),
        source=kind,
        summary=f"{kind} {item[kind]}",
        finding=finding,
        observed_at=now,
    )


def _entity(item: Mapping[str, Any]) -> Entity | None:
    for word, kind in _PLACES.items():
        if word in item:
            return Entity(kind, str(item[word]))
    return None


def _known_entity(item: Mapping[str, Any]) -> Entity:
    return _entity(item) or Entity(EntityKind.HOST, "host-1")


def _alert(item: Mapping[str, Any], at: datetime) -> Finding:
    places = {word: str(item[word]) for word in _PLACES if word in item}
    labels = {"alertname": str(item["alert"]), **places, **item.get("labels", {})}
    alert = make_alert(
        labels=labels,
        annotations={"summary": str(item.get("text", ""))},
        status=AlertStatus.FIRING,
        starts_at=at,
        ends_at=None,
        received_at=at,
        source="example",
    )
    return AlertFact(
        fingerprint=alert.fingerprint,
        name=alert.name,
        entities=alert.entities,
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=at,
    )


def _metric(item: Mapping[str, Any], at: datetime) -> Finding:
    value, baseline = item.get("value"), item.get("baseline")
    shape = Shape(item.get("shape", "normal" if value is not None else "no_data"))
    default = 0.0 if shape is Shape.NORMAL else 10.0
    if value is not None and baseline is not None and value < baseline:
        default = -default
    return MetricFinding(
        signal=Signal(item["metric"]),
        entity=_known_entity(item),
        shape=shape,
        baseline=baseline,
        current=value,
        peak=value,
        effect=float(item.get("effect", default)),
        onset=None if shape is Shape.NORMAL else at,
    )


def _log(item: Mapping[str, Any], at: datetime) -> Finding:
    return LogPattern(
        template=str(item["log"]),
        level=LogLevel(item.get("level", "error")),
        service=item.get("service"),
        host=item.get("host"),
        count=int(item.get("count", 10)),
        baseline_count=float(item.get("baseline", 0)),
        first_at=at,
        last_at=at,
    )


def _change(item: Mapping[str, Any], at: datetime) -> Finding:
    return Change(
        change_id="c1",
        what=str(item["change"]),
        entity=_entity(item),
        at=at,
        summary=str(item.get("text", "")),
    )


def _command(item: Mapping[str, Any], at: datetime) -> Finding:
    return CommandOutput(
        entity=_known_entity(item),
        command=str(item["command"]),
        exit_status=0,
        output=str(item.get("output", "")),
        facts={str(name): str(value) for name, value in item.get("facts", {}).items()},
    )


def _gap(item: Mapping[str, Any], at: datetime) -> Finding:
    return SourceGap(source=str(item["gap"]), reason=str(item.get("text", "unreachable")))


_KINDS: Mapping[str, tuple[Callable[[Mapping[str, Any], datetime], Finding], frozenset[str]]] = {
    "alert": (_alert, frozenset({"labels"})),
    "metric": (_metric, frozenset({"value", "baseline", "shape", "effect"})),
    "log": (_log, frozenset({"level", "count", "baseline"})),
    "change": (_change, frozenset()),
    "command": (_command, frozenset({"facts", "output"})),
    "gap": (_gap, frozenset()),
}
