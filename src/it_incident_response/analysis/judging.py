"""Judges one condition against a case: met, not met, or unknown because nobody could look."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from it_incident_response.analysis.case import Case, SeenAlert, SeenLog, lasted, time_of
from it_incident_response.analysis.rule_model import (
    AlertCondition,
    BeforeCondition,
    ChangeCondition,
    CommandCondition,
    Condition,
    LogCondition,
    MetricCondition,
    NeighbourCondition,
)
from it_incident_response.domain.evidence import Evidence, LogLevel, MetricFinding, Shape
from it_incident_response.domain.labels import label_facts

CITED_MAX = 8
LEVELS = list(LogLevel)
_NUMBER = re.compile(r"[^0-9+-]{0,64}([+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?)")
_LATE_CHANGE_S = 300.0
"""A change this long after the first alert may still be its cause: alerts need time to fire."""
_TIMING_S = 60.0
"""How far off the time of an onset may be: a scrape interval and what smoothing adds."""


class State(Enum):
    """How a condition stands."""

    MET = "met"
    UNMET = "unmet"
    UNKNOWN = "unknown"


class Judgement(NamedTuple):
    """How a condition stands, and the evidence for it (met) or against it (unmet)."""

    state: State
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""


def judge(condition: Condition, case: Case) -> Judgement:
    """Return how one condition stands in a case."""
    kind = condition.kind
    return _JUDGES[kind](getattr(condition, kind), case)


def _met(evidence: Iterable[Evidence]) -> Judgement | None:
    found = tuple(evidence)
    return Judgement(State.MET, found[:CITED_MAX]) if found else None


def _alert(wanted: AlertCondition, case: Case) -> Judgement:
    found = (seen.evidence for seen in case.alerts if _alert_fits(wanted, seen, case))
    return _met(found) or Judgement(State.UNMET)


def _alert_fits(wanted: AlertCondition, seen: SeenAlert, case: Case) -> bool:
    if wanted.name and not any(_in_words(phrase, seen.words) for phrase in wanted.name):
        return False
    if wanted.mentions and not any(
        phrase in seen.text or _in_words(phrase, seen.words) for phrase in wanted.mentions
    ):
        return False
    labels = seen.fact.labels
    return (
        (wanted.component is None or wanted.component == label_facts(labels).component)
        and all(fnmatchcase(labels.get(n, ""), v) for n, v in (wanted.label or {}).items())
        and lasted(seen.fact.starts_at, case, wanted.lasting)
    )


def _in_words(phrase: str, words: tuple[str, ...]) -> bool:
    """Return whether the parts of a phrase are words of a name, in this order, others between."""
    rest = iter(words)
    return all(any(_is_word(part, word) for word in rest) for part in phrase.split())


def _is_word(part: str, word: str) -> bool:
    return word.startswith(part[:-1]) if part.endswith("*") else word == part


def _log(wanted: LogCondition, case: Case) -> Judgement:
    if found := _met(seen.evidence for seen in case.logs if _log_fits(wanted, seen)):
        return found
    if reason := case.silent("logs"):
        return Judgement(State.UNKNOWN, reason=f"logs: {reason}")
    return Judgement(State.UNMET)


def _log_fits(wanted: LogCondition, seen: SeenLog) -> bool:
    if not any(phrase in seen.text for phrase in wanted.contains):
        return False
    if wanted.words and not all(word in seen.text for word in wanted.words):
        return False
    pattern = seen.pattern
    if pattern is None:  # printed by a command: neither level nor baseline is known
        return wanted.surge is None
    is_frequent = wanted.surge is None or pattern.count >= wanted.surge * max(
        pattern.baseline_count, 1.0
    )
    return (
        LEVELS.index(pattern.level) >= LEVELS.index(wanted.level)
        and pattern.count >= wanted.count
        and is_frequent
    )


def _metric(wanted: MetricCondition, case: Case) -> Judgement:
    seen = [
        (evidence, finding)
        for evidence, finding in case.metrics.get(wanted.signal, ())
        if finding.shape is not Shape.NO_DATA and finding.current is not None
    ]
    fits = (evidence for evidence, finding in seen if _metric_fits(wanted, finding, case))
    if found := _met(fits):
        return found
    if not seen:
        reason = case.silent("metrics") or "no data"
        return Judgement(State.UNKNOWN, reason=f"{wanted.signal}: {reason}")
    return Judgement(State.UNMET, tuple(evidence for evidence, _ in seen[:3]))


def _metric_fits(wanted: MetricCondition, finding: MetricFinding, case: Case) -> bool:
    current = finding.current
    assert current is not None  # noqa: S101 - filtered by the caller
    if wanted.at_least is not None and current < wanted.at_least:
        return False
    if wanted.at_most is not None and current > wanted.at_most:
        return False
    if wanted.shape is not None and finding.shape not in wanted.shape:
        return False
    return (
        _reaches(finding.effect, wanted.effect, turn=0.0)
        and _is_multiple(finding, wanted.times)
        and lasted(finding.onset, case, wanted.lasting)
    )


def _reaches(value: float, bound: float | None, *, turn: float) -> bool:
    if bound is None:
        return True
    return value >= bound if bound >= turn else value <= bound


def _is_multiple(finding: MetricFinding, times: float | None) -> bool:
    if times is None:
        return True
    if not finding.baseline or finding.current is None:
        return False
    return _reaches(finding.current / finding.baseline, times, turn=1.0)


def _change(wanted: ChangeCondition, case: Case) -> Judgement:
    earliest = case.began - timedelta(seconds=wanted.within)
    latest = case.began + timedelta(seconds=_LATE_CHANGE_S)
    related = case.related()
    found = (
        evidence
        for evidence, change in case.changes
        if change.what in wanted.what
        and earliest <= change.at <= latest
        and (change.entity is None or not related or change.entity.name in related)
        and (not wanted.mentions or any(p in change.summary.lower() for p in wanted.mentions))
    )
    if judgement := _met(found):
        return judgement
    if case.changes:
        return Judgement(State.UNMET)
    return Judgement(State.UNKNOWN, reason=f"changes: {case.silent('changes') or 'none known'}")


def _command(wanted: CommandCondition, case: Case) -> Judgement:
    seen = [
        (evidence, value)
        for evidence, output in case.commands
        for name, value in output.facts.items()
        if _is_fact(wanted.fact, name)
    ]
    if found := _met(evidence for evidence, value in seen if _value_fits(wanted, value)):
        return found
    if not seen:
        return Judgement(State.UNKNOWN, reason=f"{wanted.fact} was not looked at")
    return Judgement(State.UNMET, tuple(evidence for evidence, _ in seen[:3]))


def _is_fact(wanted: str, name: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _value_fits(wanted: CommandCondition, value: str) -> bool:
    lower = value.lower()
    if wanted.equals is not None and lower not in wanted.equals:
        return False
    if wanted.contains is not None and not any(phrase in lower for phrase in wanted.contains):
        return False
    if wanted.at_least is None and wanted.at_most is None:
        return True
    match = _NUMBER.match(value)
    if match is None:
        return False
    number = float(match[1])
    return (wanted.at_least is None or number >= wanted.at_least) and (
        wanted.at_most is None or number <= wanted.at_most
    )


def _neighbour(wanted: NeighbourCondition, case: Case) -> Judgement:
    if not case.topology.calls:
        return Judgement(State.UNKNOWN, reason="no dependencies are known")
    return judge(wanted.sees, case.near(wanted.where))


def _before(wanted: BeforeCondition, case: Case) -> Judgement:
    first, then = judge(wanted.first, case), judge(wanted.then, case)
    for judgement in (first, then):
        if judgement.state is not State.MET:
            return judgement._replace(evidence=())
    for one in first.evidence:
        for other in then.evidence:
            began, followed = time_of(one), time_of(other)
            if began is None or followed is None:
                continue
            if -_TIMING_S <= (followed - began).total_seconds() <= wanted.within:
                return Judgement(State.MET, (one, other))
    return Judgement(State.UNMET, (*first.evidence[:1], *then.evidence[:1]))


_JUDGES: Mapping[str, Callable[[Any, Case], Judgement]] = {
    "alert": _alert,
    "log": _log,
    "metric": _metric,
    "change": _change,
    "command": _command,
    "neighbour": _neighbour,
    "before": _before,
}
