"""What failed: when it began, where, what is said of it, and who calls whom."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from it_incident_response.analysis.bundle.anomalies import MetricAnomaly, anomalies
from it_incident_response.analysis.bundle.metric_meaning import Meaning, meaning_of
from it_incident_response.analysis.bundle.symptoms import Symptom, spoken_of
from it_incident_response.analysis.log_patterns import template_of
from it_incident_response.domain.bundle import Bundle
from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.topology import Topology
from it_incident_response.domain.trace import Span

LONG_BEFORE = timedelta(hours=1)
_RANK = {level: rank for rank, level in enumerate(LogLevel)}
_GRAVE = _RANK[LogLevel.WARNING]
_AFFIXES = re.compile(r"[-_.]?(?:service|svc|server|app|api|worker)s?$|^(?:svc|app)[-_.]")
BEFORE_ALERT = timedelta(minutes=10)
"""How long before the alert grave lines count as part of it where no metric says when it began."""


class NewLines(Value):
    """Lines of one template that came with the incident, or came much more often."""

    template: str
    service: str | None
    level: LogLevel
    count: int
    before: int
    first_at: UtcTime
    example: str
    """With the texts of the attributes that only these lines have."""


class Failure(Value):
    """What failed, as far as alert, metrics, logs and traces tell."""

    onset: UtcTime | None
    first_service: str | None
    affected: tuple[str, ...]
    """Services that fail or are slow besides the first, the earliest first."""
    anomalies: tuple[MetricAnomaly, ...]
    lines: tuple[NewLines, ...]
    errors: tuple[str, ...]
    """Error texts of spans."""
    spoken: Mapping[Symptom, float]
    topology: Topology

    @property
    def services(self) -> frozenset[str]:
        """Every service that shows anything unusual."""
        told = {item.service for item in self.anomalies} | {line.service for line in self.lines}
        first = {self.first_service, *self.affected}
        return frozenset(name for name in told | first if name)


def short_name(service: str) -> str:
    """Return what of a service's name tells it from others: `payment` of `paymentservice`."""
    return _AFFIXES.sub("", service.lower()) or service.lower()


def failure_of(bundle: Bundle) -> Failure:
    """Return what failed."""
    unusual = anomalies(bundle.metrics)
    fired = bundle.alert.fired_at
    if fired is not None:
        unusual = [item for item in unusual if item.onset <= fired + BEFORE_ALERT]
    onset = _onset(bundle, unusual)
    lines = _new_lines(bundle.lines, onset)
    first = bundle.alert.service or _earliest(unusual, lines)
    texts = _texts(bundle, unusual, lines)
    return Failure(
        onset=onset,
        first_service=first,
        affected=_affected(first, unusual, lines, bundle.spans),
        anomalies=tuple(unusual),
        lines=tuple(lines),
        errors=tuple(dict.fromkeys(s.error for s in bundle.spans if s.error))[:50],
        spoken=spoken_of(texts),
        topology=_calls(bundle.spans),
    )


def _onset(bundle: Bundle, unusual: Sequence[MetricAnomaly]) -> datetime | None:
    """Return when the metric of the alert left its usual range, else the first bad one."""
    alert = bundle.alert
    own = [a.onset for a in unusual if (a.service, a.metric) == (alert.service, alert.metric)]
    of_service = [a.onset for a in unusual if a.service == alert.service and a.is_bad]
    bad = [a.onset for a in unusual if a.is_bad]
    for onsets in (own, of_service, bad):
        if onsets:
            return min(onsets)
    return _first_grave_line(bundle, alert.fired_at) if alert.fired_at else None


def _first_grave_line(bundle: Bundle, fired_at: datetime) -> datetime:
    """Return when grave lines began of which there were none long before the alert."""
    seen: dict[str, datetime] = {}
    for line in bundle.lines:
        if _RANK[line.level] >= _GRAVE:
            template = template_of(line.message)
            seen[template] = min(line.at, seen.get(template, line.at))
    near = [at for at in seen.values() if fired_at - LONG_BEFORE <= at <= fired_at]
    return min(near, default=fired_at - BEFORE_ALERT)


