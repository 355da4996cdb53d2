"""Chooses the thing to blame among those that the evidence for a cause names."""

from collections import defaultdict
from datetime import datetime

from it_incident_response.analysis.case import Case, entities_of, time_of
from it_incident_response.analysis.rule_verdict import RuleVerdict
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import CommandOutput, Evidence
from it_incident_response.domain.topology import Topology


def choose_entity(verdict: RuleVerdict, case: Case) -> Entity | None:
    """Return the thing that a rule's cause lies in, or None if the evidence names none.

    Of the sorts that the rule is about, the preferred one; of these what the others depend on,
    rather than its callers; then what more evidence names; then where it began first.
    """
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
            roots = _without_callers(candidates, case.topology)
            return min(roots, key=lambda e: (-weights[e], began[e], e))
    return min(weights, key=lambda e: (-weights[e], began[e], e), default=None)


def _without_callers(candidates: list[Entity], topology: Topology) -> list[Entity]:
    names = {entity.name for entity in candidates}
    roots = [
        entity
        for entity in candidates
        if not (topology.calls.get(entity.name, frozenset()) & (names - {entity.name}))
    ]
    return roots or candidates  # a circle of calls has no root


def blamed(evidence: Evidence, case: Case) -> tuple[Entity, ...]:
    """Return the things that a piece of evidence points at.

    A look at a unit is about `HOST/UNIT`: that means the host, and the service that the unit runs.
    """
    if not isinstance(evidence.finding, CommandOutput):
        return entities_of(evidence)
    entity = evidence.finding.entity
    host, slash, unit = entity.name.partition("/")
    if not slash:
        return (entity,)
    service = _service_of(unit, host, case)
    place = Entity(EntityKind.HOST, host)
    return (Entity(EntityKind.SERVICE, service), place) if service else (place,)


def _service_of(unit: str, host: str, case: Case) -> str | None:
    stem = unit.rpartition(".")[0] or unit
    here = [name for name, hosts in case.topology.runs_on.items() if host in hosts]
    if stem in here:
        return stem
    named = [name for name in sorted(case.services()) if name in here]
    if len(named) == 1:
        return named[0]
    if len(here) == 1:
        return here[0]
    return stem if stem in case.services() else None
