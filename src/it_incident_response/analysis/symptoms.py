"""Reads one piece of evidence as a symptom: of what, how strong, since when, and whose fault."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from it_incident_response.analysis.likeness import likeness
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    AlertFact,
    CommandOutput,
    Evidence,
    LogLevel,
    LogPattern,
    LogRate,
    MetricFinding,
    Novelty,
    Shape,
    Signal,
    SpanFinding,
)
from it_incident_response.domain.model import Value


class Channel(StrEnum):
    """How trouble comes from a callee to its callers, if it does."""

    OWN = "own"
    """It does not: the trouble lies where it was seen."""
    ERRORS = "errors"
    DELAY = "delay"
    LOAD = "load"
    ANY = "any"


USUAL_Z = 3.5
"""Robust z at which a metric begins to count (see `metric_findings.OUTLYING`)."""
EXTREME_Z = 100.0
"""Robust z from which a metric counts in full: scales differ too much to compare beyond it."""
IMPROVED = 0.25
"""Weight of a change for the better: it may be a consequence, it is no complaint."""
ALERT_STRENGTH = 0.3
"""An alert says where trouble was noticed, not where it began."""
FAILED_UNIT_STRENGTH = 0.9
UNSEEN_ONSET = 0.5
"""Weight of a change that was there when the incident's window began."""
RASTER_SAMPLES = 20
SMALL_DELAY = 0.1
"""Least weight left to a delay, however small beside the largest."""
SHALLOW = 0.5
"""Weight of spans whose own children fail or are slow."""
UNCOMPARED = 0.4
"""Weight of a metric without a baseline: what it shows may always have been so."""

OWN_SIGNALS: Mapping[Signal, float] = {
    Signal.UP: 1.0,
    Signal.OOM_KILLS: 1.0,
    Signal.CERTIFICATE_LIFETIME: 0.9,
    Signal.DISK_USE: 0.8,
    Signal.INODE_USE: 0.8,
    Signal.NETWORK_ERRORS: 0.8,
    Signal.NETWORK_LATENCY: 0.8,
    Signal.RESTARTS: 0.7,
    Signal.CPU_USE: 0.7,
    Signal.MEMORY_USE: 0.6,
    Signal.DISK_IO_BUSY: 0.6,
    Signal.DISK_LATENCY: 0.6,
    Signal.GC_TIME: 0.6,
    Signal.LOCK_CONFLICTS: 0.6,
    Signal.MISSING_REPLICAS: 0.8,
    Signal.CACHE_MISSES: 0.4,
    Signal.EVICTIONS: 0.4,
    Signal.FILE_DESCRIPTOR_USE: 0.6,
    Signal.SATURATION: 0.6,
    Signal.PROCESS_MEMORY: 0.5,
    Signal.CLOCK_OFFSET: 0.5,
    Signal.OTHER: 0.0,
}
"""Weight of signals whose trouble lies where it is measured, by how rarely it is a consequence."""
FELT_SIGNALS: Mapping[Signal, float] = {
    Signal.ERROR_RATIO: 0.85,
    Signal.LATENCY_P95: 0.75,
    Signal.CONNECTION_POOL_USE: 0.7,
    Signal.REJECTIONS: 0.8,
    Signal.REPLICATION_LAG: 0.6,
    Signal.QUEUE_LENGTH: 0.6,
    Signal.REQUEST_RATE: 0.4,
    Signal.THREADS: 0.4,
}
"""Weight of signals that a slow or failing callee changes in its callers too."""
_CHANNELS: Mapping[Signal, Channel] = {
    Signal.ERROR_RATIO: Channel.ERRORS,
    Signal.REJECTIONS: Channel.ERRORS,
    Signal.LATENCY_P95: Channel.DELAY,
    Signal.CONNECTION_POOL_USE: Channel.DELAY,
    Signal.QUEUE_LENGTH: Channel.DELAY,
    Signal.REPLICATION_LAG: Channel.DELAY,
    Signal.REQUEST_RATE: Channel.LOAD,
}
_FALLING_IS_BAD = frozenset({Signal.UP, Signal.CERTIFICATE_LIFETIME})
_EITHER_IS_BAD = frozenset({Signal.REQUEST_RATE, Signal.CLOCK_OFFSET, Signal.OTHER})
_LEVEL_WEIGHTS: Mapping[LogLevel, float] = {
    LogLevel.FATAL: 1.0,
    LogLevel.ERROR: 0.85,
    LogLevel.WARNING: 0.4,
    LogLevel.INFO: 0.15,
    LogLevel.DEBUG: 0.1,
}
_NOVELTY_WEIGHTS: Mapping[Novelty, float] = {
    Novelty.NEW: 1.0,
    Novelty.SURGE: 0.8,
    Novelty.UNKNOWN: 0.4,
    Novelty.GONE: 0.3,
    Novelty.DROP: 0.2,
    Novelty.USUAL: 0.0,
}
_REPLICA_SET_POD = re.compile(r"^(.+)-[0-9a-f]{6,10}-[a-z0-9]{5}$")
_STATEFUL_POD = re.compile(r"^(.+)-[0-9]{1,5}$")


