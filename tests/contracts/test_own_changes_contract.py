"""Our own actions and what we were told, as change sources over every store."""

from it_incident_response.agents.own_actions import OwnActions, ToldChanges
from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.domain.execution import StepState
from it_incident_response.ports import ChangeSource
from it_incident_response.ports.store import Store
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, after

WINDOW = TimeWindow(start=NOW, end=after(60))


async def test_steps_that_ran_are_changes_of_ours(store: Store) -> None:
    incident, _ = await make.with_alert(store, make.incident(), make.alert())
    plan = make.plan(incident)
    done = make.execution(plan, attempt=1, id="1", started_at=after(1))
    dry = make.execution(plan, attempt=2, id="2", state=StepState.DRY_RUN)
    later = make.execution(plan, attempt=3, id="3", intended_at=after(60))
    for row in (done, dry, later):
        await store.intend(row.model_copy(update={"state": StepState.INTENDED}), [])
    ran = done.model_copy(update={"state": StepState.FINISHED, "ended_at": after(20)})
    await store.advance(ran, StepState.INTENDED, [])
    await store.advance(dry, StepState.INTENDED, [])
    ran_later = later.model_copy(update={"state": StepState.FAILED})
    await store.advance(ran_later, StepState.INTENDED, [])
    source = OwnActions(store)
    assert isinstance(source, ChangeSource)
    (change,) = await source.changes(WINDOW)
    assert (change.is_ours, change.at, change.what) == (True, after(1), "action")
    assert change.entity == done.target
    assert change.summary == "restart_service of service checkout was done"
    begun_before = TimeWindow(start=after(10), end=after(30))
    assert await source.changes(begun_before) == [change], "it ended within the window"
    assert await source.changes(TimeWindow(start=after(30), end=after(40))) == []


async def test_what_was_told_is_found(store: Store) -> None:
    told = Change(change_id="x", what="deploy", at=after(5), summary="checkout 2")
    await store.add_changes([told], NOW)
    assert await ToldChanges(store).changes(WINDOW) == [told]
