"""Reminders and escalations: when each is due, that each is told once, and what is left out."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.approval import Approval, ApprovalStatus, Notice, NoticeKind
from it_incident_response.domain.ids import IncidentId
from it_incident_response.safety.reminders import (
    ApprovalNotices,
    EscalateTo,
    NoticeSettings,
    due_notices,
    is_exhausted,
    next_notice_at,
)
from tests.unit.safety.world import T0

SETTINGS = NoticeSettings(
    reminders_s=(900, 2700), escalate=(EscalateTo(after_s=1800, to="sre-lead"),)
)
REQUEST = Approval(
    id="a" * 12,
    incident_id=IncidentId("i"),
    plan_id="p",
    plan_digest="d" * 64,
    requested_at=T0,
    requested_by="agent:resolution",
    expires_at=T0 + timedelta(hours=1),
)


def minutes(count):
    return T0 + timedelta(minutes=count)


def noted(approval, now):
    found = due_notices(approval, now, SETTINGS)
    return approval.model_copy(update={"notices": (*approval.notices, *found)}), found


def kinds(notices):
    return [(notice.kind.value, notice.number, notice.to) for notice in notices]


def test_each_is_due_at_its_time_and_only_until_it_is_told():
    approval, told = noted(REQUEST, minutes(14.99))
    assert told == ()
    assert next_notice_at(approval, minutes(1), SETTINGS) == minutes(15)
    approval, told = noted(approval, minutes(15))
    assert kinds(told) == [("reminded", 1, None)]
    assert told[0].at == minutes(15)
    assert due_notices(approval, minutes(15), SETTINGS) == ()
    assert next_notice_at(approval, minutes(15), SETTINGS) == minutes(30)
    approval, told = noted(approval, minutes(31))
    assert kinds(told) == [("escalated", 1, "sre-lead")]
    assert not is_exhausted(approval, minutes(31), SETTINGS)
    approval, told = noted(approval, minutes(45))
    assert kinds(told) == [("reminded", 2, None)]
    assert next_notice_at(approval, minutes(45), SETTINGS) is None
    assert is_exhausted(approval, minutes(46), SETTINGS)


def test_after_a_long_absence_people_are_reminded_once_and_everybody_is_escalated_to():
    approval, told = noted(REQUEST, minutes(50))
    assert kinds(told) == [("escalated", 1, "sre-lead"), ("reminded", 2, None)]
    assert due_notices(approval, minutes(59), SETTINGS) == ()


@pytest.mark.parametrize("status", [s for s in ApprovalStatus if s is not ApprovalStatus.PENDING])
def test_nobody_is_told_of_what_is_decided(status):
    decided = REQUEST.model_copy(update={"status": status})
    assert due_notices(decided, minutes(50), SETTINGS) == ()
    assert next_notice_at(decided, minutes(50), SETTINGS) is None
    assert not is_exhausted(decided, minutes(50), SETTINGS)


def test_nobody_is_told_of_what_is_denied_already():
    assert due_notices(REQUEST, minutes(60), SETTINGS) == ()
    late = NoticeSettings(reminders_s=(7200,))
    assert next_notice_at(REQUEST, minutes(1), late) is None


def test_without_reminders_nothing_is_due_and_nothing_is_spent():
    none = NoticeSettings()
    assert due_notices(REQUEST, minutes(50), none) == ()
    assert not is_exhausted(REQUEST, minutes(50), none)


@given(
    reminders=st.lists(st.integers(1, 3599), unique=True, max_size=6).map(sorted),
    escalations=st.lists(st.integers(1, 3599), unique=True, max_size=6).map(sorted),
    looks=st.lists(st.integers(0, 4000), max_size=12).map(sorted),
)
def test_whenever_anybody_looks_nothing_is_told_twice_or_early(reminders, escalations, looks):
    settings = NoticeSettings(
        reminders_s=tuple(reminders),
        escalate=tuple(EscalateTo(after_s=s, to=f"p{s}") for s in escalations),
    )
    approval = REQUEST
    for second in looks:
        now = T0 + timedelta(seconds=second)
        found = due_notices(approval, now, settings)
        approval = approval.model_copy(update={"notices": (*approval.notices, *found)})
        following = next_notice_at(approval, now, settings)
        assert following is None or following > now
        assert due_notices(approval, now, settings) == ()
    told = [(notice.kind, notice.number) for notice in approval.notices]
    assert len(told) == len(set(told))
    last = max((s for s in looks if s < 3600), default=-1)
    names = {notice.to for notice in approval.notices if notice.kind is NoticeKind.ESCALATED}
    assert names == {f"p{s}" for s in escalations if s <= last}
    for notice in approval.notices:
        times = reminders if notice.kind is NoticeKind.REMINDED else escalations
        assert notice.at >= T0 + timedelta(seconds=times[notice.number - 1])


async def asked(world):
    plan = await world.plan()
    return await world.approvals.request(plan, by="agent:resolution")


async def test_what_is_due_is_on_the_trail_once_though_eight_workers_look(world):
    request = await asked(world)
    world.clock.advance(minutes=50)
    notices = [ApprovalNotices(world.store, SETTINGS) for _ in range(8)]
    found = await asyncio.gather(
        *(each.send_due(request.incident_id, world.clock.now()) for each in notices)
    )
    assert set(found) == {request.expires_at}
    assert sorted(await world.events("approval.")) == [
        "approval.escalated",
        "approval.reminded",
        "approval.requested",
    ]
    stored = await world.store.approval(request.id)
    assert len(stored.notices) == 2
    (event,) = [e for e in await world.store.events() if e.kind == "approval.escalated"]
    assert event.details["to"] == "sre-lead"
    assert "sre-lead" in event.summary
    assert (await world.store.verify_chain()).is_intact


async def test_it_says_when_to_look_next(world):
    request = await asked(world)
    notices = ApprovalNotices(world.store, SETTINGS)
    expected = [(0, 15), (15, 30), (30, 45), (45, 60), (59, 60)]
    for at, following in expected:
        now = request.requested_at + timedelta(minutes=at)
        found = await notices.send_due(request.incident_id, now)
        assert found == request.requested_at + timedelta(minutes=following)
    await world.approvals.reject(request.id, "alice", "cli")
    assert await notices.send_due(request.incident_id, world.clock.now()) is None


async def test_a_decision_in_the_same_moment_is_no_error_and_tells_nobody(world, monkeypatch):
    request = await asked(world)
    real = world.store.note_on_approval

    async def decided_first(*given, **named):
        await world.approvals.approve(request.id, "alice", "cli")
        await real(*given, **named)

    monkeypatch.setattr(world.store, "note_on_approval", decided_first)
    world.clock.advance(minutes=20)
    notices = ApprovalNotices(world.store, SETTINGS)
    assert await notices.send_due(request.incident_id, world.clock.now()) is None
    assert "approval.reminded" not in await world.events("approval.")


async def test_a_reminder_does_not_unsettle_an_approval(world):
    request = await asked(world)
    world.clock.advance(minutes=20)
    await ApprovalNotices(world.store, SETTINGS).send_due(request.incident_id, world.clock.now())
    plan = await world.store.plan(request.plan_id)
    await world.approvals.approve(request.id, "alice", "cli", plan_digest=plan.digest)
    granted = await world.approvals.granted_for(plan)
    assert [notice.kind for notice in granted.notices] == [NoticeKind.REMINDED]
    assert isinstance(granted.notices[0], Notice)
