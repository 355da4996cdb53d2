"""A clock that was set is noticed, told, and nothing waits for the hour that it lost."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from it_incident_response.cli.work import Housekeeping
from it_incident_response.errors import StoreUnavailable
from it_incident_response.simulation import VirtualClock
from it_incident_response.storage import open_store
from it_incident_response.workflow.clock_watch import ClockWatch
from tests.contracts import store_fixtures as make
from tests.jumpy_clock import JumpyClock


@pytest.fixture
async def watched(tmp_path):
    clock = JumpyClock(VirtualClock(make.NOW))
    store = open_store(f"sqlite:///{tmp_path}/iir.db", clock=clock)
    await store.open()
    yield store, clock, ClockWatch(store, clock)
    await store.close()


async def due(store, clock):
    return await store.claim_due(clock.now(), worker="w", lease_s=30, limit=10)


async def test_what_was_due_is_not_lost_for_an_hour_when_the_clock_is_set_back(watched):
    store, clock, watch = watched
    incident = await store.create_incident(make.incident(1), [])
    await store.wake(incident.id, clock.now())
    clock.set_by(-3600)
    await clock.sleep(10)
    assert await due(store, clock) == [], "by this clock it is due in an hour"
    assert await watch.look() == pytest.approx(-3600)
    assert await due(store, clock) == [incident.id]
    (event,) = await store.events()
    assert (event.kind, event.details) == ("clock.set", {"seconds": -3600})


async def test_time_that_passes_and_small_steps_are_no_news(watched):
    store, clock, watch = watched
    await clock.sleep(7200)
    assert await watch.look() == 0
    clock.set_by(-20)
    assert await watch.look() == 0
    assert await store.events() == []


async def test_a_clock_set_forward_is_told_and_once(watched):
    store, clock, watch = watched
    clock.set_by(timedelta(hours=2).total_seconds())
    assert await watch.look() == pytest.approx(7200)
    assert await watch.look() == 0
    assert [event.kind for event in await store.events()] == ["clock.set"]


async def test_a_jump_found_while_the_database_is_away_is_not_forgotten(watched, monkeypatch):
    store, clock, watch = watched
    incident = await store.create_incident(make.incident(1), [])
    await store.wake(incident.id, clock.now())
    clock.set_by(-3600)

    async def away(at):
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "wake_open", away)
        with pytest.raises(StoreUnavailable):
            await watch.look()
    assert await watch.look() == pytest.approx(-3600)
    assert await due(store, clock) == [incident.id]


async def test_housekeeping_watches_the_clock(watched):
    store, clock, _ = watched

    async def nobody_waits():
        return []

    settings = SimpleNamespace(store=SimpleNamespace(retention=SimpleNamespace(every_s=3600.0)))
    runtime = SimpleNamespace(
        store=store,
        clock=clock,
        settings=settings,
        approvals=SimpleNamespace(expire_due=nobody_waits),
    )
    chores = Housekeeping(runtime)
    incident = await store.create_incident(make.incident(1), [])
    await store.wake(incident.id, clock.now())
    clock.set_by(-3600)
    await chores.run(clock.now())
    assert await due(store, clock) == [incident.id]
