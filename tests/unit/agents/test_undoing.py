"""A plan is taken back step by step, the last one first, under its own approval, for good."""

from dataclasses import dataclass
from typing import Any

import pytest

from it_incident_response.actions import RestartService, ScaleService
from it_incident_response.agents.resolution_agent import ResolutionAgent
from it_incident_response.agents.undoing import describe_taking_back, lasting, undoable
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import (
    ActionError,
    ActionInDoubt,
    ApprovalRequired,
    IncidentHalted,
    NotFound,
)
from it_incident_response.ports import Outcome
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.policy import Conditions, Effect, Policy, PolicyRule
from tests.unit.safety.conftest import database_url, migrated_database, world
from tests.unit.safety.world import World

__all__ = ["database_url", "migrated_database", "world"]

UP = ScaleService(service="web", replicas=4, previous=2)
DATABASE_UP = ScaleService(service="postgres", replicas=3, previous=1)
RESTART = RestartService(host="web-1", unit="nginx.service")


@dataclass
class Kit:
    world: World
    plan: Plan

    @property
    def agent(self) -> ResolutionAgent:
        """An agent without memory of an earlier one: as another process has it."""
        world = self.world
        return ResolutionAgent(
            world.store,
            world.clock,
            world.gate,
            world.approvals,
            None,  # type: ignore[arg-type] - nothing is verified here
            inventory=world.inventory,
            executors={},
        )

    async def rows(self) -> list[tuple[int, bool, StepState]]:
        return [(r.step, r.is_undo, r.state) for r in await self.world.rows(self.plan)]


@pytest.fixture
async def kit(world: World) -> Kit:
    """Three steps that have run, of which the second has no undo."""
    world.policy = Policy.default().model_copy(update={"limits": Limits(max_fleet_share=1)})
    incident = await world.incident()
    plan = await world._prepared(incident, None, UP, RESTART, DATABASE_UP)
    request = await world.approvals.request(plan, by="agent:resolution")
    await world.approvals.approve(request.id, "alice", "cli", plan_digest=plan.digest)
    kit = Kit(world, plan)
    rows = await kit.agent.execute(plan)
    assert [row.state for row in rows] == [StepState.FINISHED] * 3
    return kit


def undone(*steps: int) -> list[tuple[int, bool, StepState]]:
    ran = [(step, False, StepState.FINISHED) for step in (1, 2, 3)]
    return [*ran, *((step, True, StepState.FINISHED) for step in steps)]


async def test_the_last_step_is_undone_first_and_once(kit: Kit) -> None:
    rows = await kit.agent.roll_back(kit.plan)
    assert [row.step for row in rows] == [3, 1]
    assert await kit.rows() == undone(3, 1)
    assert await kit.agent.roll_back(kit.plan) == []
    assert await kit.rows() == undone(3, 1)
    events = [e for e in await kit.world.store.events() if e.kind == "plan.taken_back"]
    assert events[0].summary == "undone: steps 3, 1; step 2 (restart_service): has no undo"


async def test_what_is_left_to_undo_is_read_from_the_journal(kit: Kit) -> None:
    rows = await kit.world.rows(kit.plan)
    assert undoable(kit.plan, rows) == kit.agent.undoable(kit.plan, rows) == (3, 1)
    assert [step.number for step in lasting(kit.plan, rows)] == [1, 2, 3]
    assert describe_taking_back(kit.plan, rows).startswith("nothing was undone; step 1 (scale")
    await kit.agent.undo_step(kit.plan, 3)
    rows = await kit.world.rows(kit.plan)
    assert undoable(kit.plan, rows) == (1,)
    assert [step.number for step in lasting(kit.plan, rows)] == [1, 2]


async def test_single_steps_are_run_and_undone_once(kit: Kit) -> None:
    first = await kit.agent.execute_step(kit.plan, 1)
    back = await kit.agent.undo_step(kit.plan, 3)
    assert await kit.agent.undo_step(kit.plan, 3) == back
    assert await kit.agent.execute_step(kit.plan, 1) == first
    assert await kit.rows() == undone(3)
    with pytest.raises(NotFound, match="no step 9"):
        await kit.agent.execute_step(kit.plan, 9)


async def test_no_step_is_undone_before_what_came_after_it(kit: Kit) -> None:
    with pytest.raises(ActionError, match="step 3 has to be undone before step 1"):
        await kit.agent.undo_step(kit.plan, 1)
    assert await kit.rows() == undone()


async def test_an_undo_that_fails_ends_it(kit: Kit) -> None:
    kit.world.executor.outcome = Outcome(succeeded=False, error="no")
    (row,) = await kit.agent.roll_back(kit.plan)
    assert (row.step, row.state) == (3, StepState.FAILED)
    again = await kit.agent.roll_back(kit.plan)
    assert list(again) == [row], "it is final: nothing runs a second time"
    events = [e for e in await kit.world.store.events() if e.kind == "plan.taken_back"]
    assert "step 3 (scale_service): its undo has not finished" in events[-1].summary


