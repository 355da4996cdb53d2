"""People stop an incident, take it over and hand it back: once, on the record, if they may."""

import asyncio

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import (
    ApprovalRequired,
    Conflict,
    IllegalTransition,
    InputRejected,
    NotFound,
    PolicyDenied,
)
from it_incident_response.safety.policy import Policy
from it_incident_response.workflow.desk import CHANGE_ATTEMPTS, IncidentDesk

ONLY_BOB = Policy.default().model_copy(update={"roles": {"operator": ("bob",), "approver": ()}})
HOSTILE = "\x1b[2J\u202egpj\x00 [red] {0} %s"


@pytest.fixture
def desk(world):
    return IncidentDesk(
        world.store, world.clock, world.inventory, requests=world.approvals, policy=world.policy
    )


class Died(BaseException):
    """The process ends here: nothing may handle it."""


async def moved(world, incident, *statuses):
    for status in statuses:
        incident = await world.store.save_incident(incident.moved_to(status, world.clock.now()), [])
    return incident


async def asked(world):
    incident = await moved(world, await world.incident(), IncidentStatus.IDENTIFIED)
    plan = await world.plan(incident=incident)
    return incident, await world.approvals.request(plan, by="agent:resolution")


async def started(world):
    """Return an incident whose first step is running at this moment."""
    incident = await moved(world, await world.incident(), IncidentStatus.IDENTIFIED)
    plan = await world.approved("web-1", "web-2", incident=incident)
    incident = await moved(world, incident, IncidentStatus.RESOLVING)

    async def crash(action):
        raise Died

    world.executor.on_execute = crash
    with pytest.raises(Died):
        await world.gate.run_step(plan, plan.steps[0])
    assert (await world.states(plan))[-1] is StepState.STARTED
    return incident, plan


async def due(world):
    return [row.incident_id for row in await world.store.work_backlog(world.clock.now(), limit=9)]


async def test_taking_over_stops_us_and_makes_the_person_responsible(world, desk):
    incident, request = await asked(world)
    taken = await desk.take_over(incident.key, by="alice", reason="I know this one")
    assert taken.assignee == "alice"
    assert taken.halt == taken.escalation == "taken over by alice: I know this one"
    assert taken.status is IncidentStatus.IDENTIFIED
    assert await due(world) == [incident.id]
    voided = await world.store.approval(request.id)
    assert (voided.status, voided.reason) == (ApprovalStatus.VOIDED, taken.halt)
    (event,) = [e for e in await world.store.events() if e.kind == "incident.taken_over"]
    assert (event.actor, event.summary) == ("user:alice", taken.halt)
    with pytest.raises(Conflict):
        await world.approvals.approve(request.id, "bob", "cli")


async def test_an_approval_that_nobody_acted_on_is_void_with_it(world, desk):
    incident = await moved(world, await world.incident(), IncidentStatus.IDENTIFIED)
    plan = await world.approved("web-1", incident=incident)
    await desk.cancel(incident.id, by="alice", reason="wrong host")
    with pytest.raises(ApprovalRequired, match="voided"):
        await world.approvals.granted_for(plan)


async def test_cancelling_a_repair_leaves_it_resolving_until_its_step_has_ended(
    world,
    desk,
):
    incident, plan = await started(world)
    assert await desk.running_steps(incident.id) == (1,)
    cancelled = await desk.cancel(incident.id, by="alice", reason="it makes things worse")
    assert cancelled.status is IncidentStatus.RESOLVING
    assert cancelled.escalation is None
    assert cancelled.halt == "cancelled by alice: it makes things worse"
    assert await due(world) == [incident.id]
    with pytest.raises(Conflict, match="being stopped"):
        await desk.rediagnose(incident.id, by="alice")
    assert (await desk.take_over(incident.id, by="bob")).assignee == "bob"
    assert [row.state for row in await world.rows(plan)] == [StepState.STARTED]


async def test_what_is_being_repaired_is_not_diagnosed_afresh(world, desk):
    incident, _ = await started(world)
    for way in (
        desk.rediagnose(incident.id, by="alice"),
        desk.set_status(incident.id, IncidentStatus.INVESTIGATING, by="alice"),
    ):
        with pytest.raises(Conflict, match="being repaired") as refusal:
            await way
        assert "iir incidents cancel" in refusal.value.hint
    stored = await world.store.incident(incident.id)
    assert (stored.status, stored.episode) == (IncidentStatus.RESOLVING, 0)


async def test_a_step_left_behind_keeps_even_an_idle_incident_from_a_new_beginning(
    world,
    desk,
):
    incident, _ = await started(world)
    await moved(world, incident, IncidentStatus.IDENTIFIED)
    with pytest.raises(Conflict, match="has not ended"):
        await desk.rediagnose(incident.id, by="alice")


@pytest.mark.parametrize("status", ["investigating", "identified"])
async def test_handing_it_back_begins_a_new_episode(world, desk, status):
    incident, request = await asked(world)
    if status == "investigating":
        incident = await moved(world, incident, IncidentStatus.INVESTIGATING)
    halted = await desk.cancel(incident.id, by="alice", reason="wait")
    assert halted.halt
    back = await desk.rediagnose(incident.id, by="bob", reason="go on")
    assert back.status is IncidentStatus.INVESTIGATING
    assert (back.halt, back.escalation) == (None, None)
    assert back.episode == halted.episode + 1
    assert (await world.store.approval(request.id)).status is ApprovalStatus.VOIDED
    assert await due(world) == [incident.id]
    summaries = [e.summary for e in await world.store.events() if e.actor == "user:bob"]
    assert summaries == ["to be diagnosed afresh, asked by bob: go on"]


