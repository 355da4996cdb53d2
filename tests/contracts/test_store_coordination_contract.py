"""What every store promises: work by lease, decisions once, steps once, locks with tokens."""

import asyncio

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import Conflict, NotFound, TargetLocked
from it_incident_response.ports.store import Store
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, WEB, after

# --- work queue --------------------------------------------------------------------------------


async def _incidents(store: Store, count: int) -> list[Incident]:
    return [await store.create_incident(make.incident(n), []) for n in range(1, count + 1)]


async def _claim(store: Store, at: float, worker: str = "w1", limit: int = 10) -> list[str]:
    return list(await store.claim_due(after(at), worker=worker, lease_s=30, limit=limit))


async def test_the_longest_waiting_is_claimed_first_and_once(store: Store) -> None:
    one, two, three = await _incidents(store, 3)
    await store.wake(one.id, after(20))
    await store.wake(two.id, after(10))
    await store.wake(three.id, after(99))
    assert await _claim(store, 5) == []
    assert await _claim(store, 50, limit=1) == [two.id]
    assert await _claim(store, 50, "w2") == [one.id]
    assert await _claim(store, 50, "w3") == []


async def test_waking_makes_due_earlier_never_later(store: Store) -> None:
    (one,) = await _incidents(store, 1)
    for at in (50, 20, 70):
        await store.wake(one.id, after(at))
    assert await _claim(store, 19) == []
    assert await _claim(store, 20) == [one.id]


async def test_waking_what_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(Conflict):
        await store.wake(make.incident(1).id, NOW)


async def test_the_lease_of_a_dead_worker_runs_out(store: Store) -> None:
    (one,) = await _incidents(store, 1)
    await store.wake(one.id, NOW)
    assert await _claim(store, 0, "dead") == [one.id]
    assert await store.renew(one.id, worker="dead", until=after(60))
    assert await _claim(store, 59, "w2") == []
    assert await _claim(store, 60, "w2") == [one.id]
    assert not await store.renew(one.id, worker="dead", until=after(999))
    await store.release(one.id, worker="dead", due_again_at=after(61))
    assert await _claim(store, 70, "w3") == [], "the dead worker's release must not count"
    assert await store.renew(one.id, worker="w2", until=after(90))


async def test_a_released_incident_is_due_when_it_was_said(store: Store) -> None:
    one, two = await _incidents(store, 2)
    for each in (one, two):
        await store.wake(each.id, NOW)
    await _claim(store, 0)
    await store.release(one.id, worker="w1", due_again_at=after(40))
    await store.release(two.id, worker="w1", due_again_at=None)
    assert await _claim(store, 39) == []
    assert await _claim(store, 40) == [one.id]
    assert await _claim(store, 9_999, "w2") == [one.id], "only the lease that ran out"


@pytest.mark.parametrize(("again", "due"), [(None, 10), (5, 5), (50, 10)])
async def test_a_wake_up_during_the_lease_is_not_lost(
    store: Store, again: float | None, due: float
) -> None:
    (one,) = await _incidents(store, 1)
    await store.wake(one.id, NOW)
    await _claim(store, 0)
    await store.wake(one.id, after(10))
    assert await _claim(store, 15, "w2") == [], "it is leased"
    again_at = None if again is None else after(again)
    await store.release(one.id, worker="w1", due_again_at=again_at)
    assert await _claim(store, due - 0.001, "w2") == []
    assert await _claim(store, due, "w2") == [one.id]


async def test_a_later_wake_up_survives_the_death_of_the_worker(store: Store) -> None:
    (one,) = await _incidents(store, 1)
    await store.wake(one.id, NOW)
    await _claim(store, 0, "dead")
    await store.wake(one.id, after(600))
    assert await _claim(store, 30, "w2") == [one.id]
    await store.release(one.id, worker="w2", due_again_at=None)
    assert await _claim(store, 599, "w3") == []
    assert await _claim(store, 600, "w3") == [one.id]


async def test_claimers_never_share(store: Store, second_store: Store) -> None:
    stored = await _incidents(store, 30)
    for each in stored:
        await store.wake(each.id, NOW)
    claims = await asyncio.gather(
        *(_claim((store, second_store)[n % 2], 1, f"w{n}", limit=7) for n in range(10))
    )
    claimed = [incident for claim in claims for incident in claim]
    assert len(claimed) == len(set(claimed))
    rest = await _claim(store, 1, "last", limit=100)
    assert sorted(claimed + rest) == sorted(each.id for each in stored)


# --- approvals ---------------------------------------------------------------------------------


