"""The store keeps the order in which things were stored, whatever the clock said then."""

from datetime import timedelta

import pytest

from it_incident_response.domain.execution import StepState, lock_holder
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.errors import TargetLocked
from it_incident_response.ports import IncidentFilter
from it_incident_response.storage.store import SqlStore
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, after

JUMPS_S = (0, 3600, -3600, -7200, 7200, 60)
"""What the clock shows, one after the other: set back and forward again."""


async def _incidents(store: SqlStore) -> list[str]:
    made = []
    for number, jump_s in enumerate(JUMPS_S, 1):
        draft = make.incident(number, opened_at=after(jump_s))
        made.append((await store.create_incident(draft, [])).key)
    return made


async def test_incidents_are_listed_in_the_order_they_were_opened(store: SqlStore) -> None:
    made = await _incidents(store)
    listed = await store.incidents(IncidentFilter())
    assert [one.key for one in listed] == made[::-1]


async def test_paging_misses_none_and_shows_none_twice(store: SqlStore) -> None:
    made = await _incidents(store)
    seen: list[str] = []
    before: IncidentId | None = None
    while page := await store.incidents(IncidentFilter(limit=2, before=before)):
        seen += [one.key for one in page]
        before = page[-1].id
    assert seen == made[::-1]


async def test_what_belongs_to_an_incident_is_in_the_order_it_was_stored(store: SqlStore) -> None:
    incident = await store.create_incident(make.incident(1), [])
    diagnoses, plans, requests, rows = [], [], [], []
    for number, jump_s in enumerate(JUMPS_S, 1):
        at = after(jump_s)
        diagnosis = make.diagnosis(incident, id=new_id(at), made_at=at)
        plan = make.plan(incident, id=new_id(at), made_at=at)
        request = make.approval(plan, id=new_id(at), requested_at=at)
        row = make.execution(plan, id=new_id(at), attempt=number, intended_at=at)
        await store.add_diagnosis(diagnosis, [make.event(f"test.number_{number}", at=at)])
        await store.add_plan(plan, request, [])
        await store.intend(row, [])
        diagnoses.append(diagnosis.id)
        plans.append(plan.id)
        requests.append(request.id)
        rows.append(row.id)
    assert [d.id for d in await store.diagnoses_of(incident.id)] == diagnoses
    assert [p.id for p in await store.plans_of(incident.id)] == plans
    assert [a.id for a in await store.approvals(incident_id=incident.id)] == requests[::-1]
    assert [e.id for e in await store.executions_of(incident.id)] == rows
    told = [event.kind for event in await store.events()]
    assert told == [f"test.number_{n}" for n in range(1, len(JUMPS_S) + 1)]
    assert (await store.verify_chain()).is_intact


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=400)])
async def test_a_clock_set_forward_does_not_free_a_target_that_is_acted_on(
    store: SqlStore, ahead: timedelta
) -> None:
    """The lock seems to be over; the journal knows that the action is not."""
    first = await store.create_incident(make.incident(1), [])
    plan = make.plan(first)
    row = make.execution(plan)
    await store.add_plan(plan, None, [])
    mine, theirs = lock_holder(first.id), lock_holder(IncidentId("other"))
    await store.lock_target(row.target, holder=mine, now=NOW, until=after(90))
    await store.intend(row, [])
    started = row.model_copy(update={"state": StepState.STARTED})
    await store.advance(started, StepState.INTENDED, [])

    later = NOW + ahead
    with pytest.raises(TargetLocked, match=f"acted on by {mine}"):
        await store.lock_target(row.target, holder=theirs, now=later, until=later)
    await store.lock_target(row.target, holder=mine, now=later, until=later)

    await store.advance(row.model_copy(update={"state": StepState.FINISHED}), StepState.STARTED, [])
    await store.lock_target(row.target, holder=theirs, now=later, until=later)