async def test_a_plan_that_waits_is_void_when_it_is_diagnosed_afresh(world, desk):
    incident, request = await asked(world)
    await desk.rediagnose(incident.id, by="alice")
    assert (await world.store.approval(request.id)).status is ApprovalStatus.VOIDED


async def test_setting_the_status_is_no_way_around(world, desk):
    incident, request = await asked(world)
    await desk.take_over(incident.id, by="alice")
    guarded = IncidentDesk(world.store, world.clock, world.inventory, policy=ONLY_BOB)
    with pytest.raises(PolicyDenied):
        await guarded.set_status(incident.id, IncidentStatus.INVESTIGATING, by="mallory")
    with pytest.raises(Conflict, match="out of our hands"):
        await desk.set_status(incident.id, IncidentStatus.RESOLVING, by="alice")
    assert (await world.store.incident(incident.id)).halt
    back = await desk.set_status(incident.id, IncidentStatus.INVESTIGATING, by="alice")
    assert back.halt is None
    assert (await world.store.approval(request.id)).status is ApprovalStatus.VOIDED


@pytest.mark.parametrize("by", ["mallory", "agent:resolution", "system", "", HOSTILE, "x" * 9_999])
async def test_who_has_no_role_is_refused_and_it_is_on_the_trail(world, by):
    incident, request = await asked(world)
    desk = IncidentDesk(world.store, world.clock, world.inventory, policy=ONLY_BOB)
    before = await world.store.incident(incident.id)
    for way in (
        desk.take_over(incident.id, by=by),
        desk.cancel(incident.id, by=by, reason="x"),
        desk.rediagnose(incident.id, by=by),
    ):
        with pytest.raises(PolicyDenied, match="no role"):
            await way
    assert await world.store.incident(incident.id) == before
    assert (await world.store.approval(request.id)).status is ApprovalStatus.PENDING
    refused = [e for e in await world.store.events() if e.kind == "incident.refused"]
    assert len(refused) == 3
    assert {e.actor for e in refused} <= {"user:mallory", "user:unknown"}
    assert all(len(e.summary) < 1000 for e in refused)
    assert (await desk.take_over(incident.id, by="bob")).assignee == "bob"


@pytest.mark.parametrize("end", [IncidentStatus.RESOLVED, IncidentStatus.CLOSED])
async def test_what_is_over_cannot_be_stopped(world, desk, end):
    incident = await moved(world, await world.incident(), end)
    for way in (
        desk.take_over(incident.id, by="alice"),
        desk.cancel(incident.id, by="alice", reason="x"),
    ):
        with pytest.raises(IllegalTransition, match=f"it is {end}"):
            await way
    back = await desk.rediagnose(incident.id, by="alice")
    assert (back.status, back.reopened_count) == (IncidentStatus.INVESTIGATING, 1)


async def test_a_step_that_runs_on_in_a_resolved_incident_can_be_stopped(
    world,
    desk,
):
    incident, _ = await started(world)
    incident = await moved(world, incident, IncidentStatus.RESOLVED)
    stopped = await desk.cancel(incident.id, by="alice", reason="it still runs")
    assert (stopped.status, stopped.escalation) == (IncidentStatus.RESOLVED, None)
    assert stopped.halt


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2_001])
async def test_a_cancellation_needs_a_reason_that_can_be_shown(world, desk, reason):
    incident = await world.incident()
    with pytest.raises(InputRejected, match="reason"):
        await desk.cancel(incident.id, by="alice", reason=reason)
    if reason.strip():
        with pytest.raises(InputRejected, match="reason"):
            await desk.take_over(incident.id, by="alice", reason=reason)
    assert (await world.store.incident(incident.id)).halt is None


async def test_an_unknown_incident_is_said_to_be_unknown(desk):
    for way in (
        desk.take_over("INC-999999", by="alice"),
        desk.cancel(HOSTILE, by="alice", reason="x"),
        desk.rediagnose("", by="alice"),
        desk.look_again("nonsense", by="alice"),
    ):
        with pytest.raises(NotFound):
            await way


async def test_hands_win_against_a_busy_worker_and_against_each_other(world, desk):
    incident = await world.incident()

    async def work():
        for _ in range(4):
            read = await world.store.incident(incident.id)
            busy = read.model_copy(update={"total_alerts": read.total_alerts + 1})
            try:
                await world.store.save_incident(busy, [])
            except Conflict:
                continue

    await asyncio.gather(
        work(), desk.take_over(incident.id, by="alice"), desk.take_over(incident.id, by="bob")
    )
    stored = await world.store.incident(incident.id)
    assert stored.assignee in ("alice", "bob")
    assert stored.assignee in stored.halt
    assert (await world.events("incident.taken_over")) == ["incident.taken_over"] * 2


async def test_a_change_that_always_comes_too_late_is_given_up(
    world,
    desk,
    monkeypatch,
):
    incident = await world.incident()
    tries = []

    async def late(*given, **named):
        tries.append(named["wake_at"])
        raise Conflict("changed meanwhile")

    monkeypatch.setattr(world.store, "save_incident", late)
    with pytest.raises(Conflict):
        await desk.cancel(incident.id, by="alice", reason="x")
    assert len(tries) == CHANGE_ATTEMPTS


async def test_what_is_opened_by_hand_is_due_at_once(world, desk):
    opened = await desk.open_incident(
        title=HOSTILE,
        description="",
        severity="high",
        affected_systems=(),
        by="alice",
    )
    assert await due(world) == [opened.id]


async def test_looking_again_wakes_it_and_changes_nothing(world, desk):
    incident = await world.incident()
    assert await due(world) == []
    await desk.look_again(incident.key, by="alice")
    assert await due(world) == [incident.id]
    assert await world.store.incident(incident.id) == incident
    assert await world.events("incident.woken") == ["incident.woken"]
