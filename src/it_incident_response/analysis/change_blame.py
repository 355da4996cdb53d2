"""Which change may be to blame: made shortly before the trouble, where the trouble is, and rare."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from it_incident_response.analysis.symptoms import place_of
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Change, Evidence
from it_incident_response.domain.topology import Topology

AFTER_S = 120.0
"""A change up to so long after the onset may still be its reason: clocks and rasters differ."""
FADE_S = 3_600.0
"""Time before the onset over which a change loses its weight (to 1/e)."""
NEIGHBOUR = 0.6
"""Weight of a change in what a sick service depends on, if that shows no symptom of its own."""
NOWHERE = 0.3
"""Weight of a change that names no service or host."""
ROLLED = 0.5
"""Weight of a change that came long after the trouble began: it may have kept it going."""


class SuspectChange(NamedTuple):
    """A change with the chance that it is to blame."""

    change: Change
    evidence: Evidence
    score: float
    """0 to 1."""
    lead_s: float
    """Seconds from the change to the onset; negative: it came after it."""
    place: Entity | None
    sick: Entity | None
    """The sick thing nearest to it."""
    rivals: int
    """Other changes of the same place in the evidence."""


def suspect_changes(
    evidence: Sequence[Evidence],
    sick: Mapping[Entity, float],
    onset: datetime,
    topology: Topology,
) -> list[SuspectChange]:
    """Return the changes that came before the onset, the likeliest to blame first.

    `sick` has 0 to 1 for every thing in trouble. The score is the product of how near in time the
    change is (exponential decay), how sick its place is (or who depends on it directly), and how
    unusual a change there is: the chance that none would fall so near to the onset if they came
    at the rate seen (Poisson), so that a service changed every hour is hardly suspect for it.
    """
    changes = [
        (item, item.finding)
        for item in evidence
        if isinstance(item.finding, Change) and not item.finding.is_ours
    ]
    found = []
    for item, change in changes:
        lead_s = (onset - change.at).total_seconds()
        if lead_s < -AFTER_S:
            continue
        place = place_of(change.entity) if change.entity else None
        where, weight = _sickness(place, sick, topology)
        leads = [(onset - other.at).total_seconds() for _, other in changes if _same(other, place)]
        score = math.exp(-max(0.0, lead_s) / FADE_S) * weight * _rarity(lead_s, leads)
        found.append(SuspectChange(change, item, score, lead_s, place, where, len(leads) - 1))
    return sorted(found, key=lambda c: (-c.score, abs(c.lead_s), c.change.change_id))


def _same(change: Change, place: Entity | None) -> bool:
    return (place_of(change.entity) if change.entity else None) == place


def _sickness(
    place: Entity | None, sick: Mapping[Entity, float], topology: Topology
) -> tuple[Entity | None, float]:
    if place is None:
        return None, NOWHERE * max(sick.values(), default=1.0)
    options = [(sick.get(place, 0.0), place)]
    if place.kind is EntityKind.SERVICE:
        near = [Entity(EntityKind.SERVICE, name) for name in topology.callers(place.name)]
    else:
        near = [e for e in topology.neighbours(place) if e.kind is EntityKind.SERVICE]
    options += [(NEIGHBOUR * sick.get(entity, 0.0), entity) for entity in near]
    weight, where = max(options, key=lambda option: (option[0], option[1] == place))
    return (where, weight) if weight > 0 else (None, 0.1 if not sick else 0.02)


def _rarity(lead_s: float, leads: Sequence[float]) -> float:
    """Return the chance that no other change of the place would come so near, at their rate."""
    span = max(max(leads, default=0.0), FADE_S) - min(min(leads, default=0.0), 0.0)
    others = len(leads) - 1
    return math.exp(-others * max(abs(lead_s), AFTER_S) / span)
