"""Weighs a rule against a case: how likely its cause is, with evidence for and against.

A rule that matches in full gives its own `confidence`. A part of it gives less, on the scale of
log-odds, where independent evidence adds up (Good 1950, "weight of evidence"):

    log-odds = floor + share * (logit(confidence) - floor) + bonus - penalties

`share` is the part of the required strength that was found. What could not be looked at is
missing from the share but no penalty; what was looked at and is otherwise is a penalty.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from it_incident_response.analysis.case import Case
from it_incident_response.analysis.judging import Judgement, State, judge
from it_incident_response.analysis.rule_model import Condition, Rule, Strength
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.evidence import Evidence

FLOOR = math.log(0.02 / 0.98)
"""Log-odds of a cause of which nothing was found."""
WEIGHT = {Strength.STRONG: 3.0, Strength.FAIR: 2.0, Strength.WEAK: 1.0}
BONUS = 0.25
"""Log-odds for each unit of strength of further conditions met under `any`."""
BONUS_MAX = 1.5
UNMET_PENALTY = 0.5
"""Log-odds against, for each unit of strength of a required condition that does not hold."""
VETO_PENALTY = 4.0
"""Log-odds against, for a condition under `none` that holds."""


class Judged(NamedTuple):
    """A condition and how it stands."""

    condition: Condition
    judgement: Judgement

    @property
    def weight(self) -> float:
        """Return the condition's strength as a number."""
        return WEIGHT[self.condition.strength]

    def stands(self, state: State) -> bool:
        """Return whether it stands so."""
        return self.judgement.state is state


class RuleVerdict(NamedTuple):
    """What one rule says about a case."""

    rule: Rule
    log_odds: float
    is_match: bool
    """True if everything that the rule asks for was found, and nothing that it excludes."""
    met: tuple[Judged, ...]
    against: tuple[Judged, ...]
    unknown: tuple[Judged, ...]
    entity: Entity | None = None
    """The one thing that a rule `of_one` was judged at."""

    @property
    def probability(self) -> float:
        """Return the probability that the log-odds mean, this cause taken alone."""
        return 1 / (1 + math.exp(-self.log_odds))

    @property
    def supporting(self) -> tuple[Evidence, ...]:
        """Return the evidence for it, each once."""
        return _each_once(self.met)

    @property
    def contradicting(self) -> tuple[Evidence, ...]:
        """Return the evidence against it, each once."""
        return _each_once(self.against)


def _each_once(judged: Sequence[Judged]) -> tuple[Evidence, ...]:
    found = {e.id: e for item in judged for e in item.judgement.evidence}
    return tuple(found.values())


def weigh(rule: Rule, case: Case) -> RuleVerdict | None:
    """Return what a rule says about a case, or None if nothing that it looks for was found.

    A rule `of_one` is judged at each service and host by itself; the likeliest verdict counts, of
    equal ones that about the preferred sort of thing.
    """
    if not rule.of_one:
        return _weigh(rule, case)
    best: RuleVerdict | None = None
    for entity in sorted(
        (e for e in case.subjects() if e.kind in rule.about),
        key=lambda e: (rule.about.index(e.kind), _depth(e.name, case)),
    ):
        verdict = _weigh(rule, case.about(entity.name))
        if verdict and (best is None or verdict.log_odds > best.log_odds):
            best = verdict._replace(entity=entity)
    return best


def _depth(name: str, case: Case) -> int:
    """Return 0 for a service that calls none of the alerting ones: causes come first."""
    return len(case.topology.calls.get(name, frozenset()) & case.services())


def _weigh(rule: Rule, case: Case) -> RuleVerdict | None:
    required = [Judged(c, judge(c, case)) for c in rule.when.all]
    choices = [Judged(c, judge(c, case)) for c in rule.when.any]
    found = [item for item in (*required, *choices) if item.stands(State.MET)]
    if not found:
        return None
    vetoes = [Judged(c, judge(c, case)) for c in rule.when.none]
    held = [item for item in vetoes if item.stands(State.MET)]
    unmet = [item for item in required if item.stands(State.UNMET)]
    best = max((item for item in choices if item.stands(State.MET)), key=_weight, default=None)
    if choices and best is None:
        unmet += [item for item in choices if item.stands(State.UNMET)][:1]
    is_match = not held and all(item.stands(State.MET) for item in required)
    return RuleVerdict(
        rule=rule,
        log_odds=_log_odds(rule, required, choices, best)
        - sum(UNMET_PENALTY * item.weight for item in unmet)
        - VETO_PENALTY * len(held),
        is_match=is_match and (best is not None or not choices),
        met=tuple(found),
        against=(*held, *unmet),
        unknown=tuple(i for i in (*required, *choices) if i.stands(State.UNKNOWN)),
    )


def _weight(item: Judged) -> float:
    return item.weight


def _log_odds(
    rule: Rule, required: list[Judged], choices: list[Judged], best: Judged | None
) -> float:
    full = math.log(rule.confidence / (1 - rule.confidence))
    asked = sum(item.weight for item in required)
    got = sum(item.weight for item in required if item.stands(State.MET))
    if choices:
        # One of the choices is asked for; a weak one that is met proves less than a strong one.
        asked += max(item.weight for item in choices)
        got += best.weight if best else 0.0
    further = sum(i.weight for i in choices if i.stands(State.MET) and i is not best)
    bonus = min(BONUS_MAX, BONUS * further) if got else 0.0
    return FLOOR + got / asked * (full - FLOOR) + bonus