async def _plan(store: Store) -> Plan:
    of = await store.create_incident(make.incident(1), [])
    return make.plan(of)


async def test_plans_and_requests_come_back(store: Store) -> None:
    plan = await _plan(store)
    request = make.approval(plan)
    await store.add_plan(plan, request, [make.event("plan.made")])
    automatic = make.plan(await store.incident(plan.incident_id), needs_approval=False)
    await store.add_plan(automatic, None, [])

    assert await store.plan(plan.id) == plan
    assert (await store.plan(plan.id)).digest == plan.digest
    assert await store.plans_of(plan.incident_id) == [plan, automatic]
    assert (await store.approval(request.id)).plan_id == plan.id
    for absent in ("nothing", "\0", "%", "a" * 8):
        with pytest.raises(NotFound):
            await store.plan(absent)
        with pytest.raises(NotFound):
            await store.approval(absent)


async def test_a_new_plan_voids_the_pending_request(store: Store) -> None:
    first = await _plan(store)
    asked = make.approval(first)
    await store.add_plan(first, asked, [])
    second = make.plan(await store.incident(first.incident_id), made_at=after(30))
    await store.add_plan(second, make.approval(second), [])

    voided = await store.approval(asked.id)
    assert (voided.status, voided.decided_at) == (ApprovalStatus.VOIDED, after(30))
    with pytest.raises(Conflict, match="voided"):
        await store.decide(make.decided(asked), [make.event()])
    assert await store.events() == []


async def test_a_decision_stays_when_a_new_plan_comes(store: Store) -> None:
    first = await _plan(store)
    asked = make.approval(first)
    await store.add_plan(first, asked, [])
    await store.decide(make.decided(asked), [])
    await store.add_plan(make.plan(await store.incident(first.incident_id)), None, [])
    assert (await store.approval(asked.id)).status is ApprovalStatus.APPROVED


async def test_requests_are_listed_newest_first(store: Store) -> None:
    plan = await _plan(store)
    requests = [make.approval(plan) for _ in range(3)]
    for request in requests:
        await store.add_plan(make.plan(await store.incident(plan.incident_id)), request, [])
    pending = await store.approvals(status=ApprovalStatus.PENDING)
    assert [one.id for one in pending] == [requests[2].id]
    every = await store.approvals(incident_id=plan.incident_id)
    assert [one.id for one in every] == [one.id for one in reversed(requests)]
    assert await store.approvals(incident_id=make.incident(9).id) == []


async def test_a_request_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    plan = await _plan(store)
    asked = make.approval(plan)
    twin = make.approval(plan, id=asked.id[:-1] + ("0" if asked.id[-1] != "0" else "1"))
    await store.add_plan(plan, asked, [])
    assert await store.approval(asked.id[:8].upper()) == asked
    await store.add_plan(make.plan(await store.incident(plan.incident_id)), twin, [])
    with pytest.raises(NotFound, match="several"):
        await store.approval(asked.id[:30])
    with pytest.raises(NotFound):
        await store.approval(asked.id[:7])


