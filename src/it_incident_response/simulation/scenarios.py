"""Seeded incidents with their truth, to measure detection, diagnosis and repair on.

The truth is what the world did, named by the kind of fault; nothing here knows a diagnostic rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from it_incident_response.domain.entity import Entity
from it_incident_response.simulation.faults import FAULTS
from it_incident_response.simulation.physics import TICK_S
from it_incident_response.simulation.world import Incident, SimulatedWorld

_LEAD_TICKS_MAX = 120
_BATCH_CORES = 0.8
"""A harmless batch job: visible in the processor's graph, far below an alert."""


@dataclass(frozen=True)
class Truth:
    """What really happened."""

    cause: str
    """Kind of fault, one of `FAULTS`."""
    target: Entity
    """What is broken: the service or host at fault, not the loudest one."""
    action: str | None
    """Kind of the action that mends it; None if none of ours does."""
    host: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class Scenario:
    """A world in which one fault has raised alerts; its clock stands at the moment to respond."""

    seed: int
    world: SimulatedWorld
    incident: Incident
    truth: Truth
    detected_after_s: float
    """From the begin of the fault to its first alert."""

    @property
    def is_healed(self) -> bool:
        """True once the cause is gone, whoever did it."""
        self.world.catch_up()
        return self.incident.ended_at is not None


async def make_scenario(kind: str, seed: int, *, settle_s: float = 120.0) -> Scenario:
    """Return a world with this fault, its alerts firing for `settle_s`.

    Before the fault there is a quiet time of random length with red herrings: an innocent
    deployment of another service, or a batch job on some host, or both, or neither. Raises
    `InputRejected` for an unknown kind, `RuntimeError` if nothing alerts within the fault's bound.
    """
    world = SimulatedWorld(seed)
    rng = np.random.default_rng([seed, 9])
    await world.run(TICK_S * int(rng.integers(4, _LEAD_TICKS_MAX)))
    await _add_red_herrings(world, rng)
    incident = world.inject(kind)
    detected = await _until_alert(world, incident)
    await world.run(settle_s)
    return Scenario(seed, world, incident, truth_of(incident), detected)


def truth_of(incident: Incident) -> Truth:
    """Return the labels of an incident of the world."""
    fault, remedy = incident.fault, incident.fault.remedy
    if remedy is None:
        return Truth(fault.kind, fault.target, None)
    return Truth(fault.kind, fault.target, remedy.action, remedy.host, remedy.service)


def seeds_and_kinds(count: int, *, first_seed: int = 1) -> Iterator[tuple[int, str]]:
    """Yield `count` (seed, kind) pairs in which every kind comes equally often."""
    kinds = sorted(FAULTS)
    for number in range(count):
        yield first_seed + number, kinds[number % len(kinds)]


async def _add_red_herrings(world: SimulatedWorld, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        names = [s.name for s in world.shop.services if s.has_http_metrics]
        world.deploy(_one_of(names, rng))
        await world.run(TICK_S * int(rng.integers(4, 40)))
    if rng.random() < 0.3:
        host = _one_of([spec.name for spec in world.shop.hosts], rng)
        world.state.by_host[host][0].process.spin_cores = _BATCH_CORES
        await world.run(TICK_S * int(rng.integers(4, 40)))


def _one_of(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]


async def _until_alert(world: SimulatedWorld, incident: Incident) -> float:
    limit = incident.fault.alerts_within_s
    while not world.firing():
        passed = world.state.at - incident.began_at
        if passed > limit:
            raise RuntimeError(f"{incident.fault.kind} raised no alert within {limit:.0f} s")
        await world.run(TICK_S)
    return world.state.at - incident.began_at
