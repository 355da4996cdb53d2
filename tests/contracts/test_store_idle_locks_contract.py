"""What every store promises of locks left behind: given back unless something may be going on."""

import asyncio

import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.execution import StepState, lock_holder
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import TargetLocked
from it_incident_response.ports.store import Store
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, WEB, after

CHECKOUT = Entity(EntityKind.SERVICE, "checkout")


async def _plan(store: Store) -> Plan:
    return make.plan(await store.create_incident(make.incident(1), []))


async def _lock(store: Store, target: Entity, holder: str) -> None:
    await store.lock_target(target, holder=holder, now=NOW, until=after(150))


@pytest.mark.parametrize(
    ("state", "given_back"),
    [
        (None, 1),
        (StepState.FINISHED, 1),
        (StepState.FAILED, 1),
        (StepState.DRY_RUN, 1),
        (StepState.INTENDED, 0),
        (StepState.STARTED, 0),
        (StepState.IN_DOUBT, 0),
    ],
)
async def test_a_lock_stays_only_while_something_may_be_going_on(
    store: Store, state: StepState | None, given_back: int
) -> None:
    plan = await _plan(store)
    holder = lock_holder(plan.incident_id)
    await _lock(store, CHECKOUT, holder)
    if state is not None:
        row = make.execution(plan)
        await store.intend(row, [])
        done = row.model_copy(update={"state": state})
        await store.advance(done, StepState.INTENDED, [])
    assert await store.unlock_idle(plan.incident_id) == given_back
    assert len(await store.locked_targets(after(1))) == 1 - given_back
    if given_back:
        await _lock(store, CHECKOUT, "incident other")


async def test_a_busy_target_keeps_its_lock_and_an_idle_one_loses_it(store: Store) -> None:
    plan = await _plan(store)
    for target in (CHECKOUT, WEB):
        await _lock(store, target, lock_holder(plan.incident_id))
    await store.intend(make.execution(plan), [])
    assert await store.unlock_idle(plan.incident_id) == 1
    assert list(await store.locked_targets(after(1))) == ["service checkout"]


async def test_locks_of_others_stay(store: Store) -> None:
    plan = await _plan(store)
    await _lock(store, WEB, "incident of somebody else")
    assert await store.unlock_idle(plan.incident_id) == 0
    with pytest.raises(TargetLocked):
        await _lock(store, WEB, "a third")


async def test_of_a_recovery_and_a_new_step_only_one_gets_the_target(
    store: Store, second_store: Store
) -> None:
    """Whoever runs a step locks again after intending it: then the lock is there for certain."""
    plan = await _plan(store)
    holder = lock_holder(plan.incident_id)

    async def run() -> None:
        await _lock(store, CHECKOUT, holder)
        await store.intend(make.execution(plan), [])
        await _lock(store, CHECKOUT, holder)

    await asyncio.gather(run(), *(second_store.unlock_idle(plan.incident_id) for _ in range(5)))
    assert await store.locked_targets(after(1)) == {"service checkout": holder}
    assert await second_store.unlock_idle(plan.incident_id) == 0