class Symptom(NamedTuple):
    """Something that is wrong with one service or host."""

    entity: Entity
    strength: float
    """0 to 1."""
    channel: Channel
    onset: datetime | None
    evidence: Evidence
    delay_s: float = 0.0
    """By how much longer a span's own work takes than before; 0 for everything else."""


def symptoms_of(evidence: Sequence[Evidence]) -> list[Symptom]:
    """Return what is wrong, by the evidence; what is as usual is left out.

    Metrics that do not move with those of what alerts count less, and so do spans whose delay is
    small beside the largest one: time adds up along the calls, the origin's share of it is large.
    """
    found = [
        symptom
        for item in evidence
        if (read := _READERS.get(type(item.finding))) is not None
        for symptom in read(item, item.finding)
        if symptom.strength > 0
    ]
    longest = max((symptom.delay_s for symptom in found), default=0.0)
    found = [_beside(symptom, longest) for symptom in found]
    noticed = _noticed(found)
    return [_weighed(symptom, noticed) for symptom in found] if noticed else found


def _beside(symptom: Symptom, longest: float) -> Symptom:
    if not symptom.delay_s:
        return symptom
    share = max(SMALL_DELAY, math.sqrt(symptom.delay_s / longest))
    return symptom._replace(strength=symptom.strength * share)


def _noticed(symptoms: Sequence[Symptom]) -> list[MetricFinding]:
    """Return the strongest metric of each channel of what alerts."""
    alerting = {s.entity for s in symptoms if isinstance(s.evidence.finding, AlertFact)}
    best: dict[Channel, tuple[float, str, MetricFinding]] = {}
    for symptom in symptoms:
        finding = symptom.evidence.finding
        if symptom.entity in alerting and isinstance(finding, MetricFinding) and finding.samples:
            entry = (symptom.strength, symptom.evidence.id, finding)
            held = best.get(symptom.channel)
            if held is None or entry[:2] > held[:2]:
                best[symptom.channel] = entry
    return [finding for _, _, finding in best.values()]


def _weighed(symptom: Symptom, noticed: Sequence[MetricFinding]) -> Symptom:
    finding = symptom.evidence.finding
    if not isinstance(finding, MetricFinding):
        return symptom
    return symptom._replace(strength=symptom.strength * likeness(finding, noticed))


def place_of(entity: Entity) -> Entity:
    """Return the service or host that a thing belongs to: a pod's service, an instance's host."""
    if entity.kind is EntityKind.POD:
        match = _REPLICA_SET_POD.match(entity.name) or _STATEFUL_POD.match(entity.name)
        return Entity(EntityKind.SERVICE, match[1] if match else entity.name)
    if entity.kind is EntityKind.INSTANCE:
        return Entity(EntityKind.HOST, entity.name.rsplit(":", 1)[0])
    if entity.kind is EntityKind.NODE:
        return Entity(EntityKind.HOST, entity.name)
    if entity.kind in (EntityKind.JOB, EntityKind.CONTAINER):
        return Entity(EntityKind.SERVICE, entity.name)
    return entity


def strength_of(finding: MetricFinding) -> float:
    """Return 0 to 1: how strongly a metric complains; the logarithm of its effect, by signal."""
    if finding.shape in (Shape.NORMAL, Shape.NO_DATA):
        return 0.0
    effect = _peak_effect(finding) if finding.shape is Shape.SPIKE else finding.effect
    size = math.log1p(abs(effect) / USUAL_Z) / math.log1p(EXTREME_Z / USUAL_Z)
    if finding.shape is Shape.SATURATION:
        size = max(size, 0.6)
    if finding.shape is Shape.SPIKE:
        size *= 0.6
    weight = OWN_SIGNALS.get(finding.signal) or FELT_SIGNALS.get(finding.signal, 0.3)
    if finding.baseline is None:
        weight *= UNCOMPARED
    return min(1.0, size) * weight * _direction(finding, effect)


def _peak_effect(finding: MetricFinding) -> float:
    """Return the effect of the peak, on the scale that the effect of the current level has."""
    if finding.peak is None or finding.baseline is None or finding.current is None:
        return finding.effect
    change = finding.current - finding.baseline
    scale = change / finding.effect if finding.effect else 0.0
    return (finding.peak - finding.baseline) / scale if scale else 2 * USUAL_Z


