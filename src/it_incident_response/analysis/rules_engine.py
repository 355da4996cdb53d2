"""RulesEngine: judges every rule that can have something to say about a case."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from it_incident_response.analysis.case import Case, build_case
from it_incident_response.analysis.python_rules import GUIDE_RULES, DiagnosticRule, Records
from it_incident_response.analysis.record_evidence import evidence_of_records
from it_incident_response.analysis.rule_file import (
    LoadedRules,
    load_rules,
    rule_paths,
    shipped_paths,
)
from it_incident_response.analysis.rule_index import RuleIndex
from it_incident_response.analysis.rule_model import Rule
from it_incident_response.analysis.rule_verdict import RuleVerdict, weigh
from it_incident_response.domain.topology import Topology
from it_incident_response.errors import RuleError
from it_incident_response.ports.clock import utc

__all__ = ["DiagnosticRule", "RulesEngine"]


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
        self._index = RuleIndex(self.rules)

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
        verdicts = (weigh(rule, case) for rule in self._index.candidates(case))
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
