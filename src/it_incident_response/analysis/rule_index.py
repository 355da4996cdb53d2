"""Finds the few rules, of many, of which some condition may be met in a case."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from it_incident_response.analysis.case import GRAM, Case
from it_incident_response.analysis.rule_model import Condition, MetricCondition, Rule
from it_incident_response.domain.evidence import MetricFinding, Shape, Signal

_WORD = re.compile(r"[a-z0-9]+")
_ALWAYS = "*"
"""The index entry of rules that any case may concern."""


class _Range(NamedTuple):
    """What all series of one signal show together: a bound on what any of them shows."""

    low: float
    high: float
    shapes: frozenset[Shape]
    effect_low: float
    effect_high: float

    def may_meet(self, wanted: MetricCondition) -> bool:
        """Return False only if no series of the signal can meet the condition."""
        if wanted.at_least is not None and self.high < wanted.at_least:
            return False
        if wanted.at_most is not None and self.low > wanted.at_most:
            return False
        if wanted.shape is not None and self.shapes.isdisjoint(wanted.shape):
            return False
        if wanted.effect is None:
            return True
        is_rise = wanted.effect >= 0
        return self.effect_high >= wanted.effect if is_rise else self.effect_low <= wanted.effect


class RuleIndex:
    """The rules by the words, facts and signals without which none of their conditions is met."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._by_key: dict[str, set[int]] = defaultdict(set)
        self._by_signal: dict[Signal, list[tuple[int, MetricCondition]]] = defaultdict(list)
        self._waiting: list[tuple[int, frozenset[str]]] = []
        for place, rule in enumerate(rules):
            for condition in (*rule.when.all, *rule.when.any):
                self._enter(place, condition)
        self._choose_keys()

    def candidates(self, case: Case) -> list[Rule]:
        """Return the rules that may have something to say about a case, in their order."""
        keys = self._by_key.keys() & (case.keys() | {_ALWAYS})
        places = {place for key in keys for place in self._by_key[key]}
        for signal in case.metrics.keys() & self._by_signal.keys():
            seen = _range(finding for _, finding in case.metrics[signal])
            if seen is not None:
                conditions = self._by_signal[signal]
                places.update(p for p, wanted in conditions if seen.may_meet(wanted))
        return [self._rules[place] for place in sorted(places)]

    def _enter(self, place: int, condition: Condition) -> None:
        if condition.metric is not None:
            self._by_signal[condition.metric.signal].append((place, condition.metric))
        elif condition.neighbour is not None:
            self._enter(place, condition.neighbour.sees)
        elif condition.before is not None:
            self._enter(place, condition.before.first)
        else:
            self._waiting += [(place, keys) for keys in _key_choices(condition)]

    def _choose_keys(self) -> None:
        """Enter each set of keys under the one that the fewest rules have in common."""
        common = Counter(key for _, keys in self._waiting for key in keys)
        for place, keys in self._waiting:
            key = min(keys, key=lambda key: (common[key], key), default=_ALWAYS)
            self._by_key[key].add(place)
        self._waiting.clear()


def _range(findings: Iterable[MetricFinding]) -> _Range | None:
    seen = [(f.current, f.effect, f.shape) for f in findings if f.current is not None]
    if not seen:
        return None
    values, effects, shapes = zip(*seen, strict=True)
    return _Range(min(values), max(values), frozenset(shapes), min(effects), max(effects))


def _key_choices(condition: Condition) -> Iterator[frozenset[str]]:
    """Yield sets of keys: if the condition is met, the case has all keys of at least one set."""
    if condition.alert is not None:
        if not (condition.alert.name or condition.alert.mentions):
            yield frozenset()
        yield from (_word_keys(phrase) for phrase in condition.alert.name or ())
        yield from (_grams(phrase) for phrase in condition.alert.mentions or ())
    elif condition.log is not None:
        yield from (_grams(phrase) for phrase in condition.log.contains)
    elif condition.change is not None:
        yield from (frozenset([f"change:{what}"]) for what in condition.change.what)
    elif condition.command is not None:
        stem = condition.command.fact.partition(":")[0]
        yield frozenset() if stem.endswith("*") else frozenset([f"fact:{stem}"])


def _word_keys(phrase: str) -> frozenset[str]:
    """Return the whole words of a phrase, and letters of those of which only the beginning is."""
    whole = {word for word in phrase.split() if not word.endswith("*")}
    return frozenset(whole) or _grams(phrase)


def _grams(phrase: str) -> frozenset[str]:
    """Return every four letters in a row: a text that holds the phrase holds them all."""
    words = _WORD.findall(phrase)
    return frozenset(
        word[start : start + GRAM] for word in words for start in range(len(word) - GRAM + 1)
    )
