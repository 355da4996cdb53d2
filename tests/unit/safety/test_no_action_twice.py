"""No action twice: replays, two workers at once, and a crash at every point of the journal."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from it_incident_response.domain.execution import StepState
from it_incident_response.errors import (
    ActionInDoubt,
    Conflict,
    ConnectorUnavailable,
    PolicyDenied,
)
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.policy import Policy
from it_incident_response.storage import open_store
from tests.unit.safety.world import World


class Crash(BaseException):
    """The process dies here."""


def crash_at(world: World, method: str, call: int, *, after: bool) -> None:
    """Die before or after the `call`-th call of a store method."""
    original: Callable[..., Awaitable[Any]] = getattr(world.store, method)
    calls = 0

    async def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Crash
        answer = await original(*args, **kwargs)
        if calls == call:
            raise Crash
        return answer

    setattr(world.store, method, dying)


async def run_until_crash(world: World, plan: Any) -> None:
    with pytest.raises(Crash):
        await world.gate.run_step(plan, plan.steps[0])
    for method in ("intend", "advance", "lock_target", "unlock_target"):
        world.store.__dict__.pop(method, None)


@pytest.mark.parametrize(
    ("method", "call", "after"),
    [
        ("lock_target", 1, True),
        ("intend", 1, False),
        ("intend", 1, True),
        ("lock_target", 2, True),
        ("advance", 1, False),
    ],
)
async def test_a_crash_before_the_start_is_made_good(
    world: World, method: str, call: int, after: bool
) -> None:
    plan = await world.approved("web-1")
    crash_at(world, method, call, after=after)
    await run_until_crash(world, plan)
    assert world.executor.executed == []
    assert await world.gate.recover(plan.incident_id) == []
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.attempt) == (StepState.FINISHED, 1)
    assert len(world.executor.executed) == 1


async def test_an_intention_left_behind_does_not_use_up_its_own_limit(world: World) -> None:
    limits = Limits(max_actions_per_hour=1, max_actions_per_target_per_hour=1)
    world.policy = world.policy.model_copy(update={"limits": limits})
    plan = await world.approved("web-1")
    crash_at(world, "intend", 1, after=True)
    await run_until_crash(world, plan)
    row = await world.gate.run_step(plan, plan.steps[0])
    assert row.state is StepState.FINISHED


async def test_a_crash_after_the_start_and_before_the_action(world: World) -> None:
    plan = await world.approved("web-1")
    crash_at(world, "advance", 1, after=True)
    await run_until_crash(world, plan)
    with pytest.raises(ActionInDoubt):
        await world.gate.run_step(plan, plan.steps[0])
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT
    assert world.executor.executed == []
    with pytest.raises(ActionInDoubt):
        await world.gate.run_step(plan, plan.steps[0])
    assert await world.events("action") == [
        "action.intended",
        "action.started",
        "action.recovered",
    ]


async def test_a_crash_while_the_action_runs(world: World) -> None:
    """The command was sent and took effect, and nobody heard of it."""

    async def die(action: Any) -> None:
        world.executor.restart(action)
        raise Crash

    plan = await world.approved("web-1")
    world.executor.on_execute = die
    await run_until_crash(world, plan)
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.FINISHED
    assert await world.gate.run_step(plan, plan.steps[0]) == row
    assert len(world.executor.executed) == 1
    assert await world.store.locked_targets(world.clock.now()) == {}


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_after_the_action(world: World, after: bool) -> None:
    plan = await world.approved("web-1")
    crash_at(world, "advance", 2, after=after)
    await run_until_crash(world, plan)
    recovered = await world.gate.recover(plan.incident_id)
    assert [row.state for row in recovered] == ([] if after else [StepState.FINISHED])
    row = await world.gate.run_step(plan, plan.steps[0])
    assert row.state is StepState.FINISHED
    assert len(world.executor.executed) == 1


async def test_an_effect_that_shows_late_is_waited_for(world: World) -> None:
    plan = await world.approved("web-1")
    crash_at(world, "advance", 1, after=True)
    await run_until_crash(world, plan)
    sleep = world.clock.sleep

    async def sleep_and_restart(seconds: float) -> None:
        await sleep(seconds)
        if world.clock.now() - (await world.rows(plan))[0].intended_at > timedelta(seconds=20):
            world.executor.invocations[str(plan.steps[0].target)] = 2

    world.clock.sleep = sleep_and_restart  # type: ignore[method-assign]
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.FINISHED


async def test_a_target_that_cannot_be_looked_at_leaves_the_step_in_doubt(world: World) -> None:
    plan = await world.approved("web-1")
    crash_at(world, "advance", 1, after=True)
    await run_until_crash(world, plan)
    world.executor.probe_error = ConnectorUnavailable("ssh", "web-1 does not answer")
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT
    assert "does not answer" in (row.error or "")


async def test_a_target_that_left_the_inventory_leaves_the_step_in_doubt(world: World) -> None:
    plan = await world.approved("web-1")
    crash_at(world, "advance", 1, after=True)
    await run_until_crash(world, plan)
    hosts = tuple(h for h in world.inventory.hosts if h.name != "web-1")
    world.inventory = world.inventory.model_copy(update={"hosts": hosts})
    [row] = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT


async def test_a_cancelled_step_is_recovered_and_its_target_stays_locked(world: World) -> None:
    begun = asyncio.Event()

    async def hang(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    plan = await world.approved("web-1")
    world.executor.on_execute = hang
    gate = world.gate
    task = asyncio.create_task(gate.run_step(plan, plan.steps[0]))
    await begun.wait()
    with pytest.raises(Conflict, match="at this moment"):
        await gate.run_step(plan, plan.steps[0])
    assert [row.state for row in await gate.recover(plan.incident_id)] == [StepState.STARTED]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.states(plan) == [StepState.STARTED]
    assert str(plan.steps[0].target) in await world.store.locked_targets(world.clock.now())
    [row] = await gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT
    assert len(world.executor.executed) == 1


async def test_an_old_worker_that_wakes_up_does_not_start(world: World) -> None:
    """It paused before the start; another one took the step up and ran it meanwhile."""
    plan = await world.approved("web-1")
    advance, gate = world.store.advance, world.gate
    paused, resume = asyncio.Event(), asyncio.Event()

    async def pause_before_start(execution: Any, expected: Any, events: Any) -> None:
        if expected is StepState.INTENDED and not paused.is_set():
            paused.set()
            await resume.wait()
        await advance(execution, expected, events)

    world.store.advance = pause_before_start  # type: ignore[method-assign]
    old = asyncio.create_task(gate.run_step(plan, plan.steps[0]))
    await paused.wait()
    done = await world.gate.run_step(plan, plan.steps[0])
    resume.set()
    with pytest.raises(Conflict):
        await old
    assert done.state is StepState.FINISHED
    assert len(world.executor.executed) == 1


async def test_an_intention_a_day_old_is_given_up(world: World) -> None:
    plan = await world.approved("web-1")
    crash_at(world, "intend", 1, after=True)
    await run_until_crash(world, plan)
    world.clock.advance(hours=25)
    world.policy = Policy.model_validate(
        world.policy.model_dump(by_alias=True) | {"rules": [{"name": "all", "effect": "auto"}]}
    )
    world.store.approvals = _auto(world)  # type: ignore[method-assign]
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.attempt) == (StepState.FINISHED, 2)
    assert await world.states(plan) == [StepState.FAILED, StepState.FINISHED]
    assert (await world.gate._judge.history()).started_last_hour == 1


def _auto(world: World) -> Any:
    """The request as if it had just been approved."""
    original = world.store.approvals

    async def fresh(**kwargs: Any) -> list[Any]:
        now = world.clock.now()
        return [
            a.model_copy(update={"decided_at": now, "expires_at": now + timedelta(hours=1)})
            for a in await original(**kwargs)
        ]

    return fresh


async def test_a_replayed_approval_runs_nothing_a_second_time(world: World) -> None:
    plan = await world.approved("web-1")
    for _ in range(3):
        await world.gate.run_step(plan, plan.steps[0])
    again = await world.approvals.request(plan, by="agent:resolution")
    assert again.plan_id == plan.id
    await world.gate.run_step(plan, plan.steps[0])
    assert len(world.executor.executed) == 1


async def test_two_workers_with_the_same_approved_step(world: World, database_url: str) -> None:
    """Two processes that both got through to the end: the action runs once."""
    plan = await world.approved("web-1")
    second = open_store(database_url, clock=world.clock)
    await second.open()
    try:
        other = World(second, world.clock, executor=world.executor)
        outcomes = await asyncio.gather(
            world.gate.run_step(plan, plan.steps[0]),
            other.gate.run_step(plan, plan.steps[0]),
            return_exceptions=True,
        )
    finally:
        await second.close()
    assert len(world.executor.executed) == 1
    assert StepState.FINISHED in await world.states(plan)
    assert any(not isinstance(outcome, BaseException) for outcome in outcomes)


async def test_limits_hold_for_incidents_that_act_at_once(world: World) -> None:
    limits = Limits(max_actions_per_hour=1, max_fleet_share=1)
    world.policy = Policy.default().model_copy(update={"limits": limits})
    plans = [await world.approved(host) for host in ("web-1", "web-2", "web-3")]
    await asyncio.gather(
        *(world.gate.run_step(plan, plan.steps[0]) for plan in plans), return_exceptions=True
    )
    assert len(world.executor.executed) <= 1


async def test_a_limit_of_one_lets_one_action_run_and_not_two(world: World) -> None:
    limits = Limits(max_actions_per_hour=1, max_fleet_share=1)
    world.policy = Policy.default().model_copy(update={"limits": limits})
    first, second = await world.approved("web-1"), await world.approved("web-2")
    assert (await world.gate.run_step(first, first.steps[0])).state is StepState.FINISHED
    with pytest.raises(PolicyDenied, match="1 actions began within the last hour"):
        await world.gate.run_step(second, second.steps[0])
    world.clock.advance(minutes=59)
    with pytest.raises(PolicyDenied):
        await world.gate.run_step(second, second.steps[0])
    fresh = await world.approved("web-3")
    world.clock.advance(minutes=1)
    assert (await world.gate.run_step(fresh, fresh.steps[0])).state is StepState.FINISHED