async def test_of_twenty_deciders_exactly_one_wins(store: Store, second_store: Store) -> None:
    plan = await _plan(store)
    asked = make.approval(plan)
    await store.add_plan(plan, asked, [])
    outcomes = await asyncio.gather(
        *(
            (store, second_store)[n % 2].decide(
                make.decided(asked, f"user-{n}"), [make.event("approval.approved", summary=str(n))]
            )
            for n in range(20)
        ),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    losers = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(losers) == 19
    winner = (await store.approval(asked.id)).decided_by
    assert all(f"approved already by {winner}" in str(loser) for loser in losers)
    (recorded,) = await store.events()
    assert f"user-{recorded.summary}" == winner


async def test_only_what_was_approved_can_be_revoked(store: Store) -> None:
    plan = await _plan(store)
    asked = make.approval(plan)
    await store.add_plan(plan, asked, [])
    revoked = make.decided(asked, status=ApprovalStatus.VOIDED, reason="changed my mind")
    with pytest.raises(Conflict, match="pending"):
        await store.decide(revoked, [], expected=ApprovalStatus.APPROVED)
    await store.decide(make.decided(asked), [])
    await store.decide(revoked, [], expected=ApprovalStatus.APPROVED)
    assert await store.approval(asked.id) == revoked


@pytest.mark.parametrize("changed", ["plan_id", "plan_digest"])
async def test_a_decision_cannot_be_on_another_plan(store: Store, changed: str) -> None:
    plan = await _plan(store)
    asked = make.approval(plan)
    await store.add_plan(plan, asked, [])
    with pytest.raises(Conflict, match="not on the plan"):
        await store.decide(make.decided(asked, **{changed: "something else"}), [])
    assert await store.approval(asked.id) == asked


async def test_deciding_on_nothing_is_not_found(store: Store) -> None:
    plan = await _plan(store)
    with pytest.raises(NotFound):
        await store.decide(make.decided(make.approval(plan)), [])


# --- journal -----------------------------------------------------------------------------------


async def test_a_step_is_intended_once(store: Store, second_store: Store) -> None:
    plan = await _plan(store)
    attempts = [
        (store, second_store)[n % 2].intend(make.execution(plan), [make.event()]) for n in range(8)
    ]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7
    assert len(await store.executions_of(plan.incident_id)) == 1
    assert len(await store.events()) == 1


async def test_a_step_advances_once(store: Store, second_store: Store) -> None:
    plan = await _plan(store)
    intended = make.execution(plan)
    await store.intend(intended, [])
    started = intended.model_copy(update={"state": StepState.STARTED, "started_at": after(1)})
    outcomes = await asyncio.gather(
        *(
            (store, second_store)[n % 2].advance(started, StepState.INTENDED, [make.event()])
            for n in range(8)
        ),
        return_exceptions=True,
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all("started by now" in str(o) for o in outcomes if isinstance(o, Conflict))
    assert await store.executions_of(plan.incident_id) == [started]
    assert len(await store.events()) == 1


async def test_a_step_that_was_never_intended_cannot_advance(store: Store) -> None:
    plan = await _plan(store)
    with pytest.raises(Conflict, match="not in the journal"):
        await store.advance(make.execution(plan), StepState.INTENDED, [])


async def test_steps_are_found_by_state_and_time(store: Store) -> None:
    plan = await _plan(store)
    rows = [make.execution(plan, attempt=n, intended_at=after(n)) for n in (1, 2, 3)]
    for row in rows:
        await store.intend(row, [])
    rows[0] = rows[0].model_copy(update={"state": StepState.FINISHED})
    await store.advance(rows[0], StepState.INTENDED, [])

    assert await store.executions() == rows
    assert await store.executions(states=[StepState.FINISHED, StepState.FAILED]) == rows[:1]
    assert await store.executions(since=after(1)) == rows[1:]


async def test_verifications_come_back(store: Store) -> None:
    plan = await _plan(store)
    made = [make.verification(plan, reason=f"number {n}") for n in range(3)]
    for one in made:
        await store.add_verification(one, [make.event("verification.ended")])
    assert await store.verifications_of(plan.incident_id) == made
    assert len(await store.events()) == 3


# --- locks -------------------------------------------------------------------------------------


async def test_a_target_has_one_holder(store: Store) -> None:
    await store.lock_target(WEB, holder="INC-000001", now=NOW, until=after(60))
    with pytest.raises(TargetLocked, match="INC-000001"):
        await store.lock_target(WEB, holder="INC-000002", now=after(59), until=after(99))
    await store.unlock_target(WEB, holder="INC-000002")
    assert await store.locked_targets(after(1)) == {"host web-1": "INC-000001"}
    await store.unlock_target(WEB, holder="INC-000001")
    await store.unlock_target(WEB, holder="INC-000001")
    assert await store.locked_targets(after(1)) == {}


async def test_tokens_only_ever_rise(store: Store, second_store: Store) -> None:
    other = Entity(EntityKind.SERVICE, "checkout")
    tokens = [await store.lock_target(WEB, holder="a", now=NOW, until=after(60))]
    tokens.append(await store.lock_target(WEB, holder="a", now=NOW, until=after(90)))
    tokens.append(await second_store.lock_target(other, holder="b", now=NOW, until=after(60)))
    await store.unlock_target(WEB, holder="a")
    tokens.append(await second_store.lock_target(WEB, holder="b", now=NOW, until=after(60)))
    assert tokens == sorted(set(tokens))


async def test_a_lock_that_ran_out_is_free(store: Store) -> None:
    first = await store.lock_target(WEB, holder="dead", now=NOW, until=after(60))
    assert await store.locked_targets(after(60)) == {}
    assert await store.lock_target(WEB, holder="b", now=after(60), until=after(99)) > first


async def test_of_many_lockers_one_wins(store: Store, second_store: Store) -> None:
    outcomes = await asyncio.gather(
        *(
            (store, second_store)[n % 2].lock_target(WEB, holder=f"h{n}", now=NOW, until=after(60))
            for n in range(12)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, TargetLocked) for outcome in outcomes) == 11
