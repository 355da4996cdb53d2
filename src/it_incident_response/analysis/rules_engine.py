"""RulesEngine: judges every rule that can have something to say about a case."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from it_incident_response.analysis.case import GRAM, Case, build_case
from it_incident_response.analysis.python_rules import GUIDE_RULES, DiagnosticRule, Records
from it_incident_response.analysis.record_evidence import evidence_of_records
from it_incident_response.analysis.rule_file import (
    LoadedRules,
    load_rules,
    rule_paths,
    shipped_paths,
)
from it_incident_response.analysis.rule_model import Condition, Rule
from it_incident_response.analysis.rule_verdict import RuleVerdict, weigh
from it_incident_response.domain.topology import Topology
from it_incident_response.errors import RuleError
from it_incident_response.ports.clock import utc

__all__ = ["DiagnosticRule", "RulesEngine"]

_WORD = re.compile(r"[a-z0-9]+")
_ALWAYS = "*"
"""The index entry of rules that any case may concern."""


class RulesEngine:
    """The rules in use, indexed by what they look for."""

    def __init__(
        self,
        rules: Iterable[DiagnosticRule | Rule] | None = None,
        *,
        problems: Sequence[RuleError] = (),
    ) -> None:
        """Use these rules; without any, the guide's two Python rules and the shipped YAML rules."""
        given = [*GUIDE_RULES, *_shipped().rules] if rules is None else list(rules)
        self.python_rules = tuple(rule for rule in given if isinstance(rule, DiagnosticRule))
        self.rules = tuple(rule for rule in given if isinstance(rule, Rule))
        self.problems = tuple(problems)
        """What was wrong with rules that therefore were not loaded."""
        self._index: dict[str, list[int]] = defaultdict(list)
        for place, rule in enumerate(self.rules):
            for key in _keys(rule):
                self._index[key].append(place)

    @classmethod
    def shipped(cls, extra: Sequence[Path] = ()) -> "RulesEngine":
        """Return an engine with the shipped rules and those in the folders or files `extra`.

        A rule that cannot be used is left out and listed in `problems`. Raises `RuleError` if one
        of `extra` does not exist.
        """
        paths = [path for place in extra for path in rule_paths(Path(place))]
        loaded = load_rules([*shipped_paths(), *paths]) if paths else _shipped()
        return cls(loaded.rules, problems=loaded.problems)

    def weigh(self, case: Case) -> list[RuleVerdict]:
        """Return what each rule says that found something, the likeliest first."""
        keys = self._index.keys() & (case.keys() | {_ALWAYS})
        places = {place for key in keys for place in self._index[key]}
        verdicts = (weigh(self.rules[place], case) for place in sorted(places))
        found = [verdict for verdict in verdicts if verdict is not None]
        return sorted(found, key=lambda verdict: -verdict.log_odds)

    def diagnose(
        self, logs: list[dict[str, Any]], metrics: list[dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Return the first cause that logs and metrics show, as in the user's guide, or None.

        Logs are dictionaries with `message`, `level` (`ERROR`...) and optionally `service`;
        metrics have names such as `cpu_usage`, `memory_usage` (percent) and `trend`. The answer
        has `root_cause`, `confidence`, `remediation` and `rule_matched`. Python rules are asked
        first, in their order, then the likeliest YAML rule that matches in full.
        """
        for rule in self.python_rules:
            if rule.matches(logs) or rule.matches(metrics):
                return {
                    "root_cause": rule.root_cause,
                    "confidence": rule.confidence_base,
                    "remediation": rule.remediation_actions,
                    "rule_matched": rule.name,
                }
        return self._best_match(logs, metrics)

    def _best_match(self, logs: Records, metrics: Records) -> dict[str, Any] | None:
        now = utc(0)
        case = build_case(evidence_of_records(logs, metrics, now), Topology(), now)
        best = next((verdict for verdict in self.weigh(case) if verdict.is_match), None)
        if best is None:
            return None
        return {
            "root_cause": best.rule.cause,
            "confidence": round(best.probability, 3),
            "remediation": [suggestion.text for suggestion in best.rule.suggests],
            "rule_matched": best.rule.id,
        }


@cache
def _shipped() -> LoadedRules:
    return load_rules(shipped_paths())


def _keys(rule: Rule) -> set[str]:
    """Return index keys of which a case has at least one if any condition of the rule is met."""
    return {key for c in (*rule.when.all, *rule.when.any) for key in _condition_keys(c)}


def _condition_keys(condition: Condition) -> Iterator[str]:
    if condition.alert is not None:
        phrases = (*(condition.alert.name or ()), *(condition.alert.mentions or ()))
        yield from _phrase_keys(phrases) if phrases else (_ALWAYS,)
    elif condition.log is not None:
        yield from _phrase_keys(condition.log.contains)
    elif condition.metric is not None:
        yield f"signal:{condition.metric.signal}"
    elif condition.change is not None:
        yield from (f"change:{what}" for what in condition.change.what)
    elif condition.command is not None:
        yield _fact_key(condition.command.fact)
    elif condition.neighbour is not None:
        yield from _condition_keys(condition.neighbour.sees)
    elif condition.before is not None:
        yield from _condition_keys(condition.before.first)


def _fact_key(name: str) -> str:
    stem = name.partition(":")[0]
    return _ALWAYS if stem.endswith("*") else f"fact:{stem}"


def _phrase_keys(phrases: Iterable[str]) -> Iterator[str]:
    """Yield for each phrase four letters without which no text can hold it."""
    for phrase in phrases:
        longest = max(_WORD.findall(phrase), key=len, default="")
        yield longest[:GRAM] if len(longest) >= GRAM else _ALWAYS
