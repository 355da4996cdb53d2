"""What every store promises of the outbox: whatever changes an incident wakes it as well."""

import asyncio

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.incident import Incident
from it_incident_response.errors import Conflict
from it_incident_response.ports.store import IngestOutcome, Store
from it_incident_response.storage.store import SqlStore
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, after


async def _incident(store: Store, number: int = 1) -> Incident:
    return await store.create_incident(make.incident(number), [])


async def _claim(store: Store, at: float, worker: str = "w1", limit: int = 10) -> list[str]:
    return list(await store.claim_due(after(at), worker=worker, lease_s=30, limit=limit))


async def _with_request(store: Store, **fields: object) -> tuple[Incident, str]:
    of = await _incident(store)
    plan = make.plan(of)
    asked = make.approval(plan, **fields)
    await store.add_plan(plan, asked, [])
    return of, asked.id


# --- saving ------------------------------------------------------------------------------------


async def test_saving_wakes_if_it_is_asked_to(store: Store) -> None:
    one = await _incident(store)
    one = await store.save_incident(one, [])
    assert await _claim(store, 9_999) == []
    await store.save_incident(one, [make.event()], wake_at=after(20))
    assert await _claim(store, 19.9) == []
    assert await _claim(store, 20) == [one.id]


async def test_a_save_that_is_refused_wakes_nobody(store: Store) -> None:
    one = await _incident(store)
    await store.save_incident(one, [])
    with pytest.raises(Conflict):
        await store.save_incident(one, [make.event()], wake_at=NOW)
    assert await _claim(store, 1) == []


# --- deciding ----------------------------------------------------------------------------------


async def test_a_decision_wakes_the_incident_when_it_is_made(store: Store) -> None:
    of, asked = await _with_request(store)
    await store.decide(make.decided(await store.approval(asked)), [make.event()])
    assert await _claim(store, 4.9) == []
    assert await _claim(store, 5) == [of.id]


async def test_a_decision_that_is_refused_wakes_nobody(store: Store) -> None:
    of, asked = await _with_request(store)
    request = await store.approval(asked)
    await store.decide(make.decided(request), [])
    assert await _claim(store, 5) == [of.id]
    await store.release(of.id, worker="w1", due_again_at=None)
    with pytest.raises(Conflict):
        await store.decide(make.decided(request, "mallory"), [])
    assert await _claim(store, 9_999) == []


async def test_requests_are_overdue_from_the_moment_they_expire(store: Store) -> None:
    ids = []
    for number, expires in enumerate((300, 100, 200, 900), start=1):
        of = await _incident(store, number)
        plan = make.plan(of)
        asked = make.approval(plan, expires_at=after(expires))
        await store.add_plan(plan, asked, [])
        ids.append(asked.id)
    assert await store.overdue_approvals(after(99.999999)) == []
    assert [one.id for one in await store.overdue_approvals(after(100))] == [ids[1]]
    overdue = await store.overdue_approvals(after(300))
    assert [one.id for one in overdue] == [ids[1], ids[2], ids[0]]
    assert all(one.status is ApprovalStatus.PENDING for one in overdue)
    await store.decide(make.decided(overdue[1]), [])
    assert [one.id for one in await store.overdue_approvals(after(300))] == [ids[1], ids[0]]


# --- waking all --------------------------------------------------------------------------------


async def test_every_open_incident_is_woken_and_none_that_ended(store: Store) -> None:
    one, two, three = [await _incident(store, n) for n in (1, 2, 3)]
    await store.save_incident(make.ended(two, NOW), [])
    await store.wake(three.id, after(5))
    assert await store.wake_open(after(10)) == 2
    assert await _claim(store, 4) == []
    assert await _claim(store, 5) == [three.id], "it was due earlier already"
    assert await _claim(store, 10) == [one.id]


async def test_an_incident_that_is_leased_is_woken_for_afterwards(store: Store) -> None:
    one = await _incident(store)
    await store.wake(one.id, NOW)
    assert await _claim(store, 0) == [one.id]
    assert await store.wake_open(after(1)) == 1
    assert await _claim(store, 2, "w2") == []
    await store.release(one.id, worker="w1", due_again_at=None)
    assert await _claim(store, 2, "w2") == [one.id]


# --- the outbox --------------------------------------------------------------------------------


async def test_no_wake_up_beside_a_release_is_lost(store: SqlStore, second_store: SqlStore) -> None:
    """The release removes the row just when the waker has found that there is one."""
    of = await _incident(store)
    for _ in range(60):
        await store.wake(of.id, NOW)
        (claimed,) = await store.claim_due(after(1), worker="d", lease_s=5, limit=1)
        await asyncio.gather(
            store.release(claimed, worker="d", due_again_at=None), second_store.wake(of.id, NOW)
        )
        assert await _claim(store, 1, "next") == [of.id], "the wake-up is lost"
        await store.release(of.id, worker="next", due_again_at=None)


async def test_a_wake_up_that_looks_older_than_the_claim_counts(store: Store) -> None:
    """Another machine's clock may be behind: what it wakes for is still to be done."""
    of = await _incident(store)
    await store.wake(of.id, NOW)
    await _claim(store, 100)
    await store.wake(of.id, after(-3600))
    await store.release(of.id, worker="w1", due_again_at=None)
    assert await _claim(store, 100, "w2") == [of.id]


async def _many(store: Store, count: int) -> None:
    async with store.ingestion(0) as ingestion:
        made = [make.incident(n) for n in range(1, count + 1)]
        await ingestion.commit(
            IngestOutcome(incidents=tuple(made), wake=tuple(one.id for one in made))
        )


async def test_ten_thousand_due_rows_are_claimed_each_once(store: SqlStore) -> None:
    await _many(store, 10_000)
    claimed: set[str] = set()
    while batch := await store.claim_due(after(1), worker="d", lease_s=99, limit=100):
        assert not claimed.intersection(batch)
        claimed.update(batch)
    assert len(claimed) == 10_000
