"""Killed after every single write, and taken up by another process: done once, nothing lost."""

from datetime import timedelta

import pytest

from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.workflow import direct
from tests.workflow.theatre import WHO, Crash, Theatre, approve, kinds, pending

LEASE_S = 30.0
WRITES_MAX = 60
"""Guard: a run that writes more is not the one this test knows."""


@pytest.fixture(autouse=True)
def _short_lease(monkeypatch):
    """As the background worker's: what a dead process held is free soon."""
    monkeypatch.setattr(direct, "LEASE_S", LEASE_S)


@pytest.fixture
async def open_incident(theatre):
    """A crashed service whose alerts have opened an incident that nobody has looked at."""
    stage = theatre(past_s=600.0, verification={"soak": "1s", "poll": "5s"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
    return stage, incident


@pytest.fixture
async def asked(open_incident):
    """The same, diagnosed, planned and waiting for a human."""
    stage, incident = open_incident
    async with stage.open() as runtime:
        await runtime.direct.drain()
        assert await pending(runtime, incident)
    return stage, incident


async def carry(stage: Theatre, incident, *, dies_after=None, worker="w1"):
    """Do everything that is left to do, as one process; True if it survived."""
    async with stage.open(dies_after=dies_after, worker=worker) as runtime:
        try:
            await runtime.direct.drain()
            if await pending(runtime, incident):
                await approve(runtime, incident)
            await runtime.direct.drain()
        except Crash:
            return False, stage.mortal.writes
    return True, stage.mortal.writes


async def require_healed_once(stage: Theatre, incident):
    async with stage.open() as runtime:
        found = await runtime.store.incident(incident.id)
        assert found.status is IncidentStatus.RESOLVED, found.escalation
        assert len(stage.ran) == 1, "the action ran twice, or never"
        assert stage.truth.healed_by == "restart_service"
        rows = await runtime.store.executions_of(incident.id)
        assert [row.state for row in rows] == [StepState.FINISHED]
        told = await kinds(runtime, incident)
        assert told.count("action.started") == 1
        assert told.count("incident.resolved") == 1
        assert (await runtime.store.verify_chain()).is_intact
        later = runtime.clock.now() + timedelta(minutes=5)
        assert await runtime.store.locked_targets(later) == {}, "a dead process holds the target"


async def test_killed_after_every_write_before_the_question(open_incident, tmp_path):
    stage, incident = open_incident
    for number in range(1, WRITES_MAX):
        act = stage.again(tmp_path / f"killed{number}")
        survived, writes = await carry(act, incident, dies_after=number)
        if "add_plan" in writes[:-1]:
            break
        assert not survived
        act.pass_time(LEASE_S + 15)
        assert (await carry(act, incident, worker="w2"))[0], writes
        await require_healed_once(act, incident)
    else:
        pytest.fail("no plan was ever made")
    assert number > 4


async def test_killed_after_every_write_from_the_question_on(asked, tmp_path):
    stage, incident = asked
    seen = []
    for number in range(1, WRITES_MAX):
        act = stage.again(tmp_path / f"killed{number}")
        survived, seen = await carry(act, incident, dies_after=number)
        if survived:
            break
        act.pass_time(75)
        if seen[-2:] == ["lock_target", "advance"]:
            # Begun, says the journal, and nothing shows that it happened: never run by itself.
            await require_in_doubt_then_settle(act, incident)
            continue
        assert (await carry(act, incident, worker="w2"))[0], seen
        await require_healed_once(act, incident)
    assert survived
    assert {"decide", "intend", "advance", "add_verification", "release"} <= set(seen)


async def require_in_doubt_then_settle(stage: Theatre, incident):
    assert stage.ran == []
    await carry(stage, incident, worker="w2")
    assert stage.ran == []
    async with stage.open() as runtime:
        found = await runtime.store.incident(incident.id)
        assert found.status is IncidentStatus.IDENTIFIED
        assert found.escalation
        (row,) = await runtime.store.executions_of(incident.id)
        assert row.state is StepState.IN_DOUBT
        await runtime.gate.settle(
            incident.id, row.key, took_effect=False, by=WHO, reason="it is still down"
        )
        await runtime.desk.set_status(incident.id, IncidentStatus.INVESTIGATING, by=WHO)
        stage.pass_time(60)
        await runtime.direct.drain()
        await approve(runtime, incident)
        await runtime.direct.drain()
        assert (await runtime.store.incident(incident.id)).status is IncidentStatus.RESOLVED
        assert len(stage.ran) == 1


async def test_killed_after_the_action_and_before_its_end_was_written(asked, tmp_path):
    """The world has changed and the journal says only that it was begun: looked at, not rerun."""
    stage, incident = asked
    act = stage.again(tmp_path / "killed")
    act.after_action = lambda: act.mortal.die()
    survived, _ = await carry(act, incident)
    assert not survived
    assert len(act.ran) == 1
    act.after_action = lambda: pytest.fail("it was run again")
    act.pass_time(LEASE_S + 15)
    assert (await carry(act, incident, worker="w2"))[0]
    await require_healed_once(act, incident)
    async with act.open() as runtime:
        assert "action.recovered" in await kinds(runtime, incident)


async def test_killed_while_taking_alerts_in(theatre, tmp_path):
    """What was accepted is in the inbox until its incident is in the store: nothing is lost."""
    stage = theatre(past_s=1200.0)
    body = b'[{"labels": {"alertname": "Down", "instance": "web-1", "severity": "critical"}}]'
    async with stage.open() as runtime:
        await runtime.store.accept([("alerts", body)], runtime.clock.now())
        async with runtime.store.ingestion(10) as ingestion:
            assert len(ingestion.items) == 1  # and here it dies: nothing was committed
    async with stage.open() as runtime:
        assert await runtime.store.inbox_depth() == 1
        assert len(await runtime.take_in()) == 1
        assert await runtime.take_in() == []
