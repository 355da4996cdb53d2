"""Lets rules written in Python speak about a case, citing the evidence that convinced them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from it_incident_response.analysis.case import Case
from it_incident_response.analysis.python_rules import DiagnosticRule
from it_incident_response.domain.diagnosis import CauseKind, Hypothesis, Suggestion
from it_incident_response.domain.evidence import Evidence, MetricFinding, Shape, Signal

Record = Mapping[str, Any]

_NAMES: Mapping[Signal, tuple[str, float]] = {
    Signal.CPU_USE: ("cpu_usage", 100),
    Signal.MEMORY_USE: ("memory_usage", 100),
    Signal.DISK_USE: ("disk_usage", 100),
    Signal.ERROR_RATIO: ("error_rate", 100),
    Signal.LATENCY_P95: ("response_time", 1000),
    Signal.NETWORK_LATENCY: ("network_latency", 1000),
}
"""Signal to the name that the user's guide uses, and the factor to its unit."""
_CONFIDENCE_MAX = 0.99


def python_hypotheses(
    rules: Sequence[DiagnosticRule], case: Case
) -> list[tuple[Hypothesis, float]]:
    """Return a hypothesis with its odds for each Python rule that one piece of evidence meets."""
    records = [*_log_records(case), *_metric_records(case)] if rules else []
    found = []
    for rule in rules:
        cited = [evidence for evidence, record in records if rule.matches([record])]
        if cited:
            confidence = min(max(rule.confidence_base, 0.0), _CONFIDENCE_MAX)
            found.append((_hypothesis(rule, cited), confidence / (1 - confidence)))
    return found


def _hypothesis(rule: DiagnosticRule, cited: Sequence[Evidence]) -> Hypothesis:
    return Hypothesis(
        cause_id=rule.name,
        cause=rule.root_cause,
        kind=CauseKind.UNKNOWN,
        confidence=rule.confidence_base,
        supporting=tuple(evidence.id for evidence in cited[:24]),
        suggestions=tuple(Suggestion(text=text) for text in rule.remediation_actions),
        source="python rule",
    )


def _log_records(case: Case) -> Iterator[tuple[Evidence, Record]]:
    for seen in case.logs:
        if seen.pattern is not None and seen.pattern.count:  # a pattern that is gone says nothing
            for message in seen.pattern.examples or (seen.pattern.template,):
                yield (
                    seen.evidence,
                    {
                        "message": message,
                        "level": seen.pattern.level.value.upper(),
                        "service": seen.pattern.service,
                    },
                )


def _metric_records(case: Case) -> Iterator[tuple[Evidence, Record]]:
    for found in case.metrics.values():
        for evidence, finding in found:
            if finding.signal in _NAMES and finding.current is not None:
                name, factor = _NAMES[finding.signal]
                trend = _trend(finding)
                yield evidence, {name: finding.current * factor, "trend": trend}


def _trend(finding: MetricFinding) -> str:
    if finding.shape in (Shape.NORMAL, Shape.FLAT_LINE):
        return "stable"
    return "increasing" if finding.effect >= 0 else "decreasing"
