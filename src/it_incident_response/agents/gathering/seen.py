"""One observation before it is stored, and the sentence that says what it shows."""

from dataclasses import dataclass

from it_incident_response.domain.evidence import (
    Change,
    Finding,
    LogPattern,
    LogRate,
    MetricFinding,
    Novelty,
    Shape,
    SourceGap,
    SpanFinding,
    TimeWindow,
)


@dataclass(frozen=True)
class Seen:
    """One observation before it is stored."""

    source: str
    summary: str
    finding: Finding
    query: str | None = None
    link: str | None = None
    window: TimeWindow | None = None
    is_partial: bool = False


def gap(source: str, reason: str) -> Seen:
    """Return the observation that a source was silent."""
    return Seen(
        source=source,
        summary=f"{source} could not be asked: {reason}",
        finding=SourceGap(source=source, reason=reason),
    )


def missing_part(source: str, reason: str) -> Seen:
    """Return the observation that a source answered in part."""
    return Seen(
        source=source,
        summary=f"{source} answered in part: {reason}",
        finding=SourceGap(source=source, reason=reason),
        is_partial=True,
    )


def describe_metric(finding: MetricFinding) -> str:
    """Return one sentence on what a series shows."""
    name = f"{finding.title or finding.signal} of {finding.entity}"
    if finding.shape is Shape.NO_DATA or finding.current is None:
        return f"{name} has no data"
    level = f"{finding.current:.4g}"
    if finding.shape is Shape.NORMAL:
        return f"{name} is normal at {level}"
    usual = f", usually {finding.baseline:.4g}" if finding.baseline is not None else ""
    since = f", since {finding.onset:%H:%M:%S} UTC" if finding.onset else ""
    return f"{name}: {finding.shape.value.replace('_', ' ')} to {level}{usual}{since}"


def describe_pattern(pattern: LogPattern) -> str:
    """Return one sentence on what a log pattern shows."""
    place = " on ".join(part for part in (pattern.service, pattern.host) if part)
    where = f" from {place}" if place else ""
    cause = f" ({pattern.exception})" if pattern.exception else ""
    usual = _usually(pattern.baseline_count)
    return f"{pattern.count}x {pattern.level}{where}{usual}: {pattern.template[:200]}{cause}"


def describe_rate(rate: LogRate) -> str:
    """Return one sentence on how many lines of a level were written."""
    where = f" of {rate.service}" if rate.service else ""
    since = f", since {rate.onset:%H:%M:%S} UTC" if rate.onset else ""
    verdict = "" if rate.novelty is Novelty.UNKNOWN else f" ({rate.novelty})"
    return (
        f"{rate.count} lines of level {rate.level}{where}{_usually(rate.baseline_count)}"
        f"{verdict}{since}"
    )


def describe_change(change: Change) -> str:
    """Return one sentence on what was changed."""
    where = f" of {change.entity}" if change.entity else ""
    who = f" by {change.author}" if change.author else ""
    return f"{change.what}{where}{who} at {change.at:%H:%M:%S} UTC: {change.summary}"


def describe_span(finding: SpanFinding) -> str:
    """Return one sentence on how the calls of an operation went."""
    called = f", called by {finding.caller}" if finding.caller else ""
    parts = [f"{finding.errors} of {finding.calls} calls failed"]
    if finding.baseline_calls:
        parts.append(f"before {finding.baseline_errors} of {finding.baseline_calls}")
    if finding.p95_s is not None:
        usual = f", usually {finding.baseline_p95_s:.3g} s" if finding.baseline_p95_s else ""
        parts.append(f"95 % within {finding.p95_s:.3g} s of its own{usual}")
    ends = "; it begins here" if finding.is_deepest else ""
    error = f": {finding.error[:200]}" if finding.error else ""
    return f"{finding.service} {finding.operation}{called}: {', '.join(parts)}{ends}{error}"


def _usually(count: float) -> str:
    return f", usually {count:.1f}" if count >= 0.05 else ", new"
