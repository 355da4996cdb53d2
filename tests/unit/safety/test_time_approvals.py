"""Approvals under a clock that is set: nothing revives, nothing is denied for ever."""

from datetime import timedelta
from typing import Any

import pytest

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.ids import IncidentId
from it_incident_response.errors import ApprovalRequired, Conflict
from it_incident_response.safety.lateness import MEMORY_S, DenyingClock, shown_since
from tests.jumpy_clock import JumpyClock
from tests.unit.safety.world import T0, FakeClock, World


async def asked(world: World) -> tuple[Any, Approval]:
    plan = await world.plan("web-1")
    return plan, await world.approvals.request(plan, by="agent:resolution")


async def status(world: World, request: Approval) -> ApprovalStatus:
    return (await world.store.approval(request.id)).status


async def note(world: World, incident_id: IncidentId) -> None:
    """Something else happens to the incident, now."""
    happened = AuditEvent(
        at=world.clock.now(),
        actor="agent:detection",
        kind="incident.alerts_joined",
        incident_id=incident_id,
        summary="1 alerts joined",
    )
    await world.store.append([happened])


async def test_a_request_that_nobody_marked_as_expired_stays_denied_after_a_restart(
    world: World,
) -> None:
    """Its time was over, as the trail shows; all died; the clock was set back; one started."""
    _, request = await asked(world)
    world.clock.advance(minutes=61)
    await note(world, request.incident_id)
    world.clock.advance(minutes=-31)
    with pytest.raises(Conflict, match="expired at"):
        await world.approvals.approve(request.id, "alice", "cli")
    assert await status(world, request) is ApprovalStatus.EXPIRED


async def test_an_approval_too_old_to_act_on_stays_so_after_a_restart(world: World) -> None:
    plan = await world.approved("web-1")
    world.clock.advance(minutes=61)
    await note(world, plan.incident_id)
    world.clock.advance(minutes=-31)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await world.approvals.granted_for(plan)
    assert world.executor.executed == []


@pytest.mark.parametrize("hours", [1.1, -1])
async def test_what_was_refused_once_for_its_age_is_refused_for_good(
    world: World, hours: float
) -> None:
    """Whatever the clock, and whichever process, says later."""
    plan = await world.approved("web-1")
    world.clock.advance(hours=hours)
    with pytest.raises(ApprovalRequired):
        await world.gate.run_step(plan, plan.steps[0])
    world.clock.moment = T0 + timedelta(minutes=5)
    with pytest.raises(ApprovalRequired, match="voided"):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []


async def test_a_request_from_a_wrong_future_is_denied_and_can_be_made_anew(world: World) -> None:
    """Asked while the clock was a year ahead: nobody has to wait a year for an answer."""
    world.clock.advance(days=365)
    plan, request = await asked(world)
    world.clock.advance(days=-365)
    with pytest.raises(Conflict, match="planned again"):
        await world.approvals.approve(request.id, "alice", "cli")
    assert await status(world, request) is ApprovalStatus.EXPIRED
    incident = await world.store.incident(plan.incident_id)
    again = await world.approved("web-1", incident=incident)
    assert await world.approvals.granted_for(again)


@pytest.mark.parametrize("minutes", [-9, 9])
async def test_clocks_minutes_apart_do_not_stand_in_the_way(world: World, minutes: int) -> None:
    """Asked on one machine, approved on a second, acted on by the first."""
    plan, request = await asked(world)
    world.clock.advance(minutes=minutes)
    await world.approvals.approve(request.id, "alice", "cli", plan_digest=plan.digest)
    world.clock.advance(minutes=-minutes)
    assert (await world.approvals.granted_for(plan)).id == request.id


async def test_a_clock_ahead_for_a_moment_poisons_no_later_request(world: World) -> None:
    """The process saw a time a year ahead; what is asked later expires in an hour all the same."""
    world.clock = JumpyClock(FakeClock())  # type: ignore[assignment]
    clock: Any = world.clock
    manager = world.approvals
    clock.set_by(365 * 86400)
    assert await manager.expire_due() == []
    clock.set_by(-365 * 86400)
    plan = await world.plan("web-1")
    request = await manager.request(plan, by="agent:resolution")
    assert request.expires_at == T0 + timedelta(hours=1)
    await clock.sleep(MEMORY_S + 1)
    assert (await manager.approve(request.id, "alice", "cli")).decided_at == clock.now()
    assert await manager.granted_for(plan)
    await clock.sleep(3600)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await manager.granted_for(plan)


async def test_housekeeping_denies_what_was_over_just_before_the_clock_was_set_back(
    world: World,
) -> None:
    world.clock = JumpyClock(FakeClock())  # type: ignore[assignment]
    clock: Any = world.clock
    _, request = await asked(world)
    manager = world.approvals
    await clock.sleep(3601)
    with pytest.raises(Conflict, match="expired"):
        await _looked_at_then_set_back(manager, request, clock)
    assert await status(world, request) is ApprovalStatus.EXPIRED


async def _looked_at_then_set_back(manager: Any, request: Approval, clock: Any) -> None:
    manager._denying.now()
    clock.set_by(-3000)
    await clock.sleep(10)
    await manager.approve(request.id, "alice", "cli")


def test_the_denying_clock_forgets_a_wrong_time_within_a_minute() -> None:
    inner = FakeClock()
    clock = JumpyClock(inner)
    denying = DenyingClock(clock)
    assert denying.now() == T0
    clock.set_by(7200)
    assert denying.now() == T0 + timedelta(hours=2)
    clock.set_by(-7200)
    inner.advance(seconds=MEMORY_S)
    assert denying.now() == T0 + timedelta(hours=2)
    inner.advance(seconds=1)
    assert denying.now() == inner.moment


async def test_what_was_written_before_the_request_says_nothing_about_its_age(
    world: World,
) -> None:
    incident = await world.incident()
    world.clock.advance(hours=5)
    await note(world, incident.id)
    world.clock.advance(hours=-5)
    plan = await world.plan("web-1", incident=incident)
    request = await world.approvals.request(plan, by="agent:resolution")
    trail = await world.store.events(incident_id=incident.id)
    assert shown_since(request, trail) == T0
    assert await world.approvals.approve(request.id, "alice", "cli")
