"""From a diagnosis to a plan: pure, bounded, and only with targets the inventory knows."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from it_incident_response.actions import ACTIONS
from it_incident_response.actions.targets import HOST_LIKE, SERVICE_LIKE
from it_incident_response.domain.action import Action, Risk
from it_incident_response.domain.diagnosis import Diagnosis, Hypothesis, Suggestion, Verdict
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.ids import new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import Plan, PlanStep

MAX_STEPS = 3
"""Targets of one plan: one first, then the next if it went well; more need another look."""


def make_plan(  # noqa: PLR0913 - keyword-only, each one value of the job's chain
    *,
    incident: Incident,
    diagnosis: Diagnosis,
    entities: Sequence[Entity],
    inventory: Inventory,
    available_executors: Collection[str],
    now: datetime,
    plan_id: str | None = None,
) -> Plan | None:
    """Return the plan that the best hypothesis calls for, or None if nothing can be done by us.

    The first suggestion whose action finds a target among `entities` (the affected ones, the
    first cause first) and whose executor is available wins; a hypothesis lists its suggestions in
    its order of preference. Each step changes one target; at most `MAX_STEPS` of them. An
    inconclusive diagnosis gives no plan. Policy has not spoken yet: the caller applies it.
    """
    top = diagnosis.top
    if top is None or diagnosis.verdict is Verdict.INCONCLUSIVE:
        return None
    for suggestion in top.suggestions:
        actions = _actions_for(suggestion, top, entities, inventory)
        if actions and actions[0].executor in available_executors:
            return Plan(
                id=plan_id or new_id(now),
                incident_id=incident.id,
                diagnosis_id=diagnosis.id,
                made_at=now,
                reason=_reason(top, suggestion, len(actions)),
                steps=tuple(_step(n, a) for n, a in enumerate(actions[:MAX_STEPS], 1)),
            )
    return None


def manual_steps(
    *,
    diagnosis: Diagnosis,
    entities: Sequence[Entity],
    inventory: Inventory,
    available_executors: Collection[str],
) -> tuple[str, ...]:
    """Return what a human has to do: each suggestion we cannot carry out, and why we cannot."""
    top = diagnosis.top
    if top is None:
        return ()
    found = (
        (suggestion.text, _obstacle(suggestion, top, entities, inventory, available_executors))
        for suggestion in top.suggestions
    )
    return tuple(f"{text} ({obstacle})" for text, obstacle in found if obstacle is not None)


def _actions_for(
    suggestion: Suggestion, top: Hypothesis, entities: Sequence[Entity], inventory: Inventory
) -> tuple[Action, ...]:
    action_type = ACTIONS.get(suggestion.action or "")
    if action_type is None or action_type.risk is Risk.READ_ONLY:
        return ()
    for scope in _scopes(top.entity, entities, inventory):
        if proposed := action_type.propose(scope, inventory):
            return proposed
    return ()


def _scopes(
    cause: Entity | None, entities: Sequence[Entity], inventory: Inventory
) -> Iterator[tuple[Entity, ...]]:
    """Yield the entities to look for a target among, the narrowest first.

    A blamed service or host is never replaced by another one that merely suffers: of its own sort
    only itself is looked at, and entities of the other sort narrow it down.
    """
    if cause is None:
        yield tuple(entities)
        return
    named = inventory.enrich((cause,))
    kinds = {each.kind for each in named}
    own_sort = (HOST_LIKE if kinds & HOST_LIKE else frozenset()) | (
        SERVICE_LIKE if kinds & SERVICE_LIKE else frozenset()
    )
    yield (*named, *(each for each in entities if each.kind not in own_sort))
    is_known = len(named) > 1 or cause.kind in (EntityKind.SERVICE, EntityKind.HOST)
    if not is_known:
        yield (cause, *(each for each in entities if each != cause))


def _obstacle(
    suggestion: Suggestion,
    top: Hypothesis,
    entities: Sequence[Entity],
    inventory: Inventory,
    available_executors: Collection[str],
) -> str | None:
    if suggestion.action is None:
        return "only a person can do this"
    action_type = ACTIONS.get(suggestion.action)
    if action_type is None:
        return f"there is no action {suggestion.action!r}"
    if action_type.risk is Risk.READ_ONLY:
        return "this only looks; it is done while diagnosing"
    if not _actions_for(suggestion, top, entities, inventory):
        return "the inventory knows no target for it among the affected systems"
    if action_type.executor not in available_executors:
        return f"no {action_type.executor!r} executor is configured"
    return None


def _reason(top: Hypothesis, suggestion: Suggestion, targets: int) -> str:
    left = targets - MAX_STEPS
    more = f" {left} more targets are left for a later plan." if left > 0 else ""
    return f"{top.cause} ({top.confidence:.0%} likely). {suggestion.text}{more}"


def _step(number: int, action: Action) -> PlanStep:
    undo = action.undo()
    return PlanStep(
        number=number,
        action=action.record(),
        executor=action.executor,
        target=action.target,
        host=action.host,
        commands=action.commands(),
        description=action.describe(),
        risk=action.risk,
        reversibility=action.reversibility,
        checks=action.checks(),
        undo=undo.record() if undo is not None else None,
    )