async def test_an_undo_in_doubt_ends_it(kit: Kit) -> None:
    async def lost(_: object) -> None:
        raise ActionInDoubt("the connection broke")

    kit.world.executor.on_execute = lost
    (row,) = await kit.agent.roll_back(kit.plan)
    assert row.state is StepState.IN_DOUBT
    with pytest.raises(ActionInDoubt):
        await kit.agent.roll_back(kit.plan)
    assert len(await kit.rows()) == 4


async def test_an_undo_whose_worker_died_is_looked_at_and_then_gone_on_with(kit: Kit) -> None:
    class Crash(BaseException):
        pass

    async def die(action: Any) -> None:
        kit.world.executor.restart(action)
        raise Crash

    kit.world.executor.on_execute = die
    with pytest.raises(Crash):
        await kit.agent.roll_back(kit.plan)
    kit.world.executor.on_execute = None
    with pytest.raises(ActionInDoubt):
        await kit.agent.roll_back(kit.plan)
    incident = await kit.world.store.incident(kit.plan.incident_id)
    (found,) = await kit.agent.recover(incident)
    assert (found.is_undo, found.state) == (True, StepState.FINISHED)
    await kit.agent.roll_back(kit.plan)
    assert await kit.rows() == undone(3, 1)


async def test_a_plan_that_is_being_taken_back_is_never_gone_on_with(world: World) -> None:
    incident = await world.incident()
    plan = await world._prepared(incident, None, UP, DATABASE_UP)
    request = await world.approvals.request(plan, by="agent:resolution")
    await world.approvals.approve(request.id, "alice", "cli")
    kit = Kit(world, plan)
    await kit.agent.execute_step(plan, 1)
    await kit.agent.roll_back(plan)
    with pytest.raises(ActionError, match="is being taken back"):
        await kit.agent.execute_step(plan, 2)
    with pytest.raises(ActionError, match="is being taken back"):
        await kit.agent.execute(plan)
    assert await kit.rows() == [(1, False, StepState.FINISHED), (1, True, StepState.FINISHED)]


async def test_the_time_to_undo_counts_from_the_end_of_the_step(world: World) -> None:
    """The approval's hour is over, the step was run within it: it may be taken back for an hour."""
    plan = await world.scaling_plan()
    request = await world.approvals.request(plan, by="agent:resolution")
    await world.approvals.approve(request.id, "alice", "cli")
    world.clock.advance(minutes=50)
    kit = Kit(world, plan)
    await kit.agent.execute_step(plan, 1)
    world.clock.advance(minutes=59)
    assert (await kit.agent.undo_step(plan, 1)).state is StepState.FINISHED


async def test_after_that_hour_a_person_has_to_undo(world: World) -> None:
    plan = await world.scaling_plan()
    request = await world.approvals.request(plan, by="agent:resolution")
    await world.approvals.approve(request.id, "alice", "cli")
    kit = Kit(world, plan)
    await kit.agent.execute_step(plan, 1)
    world.clock.advance(minutes=61)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await kit.agent.undo_step(plan, 1)


async def test_the_time_to_act_is_not_prolonged_for_further_steps(world: World) -> None:
    plan = await world.approved("web-1", "web-2")
    world.clock.advance(minutes=50)
    await world.gate.run_step(plan, plan.steps[0])
    world.clock.advance(minutes=11)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await world.gate.run_step(plan, plan.steps[1])


async def test_who_approved_must_have_been_allowed_to_approve_the_undo(kit: Kit) -> None:
    rule = PolicyRule(
        name="chiefs",
        when=Conditions(actions=("scale_service",)),
        effect=Effect.APPROVE,
        approvers=("chief",),
    )
    roles = {"operator": ("*",), "chief": ("carol",)}
    rules = (rule, PolicyRule(name="x", effect=Effect.AUTO))
    kit.world.policy = kit.world.policy.model_copy(update={"roles": roles, "rules": rules})
    with pytest.raises(ApprovalRequired, match="chief"):
        await kit.agent.roll_back(kit.plan)


async def test_a_halted_incident_is_not_taken_back_either(kit: Kit) -> None:
    incident = await kit.world.store.incident(kit.plan.incident_id)
    await kit.world.store.save_incident(incident.model_copy(update={"halt": "bob has it"}), [])
    with pytest.raises(IncidentHalted, match="bob has it"):
        await kit.agent.roll_back(kit.plan)
    assert await kit.rows() == undone()


async def test_the_undo_is_part_of_what_is_approved(kit: Kit) -> None:
    step = kit.plan.steps[0]
    assert step.undo is not None
    other = step.undo.model_copy(update={"parameters": {**step.undo.parameters, "replicas": 1}})
    changed = step.model_copy(update={"undo": other})
    plan = kit.plan.model_copy(update={"steps": (changed, *kit.plan.steps[1:])})
    assert plan.digest != kit.plan.digest
    with pytest.raises(ApprovalRequired):
        await kit.agent.undo_step(plan, 1)
