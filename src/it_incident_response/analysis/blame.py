"""Which service or host the others suffer from: symptoms, pulled down along the calls."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from it_incident_response.analysis.symptoms import Channel, Symptom
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.topology import Topology

NEXT_SYMPTOM = 0.25
"""Each further symptom of a channel counts so much of the one before it: they move together."""
EXPLAINED_MAX = 0.9
"""Most of what is felt that a sick callee can account for."""
TOLD_AT_LEAST = 0.3
"""Share that a callee has to account for to be named as the reason."""
CROSSED = 0.4
"""A slow callee explains its callers' errors less well than a failing one, and so on."""
STEP_LOSS = 0.9
"""What is left of an explanation with each further call."""
STEPS_MAX = 4
TOLERANCE_S = 60.0
"""Onsets closer than this have no order: sampling raster and clock skew between sources."""
FADE_S = 900.0
"""Time over which a later onset loses its weight (to 1/e)."""
LATE = 0.7
"""Least weight left to the one whose trouble began last."""
UNKNOWN_ONSET = 0.95
UNCOVERED = 0.3
"""Weight of a suspect that accounts for none of the others' trouble."""


class Blame(NamedTuple):
    """How likely it is that one thing is where the trouble began."""

    entity: Entity
    score: float
    """0 to 1."""
    onset: datetime | None
    symptoms: tuple[Symptom, ...]
    explained_by: Entity | None
    """The callee that accounts for most of what is felt here."""
    covers: tuple[Entity, ...]
    """Those who depend on this one and are in trouble too."""
    is_first: bool


class _Patient(NamedTuple):
    own: float
    felt: Mapping[Channel, float]
    onset: datetime | None
    symptoms: tuple[Symptom, ...]

    @property
    def sick(self) -> float:
        return either(self.own, *self.felt.values())

    @property
    def weight(self) -> float:
        """Return how much it matters whether a suspect accounts for this one's trouble."""
        return either(*self.felt.values())

    def accounts_for(self, other: "_Patient") -> float:
        """Return the share of another's felt trouble that is of the sort that this one causes."""
        total = sum(other.felt.values())
        if not total or not self.sick:
            return 0.0
        fitting = sum(felt * self.explains(c) for c, felt in other.felt.items())
        return fitting / (total * self.sick)

    def explains(self, channel: Channel) -> float:
        """Return how far this accounts for what a caller feels through a channel."""
        if channel is Channel.ANY:
            return self.sick
        matching = either(self.own, self.felt.get(channel, 0.0), self.felt.get(Channel.ANY, 0.0))
        return max(matching, CROSSED * self.sick)


def blame(symptoms: Sequence[Symptom], topology: Topology) -> list[Blame]:
    """Return every thing with symptoms, the likeliest origin first.

    What is felt (errors, latency) is explained away by the sickest thing that the sufferer depends
    on, as far as that began no later; what lies in the thing itself (its CPU, its disk) is not. A
    suspect that the other sufferers depend on gains, as does the one whose trouble began first.
    The traversal follows Chen et al. 2014 (CauseInfer) and Lin et al. 2018 (Microscope): a sick
    node without sick callees is the root. Weighted instead of cut off, so that a callee that is a
    little unusual does not acquit a caller that is very sick.
    """
    patients = _patients(symptoms)
    reach = {entity: _dependencies(entity, topology) for entity in patients}
    first = min((p.onset for p in patients.values() if p.onset), default=None)
    total = sum(p.weight for p in patients.values())
    found = []
    for entity, patient in patients.items():
        reasons = {c: _explained(patient, c, reach[entity], patients) for c in patient.felt}
        left = [felt * (1 - reasons[c][1]) for c, felt in patient.felt.items()]
        reason, share = max(reasons.values(), key=lambda r: r[1], default=(None, 0.0))
        covers = tuple(other for other in patients if entity in reach[other])
        covered = sum(
            patients[other].weight * patient.accounts_for(patients[other])
            for other in (entity, *covers)
        )
        spread = covered / total if total and topology.calls else 1.0
        score = either(patient.own, *left)
        score *= UNCOVERED + (1 - UNCOVERED) * spread
        score *= _earliness(patient.onset, first)
        is_first = patient.onset is not None and _lag_s(patient.onset, first) <= TOLERANCE_S
        found.append(
            Blame(
                entity,
                score,
                patient.onset,
                patient.symptoms,
                reason if share >= TOLD_AT_LEAST else None,
                covers,
                is_first,
            )
        )
    return sorted(found, key=lambda b: (-b.score, b.entity))


def either(*chances: float) -> float:
    """Return the chance that at least one of independent things holds (noisy or)."""
    none = 1.0
    for chance in chances:
        none *= 1 - min(1.0, max(0.0, chance))
    return 1 - none


def _patients(symptoms: Iterable[Symptom]) -> dict[Entity, _Patient]:
    grouped: dict[Entity, list[Symptom]] = {}
    for symptom in symptoms:
        grouped.setdefault(symptom.entity, []).append(symptom)
    return {entity: _patient(items) for entity, items in sorted(grouped.items())}


def _patient(symptoms: list[Symptom]) -> _Patient:
    ordered = tuple(sorted(symptoms, key=lambda s: (-s.strength, s.evidence.id)))
    strong = ordered[0].strength / 2
    onset = min((s.onset for s in ordered if s.onset and s.strength >= strong), default=None)
    by_channel = {
        channel: _combined([s.strength for s in ordered if s.channel is channel])
        for channel in sorted({s.channel for s in ordered})
    }
    own = by_channel.pop(Channel.OWN, 0.0)
    return _Patient(own, by_channel, onset, ordered)


def _combined(strengths: list[float]) -> float:
    return either(*(strength * NEXT_SYMPTOM**place for place, strength in enumerate(strengths)))


def _dependencies(entity: Entity, topology: Topology) -> Mapping[Entity, int]:
    """Return what a service depends on, by calls and by hosts, with the steps to it."""
    if entity.kind is not EntityKind.SERVICE:
        return {}
    found: dict[Entity, int] = {}
    seen, front = {entity.name}, [entity.name]
    for steps in range(1, STEPS_MAX + 1):
        for name in front:
            for host in topology.runs_on.get(name, ()):
                found.setdefault(Entity(EntityKind.HOST, host), steps)
        callees = {callee for name in front for callee in topology.calls.get(name, ())}
        front = sorted(callees - seen)
        seen.update(front)
        for name in front:
            found.setdefault(Entity(EntityKind.SERVICE, name), steps)
    return found


def _explained(
    patient: _Patient,
    channel: Channel,
    reach: Mapping[Entity, int],
    patients: Mapping[Entity, _Patient],
) -> tuple[Entity | None, float]:
    best: tuple[Entity | None, float] = (None, 0.0)
    for entity, steps in reach.items():
        other = patients.get(entity)
        if other is None:
            continue
        share = EXPLAINED_MAX * other.explains(channel) * STEP_LOSS ** (steps - 1)
        share *= _earliness(other.onset, patient.onset)
        if share > best[1]:
            best = (entity, share)
    return best


def _earliness(onset: datetime | None, first: datetime | None) -> float:
    """Return 1 for an onset no later than `first`, falling to `LATE`; near 1 for an unknown one."""
    if onset is None or first is None:
        return UNKNOWN_ONSET
    late = max(0.0, _lag_s(onset, first) - TOLERANCE_S) / FADE_S
    return LATE + (1 - LATE) * math.exp(-late)


def _lag_s(onset: datetime, first: datetime | None) -> float:
    return (onset - first).total_seconds() if first else 0.0
