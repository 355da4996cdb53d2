"""What the engine says of a workflow, from a real Temporal server, and when it is away."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity
from temporalio.worker import Worker

from it_incident_response.domain.ids import IncidentId
from it_incident_response.ports import Lease
from it_incident_response.workflow.engine.connection import connect
from it_incident_response.workflow.engine.settings import EngineSettings
from it_incident_response.workflow.engine_look import ConfiguredEngineLook
from it_incident_response.workflow.standing import EngineStatus
from tests.real.stack.parked_workflow import QUEUE, Parked
from tests.real.stack.temporal import running_temporal

DEADLINE_S = 30.0
HERE, ENDED, NOWHERE = IncidentId("here"), IncidentId("ended"), IncidentId("nowhere")


class OneLease:
    """The post of the engine, as somebody left it."""

    def __init__(self, detail="", until=datetime(2999, 1, 1, tzinfo=UTC)):
        self.found = Lease(name="engine", holder="h", until=until, token=1, detail=detail)

    async def lease(self, name):
        assert name == "engine"
        return self.found


@activity.defn(name="shout")
async def unreachable(text: str) -> str:
    raise OSError(f"no route to {text}")


@pytest.fixture
def temporal(tmp_path):
    with running_temporal(tmp_path / "temporal") as server:
        yield server


def look(settings, lease=None):
    return ConfiguredEngineLook(lease or OneLease(), settings, "engine")


async def failing(ask):
    """Return the state of the workflow once its activity has failed twice."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            state = (await ask([HERE]))[HERE]
            if state.pending and state.pending[0].attempt > 2 and state.pending[0].last_failure:
                return state
            await asyncio.sleep(0.1)


async def test_what_runs_fails_has_ended_and_never_was(temporal):
    client = await connect(temporal.settings)
    async with Worker(client, task_queue=QUEUE, workflows=[Parked], activities=[unreachable]):
        handle = await client.start_workflow(Parked.run, "web-1", id=HERE, task_queue=QUEUE)
        ended = await client.start_workflow(Parked.run, "x", id=ENDED, task_queue=QUEUE)
        await ended.terminate()
        ask = look(temporal.settings)
        found = await ask([HERE, ENDED, NOWHERE])
        assert [found[each].status for each in (HERE, ENDED, NOWHERE)] == [
            EngineStatus.RUNNING,
            EngineStatus.ENDED,
            EngineStatus.ABSENT,
        ]
        assert found[HERE].pending == ()
        assert datetime.now(UTC) - found[HERE].started_at < timedelta(minutes=5)
        await handle.signal(Parked.go, "now")
        state = await failing(ask)
    (pending,) = state.pending
    assert (pending.activity, pending.queue) == ("shout", QUEUE)
    assert "no route to web-1 now" in pending.last_failure
    assert state.run_id
    assert state.history_length > 3


async def test_the_embedded_engine_is_found_by_its_post_as_long_as_somebody_holds_it(temporal):
    embedded = EngineSettings()
    found = await look(embedded, OneLease(temporal.address))([NOWHERE])
    assert found[NOWHERE].status is EngineStatus.ABSENT
    lapsed = OneLease(temporal.address, until=datetime(2020, 1, 1, tzinfo=UTC))
    assert await look(embedded, lapsed)([NOWHERE]) == {}
    assert await look(embedded, OneLease(""))([NOWHERE]) == {}


async def test_an_engine_that_is_away_is_unreachable_soon(temporal):
    temporal.kill()
    began = asyncio.get_running_loop().time()
    found = await look(temporal.settings)([HERE, NOWHERE])
    assert {state.status for state in found.values()} == {EngineStatus.UNREACHABLE}
    assert asyncio.get_running_loop().time() - began < 10
