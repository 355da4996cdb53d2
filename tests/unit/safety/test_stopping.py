"""A halted incident: nothing begins any more, what runs is stopped, and the journal says so."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import (
    ActionInDoubt,
    Conflict,
    ConnectorUnavailable,
    IncidentHalted,
    TargetLocked,
)
from it_incident_response.safety import step_runner, stopping
from it_incident_response.safety.gate import ActionGate
from it_incident_response.safety.stopping import outlast, unbroken
from tests.unit.safety.world import World

HALT = "cancelled by alice: wrong host"


async def halt(world: World, plan: Plan, **changes: Any) -> None:
    incident = await world.store.incident(plan.incident_id)
    changes = changes or {"halt": HALT}
    await world.store.save_incident(incident.model_copy(update=changes), [])


class Running:
    """A step whose action has begun and hangs until it is told how to end."""

    def __init__(self, world: World, gate: ActionGate) -> None:
        self.world, self.gate = world, gate
        self.begun, self.end = asyncio.Event(), asyncio.Event()
        self.on_cancel: Callable[[Any], Awaitable[None]] | None = None

    async def begin(self, plan: Plan) -> "Running":
        self.world.executor.on_execute = self._hang
        self.task = asyncio.create_task(self.gate.run_step(plan, plan.steps[0]))
        await self.begun.wait()
        return self

    async def _hang(self, action: Any) -> None:
        self.begun.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            if self.on_cancel is not None:
                await self.on_cancel(action)
            raise

    async def cancel(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def is_locked(world: World, plan: Plan) -> bool:
    locked = await world.store.locked_targets(world.clock.now())
    return str(plan.steps[0].target) in locked


async def only_row(world: World, plan: Plan) -> Execution:
    (row,) = await world.rows(plan)
    return row


async def test_a_halted_incident_is_not_acted_on(world: World) -> None:
    plan = await world.approved("web-1")
    await halt(world, plan)
    with pytest.raises(IncidentHalted, match="wrong host"):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []
    assert await world.events("action") == ["action.refused"]


async def test_a_plan_of_before_the_incident_began_anew_is_not_carried_out(world: World) -> None:
    plan = await world.approved("web-1")
    await halt(world, plan, episode=1)
    with pytest.raises(IncidentHalted, match="earlier episode"):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []


@pytest.mark.parametrize("method", ["intend", "advance"])
async def test_a_halt_while_the_step_is_being_started_is_seen(world: World, method: str) -> None:
    """Also one that comes in the very moment in which the start is journalled."""
    plan = await world.approved("web-1")
    original = getattr(world.store, method)

    async def halt_first(*args: Any) -> None:
        setattr(world.store, method, original)
        await halt(world, plan)
        await original(*args)

    setattr(world.store, method, halt_first)
    with pytest.raises(IncidentHalted):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []
    assert StepState.STARTED not in await world.states(plan)
    assert not await is_locked(world, plan)


async def test_what_a_person_stopped_is_in_doubt_and_says_so(world: World) -> None:
    plan = await world.approved("web-1", "web-2")
    running = await Running(world, world.gate).begin(plan)
    await halt(world, plan)
    await running.cancel()
    row = await only_row(world, plan)
    assert row.state is StepState.IN_DOUBT
    assert row.error == (
        f"stopped while it ran ({HALT}): its executor was told to stop, and has; "
        "a look afterwards: looked"
    )
    assert await is_locked(world, plan)
    assert await running.gate.recover(plan.incident_id) == []
    with pytest.raises(ActionInDoubt):
        await world.gate.run_step(plan, plan.steps[0])
    assert len(world.executor.executed) == 1
    assert (await world.events("action"))[-1] == "action.in_doubt"


async def test_what_a_person_stopped_too_late_is_finished(world: World) -> None:
    async def take_effect(action: Any) -> None:
        world.executor.restart(action)

    plan = await world.approved("web-1")
    running = Running(world, world.gate)
    running.on_cancel = take_effect
    await running.begin(plan)
    await halt(world, plan)
    await running.cancel()
    assert (await only_row(world, plan)).state is StepState.FINISHED
    assert not await is_locked(world, plan)


async def test_the_executor_is_asked_how_it_stopped(world: World) -> None:
    class Witness(type(world.executor)):  # type: ignore[misc]
        def how_it_stopped(self, key: str) -> str | None:
            return f"ended by signal TERM, password=hunter2, {key}"

    world.executor = Witness()
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    await halt(world, plan)
    await running.cancel()
    row = await only_row(world, plan)
    assert "ended by signal TERM" in str(row.error)
    assert row.key in str(row.error)
    assert "hunter2" not in str(row.error)


async def test_a_target_that_cannot_be_looked_at_after_a_stop(world: World) -> None:
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    await halt(world, plan)
    world.executor.probe_error = ConnectorUnavailable("ssh", "web-1 does not answer")
    await running.cancel()
    row = await only_row(world, plan)
    assert row.state is StepState.IN_DOUBT
    assert "web-1 does not answer" in str(row.error)


async def test_a_worker_that_is_shut_down_leaves_the_step_for_the_next_one(world: World) -> None:
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    await running.cancel()
    assert await world.states(plan) == [StepState.STARTED]
    assert await world.events("action") == [
        "action.intended",
        "action.started",
        "action.interrupted",
    ]
    assert await is_locked(world, plan)
    (row,) = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT


async def test_an_end_that_comes_with_the_cancellation_is_the_end(world: World) -> None:
    """The executor came back in the same moment: what it said counts."""
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    await halt(world, plan)
    running.end.set()
    await running.cancel()
    assert (await only_row(world, plan)).state is StepState.FINISHED
    assert not await is_locked(world, plan)


async def test_a_doubt_of_the_stopped_executor_is_told(world: World) -> None:
    async def lose(_: Any) -> None:
        raise ActionInDoubt("the connection broke")

    plan = await world.approved("web-1")
    running = Running(world, world.gate)
    running.on_cancel = lose
    await running.begin(plan)
    await halt(world, plan)
    await running.cancel()
    assert "the connection broke; a look afterwards" in str((await only_row(world, plan)).error)


async def test_what_certainly_did_not_start_when_it_was_cancelled(world: World) -> None:
    async def refuse(_: Any) -> None:
        raise ConnectorUnavailable("ssh", "no route")

    plan = await world.approved("web-1")
    running = Running(world, world.gate)
    running.on_cancel = refuse
    await running.begin(plan)
    await running.cancel()
    row = await only_row(world, plan)
    assert (row.state, row.started_at) == (StepState.FAILED, None)
    assert not await is_locked(world, plan)


async def test_an_executor_that_does_not_stop_may_be_going_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def ignore(_: Any) -> None:
        await release.wait()

    monkeypatch.setattr(stopping.end_attempt, "__defaults__", (0.01,))
    plan = await world.approved("web-1")
    running = Running(world, world.gate)
    running.on_cancel = ignore
    await running.begin(plan)
    await halt(world, plan)
    await running.cancel()
    row = await only_row(world, plan)
    assert row.state is StepState.IN_DOUBT
    assert "it could not be stopped, and may be going on" in str(row.error)
    assert await is_locked(world, plan)
    release.set()


async def test_a_cancellation_before_the_start_sends_nothing(world: World) -> None:
    plan = await world.approved("web-1")
    intend, reached = world.store.intend, asyncio.Event()

    async def pause(*args: Any) -> None:
        await intend(*args)
        reached.set()
        await asyncio.Event().wait()

    world.store.intend = pause  # type: ignore[method-assign]
    task = asyncio.create_task(world.gate.run_step(plan, plan.steps[0]))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.states(plan) == [StepState.INTENDED]
    assert not await is_locked(world, plan)
    world.store.intend = intend  # type: ignore[method-assign]
    assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.FINISHED


async def test_a_cancellation_while_the_start_is_written_is_no_doubt(world: World) -> None:
    """The row was written, nothing was sent: the journal knows that for certain."""
    plan = await world.approved("web-1")
    advance, reached, go_on = world.store.advance, asyncio.Event(), asyncio.Event()

    async def slow(execution: Execution, expected: StepState, events: Any) -> None:
        if expected is StepState.INTENDED:
            reached.set()
            await go_on.wait()
        await advance(execution, expected, events)

    world.store.advance = slow  # type: ignore[method-assign]
    task = asyncio.create_task(world.gate.run_step(plan, plan.steps[0]))
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    row = await only_row(world, plan)
    assert (row.state, row.started_at) == (StepState.FAILED, None)
    assert world.executor.executed == []
    world.store.advance = advance  # type: ignore[method-assign]
    assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.FINISHED


async def test_an_end_is_written_although_cancelled(world: World) -> None:
    plan = await world.approved("web-1")
    advance, reached, go_on = world.store.advance, asyncio.Event(), asyncio.Event()

    async def slow(execution: Execution, expected: StepState, events: Any) -> None:
        if execution.state is StepState.FINISHED:
            reached.set()
            await go_on.wait()
        await advance(execution, expected, events)

    world.store.advance = slow  # type: ignore[method-assign]
    task = asyncio.create_task(world.gate.run_step(plan, plan.steps[0]))
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.states(plan) == [StepState.FINISHED]
    assert not await is_locked(world, plan)


async def test_what_was_stopped_here_and_not_written_down_is_looked_at_once(world: World) -> None:
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    await running.cancel()
    await halt(world, plan)
    before = world.clock.now()
    (row,) = await running.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT
    assert world.clock.now() == before


async def test_a_step_that_runs_here_is_not_settled_by_a_recovery(world: World) -> None:
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    (row,) = await running.gate.recover(plan.incident_id)
    assert row.state is StepState.STARTED
    running.end.set()
    assert (await running.task).state is StepState.FINISHED


async def test_a_worker_that_was_paused_ends_late_and_changes_nothing(world: World) -> None:
    """Another one has found out meanwhile: the late end is a Conflict, and frees no lock."""
    plan = await world.approved("web-1")
    running = await Running(world, world.gate).begin(plan)
    (row,) = await world.gate.recover(plan.incident_id)
    assert row.state is StepState.IN_DOUBT
    running.end.set()
    with pytest.raises(Conflict):
        await running.task
    assert await only_row(world, plan) == row
    assert await is_locked(world, plan)


async def test_a_paused_worker_whose_lock_another_incident_took_does_not_start(
    world: World,
) -> None:
    """It paused after its last look at the lock; the other has come and gone meanwhile."""
    plan, other = await world.approved("web-1"), await world.approved("web-1")
    gate, advance = world.gate, world.store.advance
    paused, resume = asyncio.Event(), asyncio.Event()

    async def pause(execution: Execution, expected: StepState, events: Any) -> None:
        if execution.incident_id == plan.incident_id and expected is StepState.INTENDED:
            paused.set()
            await resume.wait()
        await advance(execution, expected, events)

    world.store.advance = pause  # type: ignore[method-assign]
    old = asyncio.create_task(gate.run_step(plan, plan.steps[0]))
    await paused.wait()
    world.clock.advance(minutes=10)
    done = await world.gate.run_step(other, other.steps[0])
    resume.set()
    with pytest.raises(TargetLocked, match="lock .* was lost") as lost:
        await old
    assert lost.value.retry_after_s
    assert done.state is StepState.FINISHED
    row = await only_row(world, plan)
    assert (row.state, row.started_at) == (StepState.FAILED, None)
    assert len(world.executor.executed) == 1


async def test_a_paused_worker_of_an_older_plan_does_not_start_beside_a_running_step(
    world: World,
) -> None:
    """Both plans are of one incident, so the lock is no help: the journal is."""
    incident = await world.incident()
    plan = await world.approved("web-1", incident=incident)
    gate, advance = world.gate, world.store.advance
    paused, resume = asyncio.Event(), asyncio.Event()

    async def pause(execution: Execution, expected: StepState, events: Any) -> None:
        if execution.plan_id == plan.id and expected is StepState.INTENDED:
            paused.set()
            await resume.wait()
        await advance(execution, expected, events)

    world.store.advance = pause  # type: ignore[method-assign]
    old = asyncio.create_task(gate.run_step(plan, plan.steps[0]))
    await paused.wait()
    newer = await world.approved("web-1", "web-2", incident=incident)
    running = await Running(world, world.gate).begin(newer)
    resume.set()
    with pytest.raises(TargetLocked, match="is acting on"):
        await old
    running.end.set()
    assert (await running.task).state is StepState.FINISHED
    assert len(world.executor.executed) == 1


async def test_a_crash_between_the_end_and_the_unlock_frees_the_target_at_once(
    world: World,
) -> None:
    plan = await world.approved("web-1")
    unlock = world.store.unlock_target

    async def die(*_: Any, **__: Any) -> None:
        raise KeyError("the process dies here")

    world.store.unlock_target = die  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        await world.gate.run_step(plan, plan.steps[0])
    world.store.unlock_target = unlock  # type: ignore[method-assign]
    assert await is_locked(world, plan)
    assert await world.gate.recover(plan.incident_id) == []
    assert not await is_locked(world, plan)


async def test_work_outlasts_cancellations_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.append("done")

    async def leaving() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await outlast(work())

    task = asyncio.create_task(leaving())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["done"]
    monkeypatch.setattr(stopping, "WRITE_S", 0.01)
    endless = asyncio.create_task(unbroken(asyncio.Event().wait()))
    await asyncio.sleep(0)
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless


def test_stopping_leaves_time_for_each_of_its_parts() -> None:
    assert step_runner.STOPPING_S >= stopping.STOP_S + step_runner.LOOK_S + stopping.WRITE_S