def _new_lines(lines: Sequence[LogLine], onset: datetime | None) -> list[NewLines]:
    """Return the templates that came more often after the onset, the gravest first."""
    if onset is None:
        return []
    slack = timedelta(minutes=1)
    groups: dict[tuple[str, str | None], list[LogLine]] = {}
    for line in lines:
        groups.setdefault((template_of(line.message), line.service), []).append(line)
    found = []
    for (template, service), group in groups.items():
        after = [line for line in group if line.at >= onset - slack]
        before = len(group) - len(after)
        if after and len(after) > 2 * before:
            found.append(_told(template, service, after, before))
    return sorted(found, key=lambda item: (-_RANK[item.level], -item.count, item.first_at))


def _told(template: str, service: str | None, after: list[LogLine], before: int) -> NewLines:
    worst = max(after, key=lambda line: _RANK[line.level])
    extra = " ".join(f"{k} {v}" for k, v in worst.attributes.items() if not v.isdigit())
    return NewLines(
        template=template,
        service=service,
        level=worst.level,
        count=len(after),
        before=before,
        first_at=min(line.at for line in after),
        example=f"{worst.message} {extra}"[:2000].strip(),
    )


def _earliest(unusual: Sequence[MetricAnomaly], lines: Sequence[NewLines]) -> str | None:
    bad = [(a.onset, a.service) for a in unusual if a.is_bad]
    grave = [(x.first_at, x.service) for x in lines if x.service and _RANK[x.level] > _GRAVE]
    return min([*bad, *grave], default=(None, None))[1]


def _affected(
    first: str | None,
    unusual: Sequence[MetricAnomaly],
    lines: Sequence[NewLines],
    spans: Sequence[Span],
) -> tuple[str, ...]:
    """Return who else fails or is slow; who is merely called less or more often is not."""
    seen: dict[str, datetime] = {}
    for anomaly in unusual:
        if anomaly.is_bad:
            seen.setdefault(anomaly.service, anomaly.onset)
    for line in lines:
        if line.service and _RANK[line.level] >= _GRAVE:
            seen.setdefault(line.service, line.first_at)
    if not unusual and not lines:
        for span in spans:
            if span.is_error:
                seen.setdefault(span.service, span.start)
    seen.pop(first or "", None)
    return tuple(sorted(seen, key=lambda name: (seen[name], name)))


def _texts(
    bundle: Bundle, unusual: Sequence[MetricAnomaly], lines: Sequence[NewLines]
) -> Iterable[tuple[str, float]]:
    """Yield what is said of the failure, the alert's own words and the first service's most."""
    alert = bundle.alert
    first = alert.service
    spoken_by_alert = " ".join(str(v) for v in alert.fields.values() if isinstance(v, str))
    yield f"{alert.metric or ''} {spoken_by_alert}", 4.0
    for anomaly in unusual:
        own = 1.5 if anomaly.service == first else 0.7
        if meaning_of(anomaly.metric) is not Meaning.LOAD:
            yield anomaly.metric.replace("_", " ") + " " + anomaly.metric, own
    for line in lines[:60]:
        grave = 2.0 if _RANK[line.level] > _GRAVE else 1.0 if _RANK[line.level] == _GRAVE else 0.4
        yield line.example, grave * (1.5 if line.service == first else 0.7)
    for pattern in bundle.patterns[:60]:
        if pattern.is_more:
            yield pattern.signature, 1.0 if pattern.service == first else 0.5
    for span in [s for s in bundle.spans if s.is_error or s.attributes][:60]:
        yield f"{span.error or ''} {' '.join(span.attributes)}", 0.5


def _calls(spans: Sequence[Span]) -> Topology:
    """Return who calls whom, from spans whose parent is another service's."""
    owner = {(span.trace_id, span.span_id): span.service for span in spans}
    calls: dict[str, set[str]] = {}
    for span in spans:
        caller = owner.get((span.trace_id, span.parent_id or ""))
        if caller is not None and caller != span.service:
            calls.setdefault(caller, set()).add(span.service)
    return Topology(calls={name: frozenset(called) for name, called in calls.items()})


def words_in(texts: Iterable[str]) -> Counter[str]:
    """Return the lower-case words of texts, identifiers taken apart, in how many texts each is."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(set(split_words(text)))
    return found


_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case: `maxConns` is `max` and `conns`."""
    return [word.lower() for word in _WORD.findall(text[:40_000]) if len(word) > 2]
