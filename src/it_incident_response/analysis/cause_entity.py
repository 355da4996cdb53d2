"""Chooses the thing to blame among those that the evidence for a cause names."""

from collections import defaultdict
from datetime import datetime

from it_incident_response.analysis.case import Case, blamed, time_of
from it_incident_response.analysis.rule_verdict import RuleVerdict
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.topology import Topology


def choose_entity(verdict: RuleVerdict, case: Case) -> Entity | None:
    """Return the thing that a rule's cause lies in, or None if the evidence names none.

    Of the sorts that the rule is about, the preferred one; of these what the others depend on,
    rather than its callers; then what more evidence names; then where it began first.
    """
    if verdict.entity is not None:
        return verdict.entity
    weights: dict[Entity, float] = defaultdict(float)
    began: dict[Entity, datetime] = {}
    for judged in verdict.met:
        for evidence in judged.judgement.evidence:
            for entity in blamed(evidence, case):
                weights[entity] += judged.weight
                moment = time_of(evidence) or case.now
                began[entity] = min(moment, began.get(entity, moment))
    for kind in verdict.rule.about:
        candidates = [entity for entity in weights if entity.kind is kind]
        if candidates:
            roots = without_callers(candidates, case.topology)
            return min(roots, key=lambda e: (-weights[e], began[e], e))
    return min(weights, key=lambda e: (-weights[e], began[e], e), default=None)


def without_callers(candidates: list[Entity], topology: Topology) -> list[Entity]:
    """Return the candidates that call none of the others; all, if they call in a circle."""
    names = {entity.name for entity in candidates}
    roots = [
        entity
        for entity in candidates
        if not (topology.calls.get(entity.name, frozenset()) & (names - {entity.name}))
    ]
    return roots or candidates
