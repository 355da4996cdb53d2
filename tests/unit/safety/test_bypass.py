"""Ways around approval, each of which has to fail: nothing reaches the executor."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import new_id
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import (
    ApprovalRequired,
    Conflict,
    IncidentResponseError,
    PolicyDenied,
)
from it_incident_response.safety.policy import Policy
from it_incident_response.storage import open_store
from tests.unit.safety.world import World


@pytest.fixture(autouse=True)
async def _nothing_ran(world: World) -> AsyncIterator[None]:
    yield
    assert world.executor.executed == []


async def refused(world: World, plan: Plan, why: str) -> None:
    with pytest.raises(ApprovalRequired, match=why):
        await world.gate.run_step(plan, plan.steps[0])


async def asked(world: World, plan: Plan | None = None) -> tuple[Plan, Approval]:
    plan = plan or await world.plan("web-1")
    return plan, await world.approvals.request(plan, by="agent:resolution")


def with_policy(**changes: Any) -> Policy:
    return Policy.model_validate(Policy.default().model_dump(by_alias=True) | changes)


async def test_the_gate_without_any_request(world: World) -> None:
    plan = await world.plan("web-1")
    await refused(world, plan, "not in the record")
    await world.store.add_plan(plan, None, [])
    await refused(world, plan, "nobody was asked")


async def test_a_pending_request(world: World) -> None:
    plan, _ = await asked(world)
    await refused(world, plan, "nobody has decided yet")


async def test_a_rejected_request(world: World) -> None:
    plan, request = await asked(world)
    await world.approvals.reject(request.id, "alice", "cli", reason="not now")
    await refused(world, plan, "alice rejected it: not now")


async def test_a_request_that_expired_undecided(world: World) -> None:
    plan, request = await asked(world)
    world.clock.advance(hours=1)
    await refused(world, plan, "nobody decided before")
    with pytest.raises(Conflict, match="expired"):
        await world.approvals.approve(request.id, "alice", "cli")
    await refused(world, plan, "it is expired")


async def test_an_approval_too_old_to_act_on(world: World) -> None:
    plan = await world.approved("web-1")
    world.clock.advance(hours=1)
    await refused(world, plan, "too long ago")


async def test_a_voided_approval(world: World) -> None:
    plan = await world.approved("web-1")
    await world.approvals.void(plan.incident_id, "the alert is gone")
    await refused(world, plan, "it is voided: the alert is gone")


async def test_an_altered_plan_under_the_id_of_the_approved_one(world: World) -> None:
    plan = await world.approved("web-1")
    other = (await world.plan("web-2")).steps
    await refused(world, plan.model_copy(update={"steps": other}), "not the one in the record")


async def test_a_plan_altered_in_a_later_step(world: World) -> None:
    plan = await world.approved("web-1", "web-2")
    other = (await world.plan("web-1", "web-3")).steps
    altered = plan.model_copy(update={"steps": other})
    assert altered.steps[0] == plan.steps[0]
    await refused(world, altered, "not the one in the record")


async def test_a_foreign_step_within_the_approved_plan(world: World) -> None:
    plan = await world.approved("web-1")
    step = (await world.plan("web-2")).steps[0]
    with pytest.raises(ApprovalRequired, match="not the one in the record"):
        await world.gate.run_step(plan, step)


async def test_a_plan_altered_in_the_store_itself(world: World) -> None:
    """Whoever can write plans but not approvals gains nothing."""
    plan = await world.approved("web-1")
    altered = plan.model_copy(update={"steps": (await world.plan("web-2")).steps})

    async def forged(_: str) -> Plan:
        return altered

    async def forged_list(_: str) -> list[Plan]:
        return [altered]

    world.store.plan = forged  # type: ignore[method-assign, assignment]
    world.store.plans_of = forged_list  # type: ignore[method-assign, assignment]
    await refused(world, altered, "for another plan")


async def test_an_approval_of_another_plan_with_the_same_steps(world: World) -> None:
    incident = await world.incident()
    first = await world.approved("web-1", incident=incident)
    copy = first.model_copy(update={"id": new_id(world.clock.now())})
    await world.store.add_plan(copy, None, [])
    assert copy.digest == first.digest
    await refused(world, copy, "nobody was asked")


async def test_an_approved_plan_that_a_newer_one_replaced(world: World) -> None:
    incident = await world.incident()
    old = await world.approved("web-1", incident=incident)
    await asked(world, await world.plan("web-2", incident=incident))
    await refused(world, old, "was replaced by plan")


async def test_a_plan_that_says_it_needs_no_approval(world: World) -> None:
    plan = (await world.plan("web-1")).model_copy(update={"needs_approval": False})
    await world.store.add_plan(plan, None, [])
    await refused(world, plan, "nobody was asked")


@pytest.mark.parametrize("who", ["system", "agent:resolution", "policy", "*", "", "user:", "аlice"])
async def test_approval_by_what_is_no_person(world: World, who: str) -> None:
    plan, request = await asked(world)
    with pytest.raises(PolicyDenied):
        await world.approvals.approve(request.id, who, "cli")
    await refused(world, plan, "nobody has decided yet")
    assert await world.events("approval.refused") == ["approval.refused"]


async def test_an_unknown_user(world: World) -> None:
    world.policy = with_policy(roles={"operator": ["bob"], "approver": []})
    _, request = await asked(world)
    with pytest.raises(PolicyDenied, match="mallory has no role"):
        await world.approvals.approve(request.id, "mallory", "cli")
    with pytest.raises(PolicyDenied, match="has no role"):
        await world.approvals.reject(request.id, "mallory", "cli")


async def test_the_wrong_role(world: World) -> None:
    world.policy = with_policy(
        roles={"operator": ["*"], "dba": ["bob"]},
        rules=[{"name": "all", "effect": "approve", "approvers": ["dba"]}],
    )
    _, request = await asked(world)
    with pytest.raises(PolicyDenied, match="asks for the role dba") as caught:
        await world.approvals.approve(request.id, "mallory", "cli")
    assert "bob" in str(caught.value)


async def test_self_approval(world: World) -> None:
    plan = await world.plan("web-1")
    request = await world.approvals.request(plan, by="user:alice")
    for name in ("alice", "user:alice", "ALICE"):
        with pytest.raises(PolicyDenied, match="somebody else has to approve"):
            await world.approvals.approve(request.id, name, "cli")
    world.policy = with_policy(self_approval=True)
    await world.approvals.approve(request.id, "alice", "cli")


@pytest.mark.parametrize("via", ["policy", "configuration", "system"])
async def test_a_person_who_poses_as_the_policy(world: World, via: str) -> None:
    _, request = await asked(world)
    with pytest.raises(IncidentResponseError, match="not a way in which people decide"):
        await world.approvals.approve(request.id, "alice", via)


async def test_another_digest_than_was_shown(world: World) -> None:
    _, request = await asked(world)
    with pytest.raises(Conflict, match="another plan than the one you were shown"):
        await world.approvals.approve(request.id, "alice", "cli", plan_digest="0" * 64)
    assert (await world.store.approval(request.id)).status is ApprovalStatus.PENDING


async def test_a_second_decision(world: World) -> None:
    _, request = await asked(world)
    await world.approvals.reject(request.id, "bob", "cli")
    with pytest.raises(Conflict, match="rejected already"):
        await world.approvals.approve(request.id, "alice", "cli")


async def test_two_decisions_at_once(world: World, database_url: str) -> None:
    """In two processes: one decision counts, and the other is told."""
    _, request = await asked(world)
    second = open_store(database_url, clock=world.clock)
    await second.open()
    try:
        other = World(second, world.clock)
        outcomes = await asyncio.gather(
            world.approvals.approve(request.id, "alice", "cli"),
            other.approvals.reject(request.id, "bob", "cli"),
            return_exceptions=True,
        )
    finally:
        await second.close()
    assert sum(isinstance(o, Conflict) for o in outcomes) == 1
    winner = next(o for o in outcomes if isinstance(o, Approval))
    assert (await world.store.approval(request.id)) == winner
    decided = [k for k in await world.events("approval") if k != "approval.requested"]
    assert decided == [f"approval.{winner.status}"]


async def test_a_policy_that_changed_after_the_approval(world: World) -> None:
    plan = await world.approved("web-1")
    world.policy = with_policy(roles={"operator": ["bob"], "approver": []})
    await refused(world, plan, "by the policy as it is now, alice has no role")
    world.policy = with_policy(forbidden_hosts=["web-1"])
    with pytest.raises(PolicyDenied, match="never touched"):
        await world.gate.run_step(plan, plan.steps[0])


async def test_a_policy_that_let_it_run_and_does_not_any_more(world: World) -> None:
    world.policy = with_policy(rules=[{"name": "all", "effect": "auto"}])
    plan, request = await asked(world)
    assert request.status is ApprovalStatus.APPROVED
    world.policy = Policy.default()
    await refused(world, plan, "without a person, and one is needed now")


async def test_a_freeze_that_began_after_the_approval(world: World) -> None:
    world.policy = with_policy(
        freezes=[{"name": "eve", "from": "2026-03-11T12:30:00Z", "until": "2026-03-11T14:00:00Z"}]
    )
    plan = await world.approved("web-1")
    world.clock.advance(minutes=30)
    with pytest.raises(PolicyDenied, match="Change freeze eve is on"):
        await world.gate.run_step(plan, plan.steps[0])


async def test_a_freeze_that_began_between_the_check_and_the_start(world: World) -> None:
    """The preview may take long: policy is asked once more when the step is about to start."""

    async def dawdle(_: object) -> None:
        world.clock.advance(minutes=5)

    world.policy = with_policy(
        freezes=[{"name": "eve", "from": "2026-03-11T12:04:00Z", "until": "2026-03-11T14:00:00Z"}]
    )
    plan = await world.approved("web-1")
    world.executor.on_preview = dawdle
    with pytest.raises(PolicyDenied, match="Change freeze eve is on"):
        await world.gate.run_step(plan, plan.steps[0])
    assert await world.states(plan) == [StepState.INTENDED]
    assert await world.store.locked_targets(world.clock.now()) == {}


async def test_an_approval_withdrawn_between_the_check_and_the_start(world: World) -> None:
    plan = await world.approved("web-1")

    async def withdraw(_: object) -> None:
        await world.approvals.void(plan.incident_id, "withdrawn")

    world.executor.on_preview = withdraw
    await refused(world, plan, "withdrawn")


async def test_a_clock_set_back_revives_no_approval(world: World) -> None:
    plan = await world.approved("web-1")
    world.clock.advance(hours=-2)
    await refused(world, plan, "decided in the future")


async def test_a_clock_set_back_revives_no_expired_request(world: World) -> None:
    _, request = await asked(world)
    manager = world.approvals
    world.clock.advance(hours=2)
    assert await manager.expire_due() != []
    world.clock.advance(hours=-2)
    with pytest.raises(Conflict, match="expired already"):
        await world.approvals.approve(request.id, "alice", "cli")


async def test_a_clock_set_back_within_a_process_is_noticed(world: World) -> None:
    plan = await world.approved("web-1")
    manager = world.approvals
    world.clock.advance(hours=2)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await manager.granted_for(plan)
    world.clock.advance(hours=-2)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await manager.granted_for(plan)


@pytest.mark.parametrize(
    "forgery",
    [
        {"decided_by": None},
        {"decided_at": None},
        {"decided_by": "agent:resolution"},
        {"decided_by": "system", "decided_via": "policy"},
        {"decided_by": "system", "decided_via": "configuration"},
    ],
)
async def test_a_forged_decision(world: World, forgery: dict[str, Any]) -> None:
    plan, request = await asked(world)
    genuine = {
        "status": ApprovalStatus.APPROVED,
        "decided_at": world.clock.now(),
        "decided_by": "alice",
        "decided_via": "cli",
    }
    await world.store.decide(request.model_copy(update=genuine | forgery), [])
    await refused(world, plan, "may not run under approval")


async def test_a_decision_dated_after_its_own_expiry(world: World) -> None:
    plan, request = await asked(world)
    world.clock.advance(minutes=61)
    late = {
        "status": ApprovalStatus.APPROVED,
        "decided_at": world.clock.now(),
        "decided_by": "alice",
    }
    await world.store.decide(request.model_copy(update=late), [])
    await refused(world, plan, "decided after it had expired")


async def test_a_decision_written_into_the_record_by_other_hands(world: World) -> None:
    """Perfect but for the audit trail, which has no such decision."""
    plan, request = await asked(world)
    approved = {
        "status": ApprovalStatus.APPROVED,
        "decided_at": world.clock.now(),
        "decided_by": "alice",
        "decided_via": "cli",
    }
    await world.store.decide(request.model_copy(update=approved), [])
    await refused(world, plan, "the audit trail does not say so")


async def test_a_rejection_turned_into_an_approval(world: World) -> None:
    plan, request = await asked(world)
    rejected = await world.approvals.reject(request.id, "alice", "cli")
    turned = rejected.model_copy(update={"status": ApprovalStatus.APPROVED})
    await world.store.decide(turned, [], expected=ApprovalStatus.REJECTED)
    await refused(world, plan, "the audit trail does not say so")


async def test_an_approval_turned_into_somebody_elses(world: World) -> None:
    plan, request = await asked(world)
    approved = await world.approvals.approve(request.id, "alice", "cli")
    other = approved.model_copy(update={"decided_by": "bob"})
    await world.store.decide(other, [], expected=ApprovalStatus.APPROVED)
    await refused(world, plan, "may not run under approval")
