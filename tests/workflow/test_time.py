"""A whole incident while the clock is set by up to two hours between any two readings."""

import random
from contextlib import asynccontextmanager

import pytest

from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import Conflict
from it_incident_response.storage import open_store
from it_incident_response.system.adapters import choose_adapters
from it_incident_response.system.composition import Runtime
from it_incident_response.workflow.clock_watch import ClockWatch
from it_incident_response.workflow.direct import DirectRunner
from tests.jumpy_clock import JumpyClock
from tests.workflow.theatre import WHO, MortalStore, Theatre, approve, pending

FAST, MANY = range(3), range(3, 60)
JUMP_S_MAX = 7200.0
JUMPS_MAX = 4
READINGS = 90
"""Of the clock in one run from diagnosis to write-up; jumps fall among them."""
ROUNDS_MAX = 40

ORDER = ("diagnosis.made", "approval.requested", "approval.approved", "action.intended")
STEPS = ("action.intended", "action.started", "action.finished", "verification.verified")


def some_jumps(chance: random.Random) -> list[float]:
    jumps = [0.0] * READINGS
    for _ in range(chance.randint(1, JUMPS_MAX)):
        jumps[chance.randrange(READINGS)] = chance.uniform(-JUMP_S_MAX, JUMP_S_MAX)
    return jumps


@asynccontextmanager
async def opened(stage: Theatre, clock):
    """A process whose clock is `clock`, beside a world whose own goes right."""
    settings = stage.settings()
    adapters = choose_adapters(settings, stage.world)
    adapters.executors = stage._counted(adapters.executors)
    adapters.clock = clock
    store = open_store(settings.database_url.get_secret_value(), clock=clock)
    await store.open()
    try:
        runtime = Runtime(settings, adapters, MortalStore(store))
        direct = DirectRunner(
            runtime.store, clock, runtime.detection, runtime.stages, name=f"w{clock.readings}"
        )
        runtime.__dict__["direct"] = direct
        yield runtime
    finally:
        await store.close()


async def carry(stage: Theatre, incident, clock, chance: random.Random):
    """Carry it as `iir serve` would, restarted now and then, until it ends or needs a human."""
    for _ in range(ROUNDS_MAX):
        async with opened(stage, clock) as runtime:
            await runtime.store.wake_open(clock.now())
            watch = ClockWatch(runtime.store, clock)
            for _ in range(chance.randint(1, 4)):
                await watch.look()
                await runtime.approvals.expire_due()
                await runtime.direct.drain()
                if await pending(runtime, incident):
                    try:
                        await approve(runtime, incident)
                    except Conflict:  # its age cannot be told any more: denied, and said
                        assert await pending(runtime, incident) is None
                stage.pass_time(30)
                await stage.poll(runtime)
            found = await runtime.store.incident(incident.id)
        if not found.status.is_open or found.escalation:
            return found
    raise AssertionError(f"it did not end: {found}")


async def require_order(stage: Theatre, incident):
    async with stage.open() as runtime:
        assert (await runtime.store.verify_chain()).is_intact
        events = await runtime.store.events(incident_id=incident.id)
        rows = await runtime.store.executions_of(incident.id)
    told = [event.kind for event in events]
    sequences = [event.sequence for event in events]
    assert sequences == sorted(sequences)
    for kinds in (ORDER, STEPS):
        first = [told.index(kind) for kind in kinds if kind in told]
        assert first == sorted(first), told
    begun = [event.details["key"] for event in events if event.kind == "action.started"]
    assert len(begun) == len(set(begun)), "a step was started twice"
    approved = told.count("approval.approved")
    # A start that was taken back before anything was sent, the lock seeming lost, is none.
    really = [row for row in rows if row.started_at is not None]
    assert len(stage.ran) <= len(really) <= approved, "it acted without being asked, or twice"
    assert [row.attempt for row in rows] == sorted(row.attempt for row in rows)


@pytest.fixture
async def at_the_beginning(theatre):
    stage = theatre(past_s=600.0, verification={"soak": "20s", "poll": "5s"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
    return stage, incident


@pytest.mark.parametrize(
    "seed", [*FAST, *(pytest.param(seed, marks=pytest.mark.slow) for seed in MANY)]
)
async def test_it_ends_right_and_acts_once_whatever_the_clock_shows(at_the_beginning, seed):
    """Resolved, or with a human who knows why; and then, with a clock gone right, resolved."""
    stage, incident = at_the_beginning
    chance = random.Random(seed)
    clock = JumpyClock(stage.world.clock, some_jumps(chance))
    found = await carry(stage, incident, clock, chance)
    await require_order(stage, incident)
    if found.status.is_open:
        assert found.escalation
        assert "unexpected" not in found.escalation
        found = await _diagnosed_anew(stage, incident, chance)
    assert found.status is IncidentStatus.RESOLVED, found.escalation
    await require_order(stage, incident)
    assert stage.truth.healed_by == "restart_service"
    async with stage.open() as runtime:
        rows = await runtime.store.executions_of(incident.id)
        assert StepState.STARTED not in [row.state for row in rows]


async def _diagnosed_anew(stage: Theatre, incident, chance):
    """A person looks at the clock, sets it right, and has the incident diagnosed anew."""
    right = JumpyClock(stage.world.clock)
    async with opened(stage, right) as runtime:
        await runtime.desk.set_status(incident.id, IncidentStatus.INVESTIGATING, by=WHO)
    stage.pass_time(JUMP_S_MAX * JUMPS_MAX)
    return await carry(stage, incident, right, chance)
