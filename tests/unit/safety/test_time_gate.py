"""Limits, locks and recovery under a clock that is set."""

from datetime import timedelta
from typing import Any

import pytest

from it_incident_response.domain.execution import StepState
from it_incident_response.errors import PolicyDelayed, TargetLocked
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.step_runner import patience_s
from tests.jumpy_clock import JumpyClock
from tests.unit.safety.test_no_action_twice import crash_at, run_until_crash
from tests.unit.safety.world import FakeClock, World

HOURS = [-2, -1, 1, 2]


@pytest.fixture
def jumpy(world: World) -> Any:
    """The world's clock, which somebody sets."""
    world.clock = JumpyClock(FakeClock())  # type: ignore[assignment]
    return world.clock


@pytest.mark.parametrize("hours", HOURS)
async def test_recovery_waits_out_the_action_whatever_the_clock_shows(
    world: World, jumpy: Any, hours: int
) -> None:
    """The worker died, the action goes on and its effect shows only at the end of its time."""
    plan = await world.approved("web-1")
    action = world.gate.parse(plan.steps[0].action)
    crash_at(world, "advance", 1, after=True)
    await run_until_crash(world, plan)
    jumpy.set_by(hours * 3600)
    began, sleep = jumpy.monotonic(), jumpy.sleep

    async def sleep_and_end(seconds: float) -> None:
        await sleep(seconds)
        if jumpy.monotonic() - began > patience_s(action) - 10:
            world.executor.invocations[str(plan.steps[0].target)] = 2

    jumpy.sleep = sleep_and_end
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.FINISHED
    assert jumpy.monotonic() - began <= patience_s(action)


@pytest.mark.parametrize("hours", HOURS)
async def test_recovery_gives_up_when_the_actions_time_is_over_and_not_hours_later(
    world: World, jumpy: Any, hours: int
) -> None:
    plan = await world.approved("web-1")
    action = world.gate.parse(plan.steps[0].action)
    crash_at(world, "advance", 1, after=True)
    await run_until_crash(world, plan)
    jumpy.set_by(hours * 3600)
    began = jumpy.monotonic()
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT
    assert patience_s(action) <= jumpy.monotonic() - began <= patience_s(action) + 5
    assert world.executor.executed == []


@pytest.mark.parametrize("hours", HOURS)
async def test_a_clock_set_while_an_action_runs_lets_no_second_one_at_the_target(
    world: World, jumpy: Any, hours: int
) -> None:
    """Another incident is approved for the same target, and the lock seems to be over."""
    first, second = await world.approved("web-1"), await world.approved("web-1")
    refused = 0

    async def meanwhile(_: object) -> None:
        nonlocal refused
        world.executor.on_execute = None
        jumpy.set_by(hours * 3600)
        try:
            with pytest.raises(TargetLocked):
                await world.store.lock_target(
                    second.steps[0].target,
                    holder="incident other",
                    now=jumpy.now(),
                    until=jumpy.now() + timedelta(minutes=5),
                )
        finally:
            jumpy.set_by(-hours * 3600)
        refused += 1

    world.executor.on_execute = meanwhile
    row = await world.gate.run_step(first, first.steps[0])
    assert (row.state, refused) == (StepState.FINISHED, 1)
    assert len(world.executor.executed) == 1
    again = await world.gate.run_step(second, second.steps[0])
    assert again.state is StepState.FINISHED


async def test_a_clock_set_back_frees_no_budget_and_a_wrong_year_fills_it_not_for_ever(
    world: World,
) -> None:
    limits = Limits(max_actions_per_hour=1, max_actions_per_target_per_hour=1)
    world.policy = world.policy.model_copy(update={"limits": limits})
    plan = await world.approved("web-1")
    await world.gate.run_step(plan, plan.steps[0])

    world.clock.advance(hours=-2)
    later = await world.approved("web-2")
    with pytest.raises(PolicyDelayed) as delayed:
        await world.gate.run_step(later, later.steps[0])
    assert 0 < delayed.value.retry_after_s <= 3600

    world.clock.advance(days=-300)
    after = await world.approved("web-3")
    assert (await world.gate.run_step(after, after.steps[0])).state is StepState.FINISHED