def _direction(finding: MetricFinding, effect: float) -> float:
    if finding.signal in _EITHER_IS_BAD or not effect:
        return 1.0
    is_falling = effect < 0
    return 1.0 if is_falling == (finding.signal in _FALLING_IS_BAD) else IMPROVED


def _metric(item: Evidence, finding: MetricFinding) -> Iterator[Symptom]:
    own = Channel.OWN if finding.signal in OWN_SIGNALS else Channel.ANY
    channel = _CHANNELS.get(finding.signal, own)
    strength, onset = strength_of(finding), finding.onset
    if _is_older_than_the_look(finding):
        strength, onset = strength * UNSEEN_ONSET, None
    yield Symptom(place_of(finding.entity), strength, channel, onset, item)


def _is_older_than_the_look(finding: MetricFinding) -> bool:
    """Return whether the first sample after the baseline was changed already.

    The baseline may be of another day: then nobody saw when the change came.
    """
    if finding.onset is None or finding.baseline_end is None:
        return False
    times = [time for time, _ in finding.samples[-RASTER_SAMPLES:]]
    step = median(b - a for a, b in pairwise(times)) if len(times) > 1 else 0.0
    return (finding.onset - finding.baseline_end).total_seconds() < step


def _pattern(item: Evidence, finding: LogPattern) -> Iterator[Symptom]:
    entity = _where(finding.service, finding.host)
    if entity is None:
        return
    strength = _LEVEL_WEIGHTS[finding.level] * _NOVELTY_WEIGHTS[finding.novelty]
    yield Symptom(entity, strength, Channel.ERRORS, finding.first_at, item)


def _rate(item: Evidence, finding: LogRate) -> Iterator[Symptom]:
    entity = _where(finding.service, None)
    if entity is None:
        return
    strength = 0.7 * _LEVEL_WEIGHTS[finding.level] * _NOVELTY_WEIGHTS[finding.novelty]
    yield Symptom(entity, strength, Channel.ERRORS, finding.onset, item)


def _span(item: Evidence, finding: SpanFinding) -> Iterator[Symptom]:
    failing, slower = _failing(finding), _slower(finding)
    channel = Channel.ERRORS if failing >= slower else Channel.DELAY
    worse = max(failing, slower)
    strength = worse if finding.is_deepest else SHALLOW * worse
    entity = Entity(EntityKind.SERVICE, finding.service)
    delay_s = 0.0
    if slower > failing:
        delay_s = (finding.p95_s or 0.0) - (finding.baseline_p95_s or 0.0)
    channel = Channel.OWN if finding.is_deepest else channel
    yield Symptom(entity, strength, channel, None, item, delay_s)


def _failing(finding: SpanFinding) -> float:
    """Return by how much larger a share of the calls fails than before, 0 to 1."""
    now = finding.errors / finding.calls if finding.calls else 0.0
    before = finding.baseline_errors / finding.baseline_calls if finding.baseline_calls else 0.0
    return max(0.0, min(1.0, 2 * (now - before)))


def _slower(finding: SpanFinding) -> float:
    """Return 0 to 1 for own time 1 to 100 times as long as before, by its logarithm."""
    if not finding.p95_s or not finding.baseline_p95_s:
        return 0.0
    return max(0.0, min(1.0, math.log10(finding.p95_s / finding.baseline_p95_s) / 2))


def _alert(item: Evidence, fact: AlertFact) -> Iterator[Symptom]:
    if not fact.is_firing:
        return
    for entity in {place_of(entity) for entity in fact.entities}:
        if entity.kind in (EntityKind.SERVICE, EntityKind.HOST):
            yield Symptom(entity, ALERT_STRENGTH, Channel.ANY, fact.starts_at, item)


def _command(item: Evidence, finding: CommandOutput) -> Iterator[Symptom]:
    if any(
        name.partition(":")[0] == "ActiveState" and value == "failed"
        for name, value in finding.facts.items()
    ):
        yield Symptom(place_of(finding.entity), FAILED_UNIT_STRENGTH, Channel.OWN, None, item)


def _where(service: str | None, host: str | None) -> Entity | None:
    if service:
        return Entity(EntityKind.SERVICE, service)
    return Entity(EntityKind.HOST, host) if host else None


_READERS: Mapping[type[Value], Callable[[Evidence, Any], Iterator[Symptom]]] = {
    MetricFinding: _metric,
    LogPattern: _pattern,
    LogRate: _rate,
    SpanFinding: _span,
    AlertFact: _alert,
    CommandOutput: _command,
}
