"""Turns the plain records of the user's guide (dictionaries) into evidence."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from it_incident_response.analysis.python_rules import Records
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    Evidence,
    Finding,
    LogLevel,
    LogPattern,
    MetricFinding,
    Shape,
    Signal,
)
from it_incident_response.domain.ids import IncidentId

RECORDS_MAX = 10_000
MESSAGE_LENGTH_MAX = 2_000

_LEVELS = {"warn": LogLevel.WARNING, "critical": LogLevel.FATAL, "err": LogLevel.ERROR}
_SIGNALS: Mapping[str, tuple[Signal, float]] = {
    "cpu_usage": (Signal.CPU_USE, 0.01),
    "memory_usage": (Signal.MEMORY_USE, 0.01),
    "disk_usage": (Signal.DISK_USE, 0.01),
    "error_rate": (Signal.ERROR_RATIO, 0.01),
    "connection_pool_usage": (Signal.CONNECTION_POOL_USE, 0.01),
    "network_latency": (Signal.NETWORK_LATENCY, 0.001),
    "response_time": (Signal.LATENCY_P95, 0.001),
}
"""Name in a record: the signal, and the factor to its unit (percent to ratio, ms to s)."""
_SHAPES = {"increasing": Shape.TREND, "stable": Shape.NORMAL, "decreasing": Shape.TREND}


def evidence_of_records(logs: Records, metrics: Records, now: datetime) -> tuple[Evidence, ...]:
    """Return evidence for what the records say; what is not understood is left out."""
    findings: list[tuple[str, Finding]] = [("logs", f) for f in _patterns(logs, now)]
    findings += [("metrics", f) for f in _readings(metrics)]
    return tuple(
        Evidence(
            id=f"r{number}",
            incident_id=IncidentId("records"),
            source=source,
            summary=f"{source} record",
            finding=finding,
            observed_at=now,
        )
        for number, (source, finding) in enumerate(findings, 1)
    )


def _patterns(logs: Records, now: datetime) -> Iterator[LogPattern]:
    for record in logs[:RECORDS_MAX]:
        message = record.get("message")
        if not isinstance(message, str):
            continue
        yield LogPattern(
            template=message[:MESSAGE_LENGTH_MAX],
            level=_level(record.get("level")),
            service=_text(record.get("service")),
            host=_text(record.get("host")),
            count=1,
            baseline_count=0,
            first_at=now,
            last_at=now,
        )


def _readings(metrics: Records) -> Iterator[MetricFinding]:
    for record in metrics[:RECORDS_MAX]:
        place = _text(record.get("host")) or _text(record.get("server")) or "unknown"
        shape = _SHAPES.get(str(record.get("trend")), Shape.NORMAL)
        for name, (signal, factor) in _SIGNALS.items():
            value = record.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            yield MetricFinding(
                signal=signal,
                entity=Entity(EntityKind.HOST, place),
                shape=shape,
                baseline=None,
                current=value * factor,
                peak=value * factor,
                effect=0.0,
            )


def _level(value: object) -> LogLevel:
    word = str(value).lower()
    if word in _LEVELS:
        return _LEVELS[word]
    return LogLevel(word) if word in set(LogLevel) else LogLevel.INFO


def _text(value: object) -> str | None:
    return value[:256] if isinstance(value, str) and value else None
