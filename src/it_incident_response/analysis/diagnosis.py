"""Combines what the rules say into one diagnosis: ranked causes, a verdict, what is missing."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from it_incident_response.analysis.case import Case, build_case
from it_incident_response.analysis.cause_entity import choose_entity
from it_incident_response.analysis.python_voice import python_hypotheses
from it_incident_response.analysis.rule_verdict import RuleVerdict
from it_incident_response.analysis.rules_engine import RulesEngine
from it_incident_response.domain.diagnosis import CauseKind, Diagnosis, Hypothesis, Verdict
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Evidence, SourceGap
from it_incident_response.domain.ids import new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.topology import Topology

CONFIRMED_AT_LEAST = 0.85
"""Posterior of a confirmed cause; it also needs two kinds of evidence and nothing against it."""
LIKELY_AT_LEAST = 0.5
"""Posterior of a likely cause: it is likelier than everything else together."""
UNKNOWN_ODDS = 1.0
"""Odds of a cause that no rule knows: a rule alone at confidence c then has the posterior c."""
HYPOTHESES_MAX = 8
SHOWN_AT_LEAST = 0.02
CITED_MAX = 24
CALLER_FACTOR = 0.1
"""Odds left to a cause that lies in a caller of what is affected, and not in what is affected."""
MISSING_MAX = 12


class _Weighted(NamedTuple):
    """A verdict with the odds left after what explains it has taken its part."""

    verdict: RuleVerdict
    odds: float


def diagnose(
    incident: Incident,
    evidence: Sequence[Evidence],
    rules: RulesEngine,
    topology: Topology,
    *,
    now: datetime,
    diagnosis_id: str | None = None,
) -> Diagnosis:
    """Return what the evidence says about the cause of an incident.

    Each rule's log-odds become odds; a rule that another one explains (a killed process by memory
    that ran out) gives its odds up as far as the other is likely; the odds of all, and of a cause
    that no rule knows, are then normalised to probabilities.
    """
    case = build_case(evidence, topology, now)
    hypotheses = _hypotheses(case, rules, frozenset(incident.footprint.entities))
    top = hypotheses[0] if hypotheses else None
    verdict = _verdict(top, evidence)
    silent = _silent(case)
    return Diagnosis(
        id=diagnosis_id or new_id(now),
        incident_id=incident.id,
        made_at=now,
        verdict=verdict,
        hypotheses=hypotheses,
        summary=_summary(verdict, top, silent),
        missing=tuple(dict.fromkeys([*silent, *_next_looks(verdict, hypotheses)]))[:MISSING_MAX],
        evidence_ids=tuple(item.id for item in evidence),
    )


def _hypotheses(
    case: Case, rules: RulesEngine, affected: frozenset[Entity]
) -> tuple[Hypothesis, ...]:
    weighted = [
        _against_the_current(item, case, affected) for item in _explained_away(rules.weigh(case))
    ]
    spoken = python_hypotheses(rules.python_rules, case)
    total = UNKNOWN_ODDS + sum(item.odds for item in weighted) + sum(odds for _, odds in spoken)
    found = [_hypothesis(item, item.odds / total, case) for item in weighted]
    found += [h.model_copy(update={"confidence": odds / total}) for h, odds in spoken]
    shown = [h for h in found if h.confidence >= SHOWN_AT_LEAST]
    return tuple(sorted(shown, key=lambda h: -h.confidence)[:HYPOTHESES_MAX])


def _explained_away(verdicts: Sequence[RuleVerdict]) -> list[_Weighted]:
    """Return the verdicts with their odds; a consequence keeps what its causes leave of its odds.

    Only a rule that matches explains others: half a cause explains nothing.
    """
    left: dict[str, float] = {}
    for verdict in verdicts:
        if verdict.is_match:
            for consequence in verdict.rule.explains:
                left[consequence] = left.get(consequence, 1.0) * (1 - verdict.probability)
    return [
        _Weighted(verdict, math.exp(verdict.log_odds) * left.get(verdict.rule.id, 1.0))
        for verdict in verdicts
    ]


def _against_the_current(item: _Weighted, case: Case, affected: frozenset[Entity]) -> _Weighted:
    """Lower the odds of a cause in a mere caller of what is affected: trouble travels to callers.

    Load is the exception: callers make it.
    """
    entity = choose_entity(item.verdict, case)
    if entity is None or entity in affected or item.verdict.rule.kind is CauseKind.TRAFFIC:
        return item
    services = {e.name for e in affected if e.kind is EntityKind.SERVICE}
    if entity.kind is not EntityKind.SERVICE or not services & _called_by(entity.name, case):
        return item
    return item._replace(odds=item.odds * CALLER_FACTOR)


def _called_by(service: str, case: Case) -> set[str]:
    """Return all that a service calls, directly or through others."""
    reached: set[str] = set()
    waiting = [service]
    while waiting:
        callees = case.topology.calls.get(waiting.pop(), frozenset()) - reached
        reached |= callees
        waiting += callees
    return reached


def _hypothesis(item: _Weighted, posterior: float, case: Case) -> Hypothesis:
    verdict = item.verdict
    rule = verdict.rule
    return Hypothesis(
        cause_id=rule.id,
        cause=rule.cause,
        kind=rule.kind,
        entity=choose_entity(verdict, case),
        confidence=round(posterior, 4),
        supporting=tuple(e.id for e in verdict.supporting)[:CITED_MAX],
        contradicting=tuple(e.id for e in verdict.contradicting)[:CITED_MAX],
        missing=tuple(
            f"{item.condition.describe()} ({item.judgement.reason})" for item in verdict.unknown
        )[:MISSING_MAX],
        suggestions=rule.suggests,
        runbook=rule.runbook,
    )


def _verdict(top: Hypothesis | None, evidence: Sequence[Evidence]) -> Verdict:
    if top is None or top.confidence < LIKELY_AT_LEAST:
        return Verdict.INCONCLUSIVE
    cited = set(top.supporting)
    kinds = {item.finding.kind for item in evidence if item.id in cited}
    is_sure = top.confidence >= CONFIRMED_AT_LEAST and len(kinds) >= 2 and not top.contradicting
    return Verdict.CONFIRMED if is_sure else Verdict.LIKELY


def _silent(case: Case) -> list[str]:
    return [
        f"{finding.source} could not be asked: {finding.reason}"
        for finding in (evidence.finding for evidence in case.gaps)
        if isinstance(finding, SourceGap)
    ]


def _next_looks(verdict: Verdict, hypotheses: Sequence[Hypothesis]) -> Iterator[str]:
    """Yield what would decide between the best hypotheses, or where to begin without any."""
    if verdict is not Verdict.INCONCLUSIVE:
        return
    for hypothesis in hypotheses[:3]:
        for condition in hypothesis.missing[:3]:
            yield f"to tell whether {_clause(hypothesis.cause)}: {condition}"
    if not hypotheses:
        yield "no rule fits: look at recent changes, then at errors in the logs of these systems"
        yield "when the cause is found, write a rule for it: see docs/rules.md"


def _summary(verdict: Verdict, top: Hypothesis | None, silent: Sequence[str]) -> str:
    unheard = f" Silent: {'; '.join(silent[:3])}." if silent else ""
    if top is None:
        return f"No known cause fits what was seen.{unheard}"
    where = f" ({top.entity})" if top.entity else ""
    share = f"{top.confidence:.0%}"
    if verdict is Verdict.INCONCLUSIVE:
        return f"Inconclusive; the best guess, at {share}: {top.cause}{where}.{unheard}"
    against = f", {len(top.contradicting)} against" if top.contradicting else ""
    cited = f"{len(top.supporting)} pieces of evidence{against}"
    return f"{verdict.capitalize()} ({share}, {cited}): {top.cause}{where}.{unheard}"


def _clause(cause: str) -> str:
    return cause[:1].lower() + cause[1:].rstrip(".")
