"""What every store promises an operator: the backlog, the locks, the inbox's age, notes once."""

import asyncio

import pytest

from it_incident_response.domain.approval import ApprovalStatus, Notice, NoticeKind
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.errors import Conflict, InputRejected, NotFound
from it_incident_response.ports.store import Store
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, WEB, after

REMINDER = Notice(kind=NoticeKind.REMINDED, number=1, at=NOW)


async def test_the_backlog_is_what_would_be_claimed_and_claims_nothing(store: Store) -> None:
    for number in range(1, 5):
        await store.create_incident(make.incident(number), [], wake_at=after(number * 10))
    assert [row.since for row in await store.work_backlog(after(25), limit=9)] == [
        after(10),
        after(20),
    ]
    assert len(await store.work_backlog(after(25), limit=1)) == 1
    assert await store.work_backlog(after(9), limit=9) == []
    (claimed,) = await store.claim_due(after(25), worker="w1", lease_s=30, limit=1)
    assert claimed not in [r.incident_id for r in await store.work_backlog(after(50), limit=9)]
    left = {row.incident_id: row for row in await store.work_backlog(after(60), limit=9)}
    assert (left[claimed].worker, left[claimed].since) == ("w1", after(55))
    assert {row.worker for row in left.values()} == {None, "w1"}


async def test_an_incident_made_by_hand_is_due_in_the_same_transaction(store: Store) -> None:
    silent = await store.create_incident(make.incident(1), [])
    due = await store.create_incident(make.incident(2), [], wake_at=NOW)
    assert [row.incident_id for row in await store.work_backlog(NOW, limit=9)] == [due.id]
    assert silent.id != due.id


async def test_locks_are_told_until_they_run_out(store: Store) -> None:
    other = Entity(EntityKind.HOST, "web-2")
    await store.lock_target(other, holder="incident a", now=NOW, until=after(10))
    token = await store.lock_target(WEB, holder="incident b", now=NOW, until=after(20))
    first, second = await store.target_locks(NOW)
    assert (first.target, second.target) == (str(WEB), str(other))
    assert (first.holder, first.until, first.token) == ("incident b", after(20), token)
    assert [lock.holder for lock in await store.target_locks(after(10))] == ["incident b"]
    assert await store.target_locks(after(20)) == []


async def test_the_age_of_the_inbox_is_that_of_the_oldest_body(store: Store) -> None:
    assert await store.inbox_since() is None
    await store.accept([("alerts", b"[]")], after(5))
    await store.accept([("alerts", b"[]")], after(9))
    assert await store.inbox_since() == after(5)


async def _asked(store: Store):
    incident = await store.create_incident(make.incident(1), [])
    plan = make.plan(incident)
    request = make.approval(plan)
    await store.add_plan(plan, request, [])
    return request


async def test_a_note_is_kept_with_its_event_and_wakes_nobody(store: Store) -> None:
    request = await _asked(store)
    noted = request.model_copy(update={"notices": (REMINDER,)})
    await store.note_on_approval(noted, [make.event("approval.reminded")], expected=request)
    assert await store.approval(request.id) == noted
    assert [event.kind for event in await store.events()] == ["approval.reminded"]
    assert await store.work_backlog(after(9_999), limit=9) == []


async def test_of_two_that_note_at_once_one_does(store: Store, second_store: Store) -> None:
    request = await _asked(store)
    noted = request.model_copy(update={"notices": (REMINDER,)})
    done = await asyncio.gather(
        *(
            each.note_on_approval(noted, [make.event()], expected=request)
            for each in (store, second_store) * 4
        ),
        return_exceptions=True,
    )
    assert sum(result is None for result in done) == 1
    assert all(result is None or isinstance(result, Conflict) for result in done)
    assert len(await store.events()) == 1


async def test_a_note_changes_nothing_else_and_decides_nothing(store: Store) -> None:
    request = await _asked(store)
    forged = request.model_copy(update={"status": ApprovalStatus.APPROVED})
    with pytest.raises(InputRejected):
        await store.note_on_approval(forged, [], expected=request)
    approved = forged.model_copy(update={"decided_by": "mallory"})
    with pytest.raises(Conflict):
        await store.note_on_approval(approved, [], expected=approved)
    missing = request.model_copy(update={"id": "missing"})
    with pytest.raises(NotFound):
        await store.note_on_approval(missing, [], expected=missing)
    assert await store.approval(request.id) == request
    rejected = request.model_copy(update={"status": ApprovalStatus.REJECTED, "decided_at": NOW})
    await store.decide(rejected, [])
    with pytest.raises(Conflict):
        await store.note_on_approval(request, [], expected=request)


async def test_a_decision_keeps_the_notes_that_its_maker_had_not_seen(store: Store) -> None:
    request = await _asked(store)
    noted = request.model_copy(update={"notices": (REMINDER,)})
    await store.note_on_approval(noted, [], expected=request)
    approved = {"status": ApprovalStatus.APPROVED, "decided_at": NOW, "decided_by": "alice"}
    await store.decide(request.model_copy(update=approved), [])
    stored = await store.approval(request.id)
    assert (stored.status, stored.notices) == (ApprovalStatus.APPROVED, (REMINDER,))
