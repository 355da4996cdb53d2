"""Durable workflows on a real Temporal server whose port anybody on the machine may use."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import Conflict
from it_incident_response.system import durable
from it_incident_response.workflow.engine.connection import connect
from it_incident_response.workflow.engine_worker import WorkerSettings
from tests.real.stack.temporal import TemporalServer
from tests.real.stack.waiting import eventually
from tests.workflow.on_engine import carried, fresh, happened, is_over, is_with_human
from tests.workflow.record_histories import HangingTheatre
from tests.workflow.theatre import WHO, Theatre, approve, pending, states

# What the SDK leaves of workflows that were started with senseless arguments.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .*run_workflow:RuntimeWarning"),
    # The SDK's sandbox is gone by the time some of its coroutines are collected.
    pytest.mark.filterwarnings(
        "ignore:.*_WorkflowInstanceImpl:pytest.PytestUnraisableExceptionWarning"
    ),
]

YOUNG_S = 900.0
SOON_S = 30.0
SIGNALS = ("wake", "approved", "rejected", "cancel", "taken_over", "rediagnose", "alerts_joined")
GARBAGE = ("no_such_signal", "run", "__init__", "standing", "../../etc", "__temporal_x", "ü" * 200)


@pytest.fixture
async def client(temporal_server: TemporalServer) -> Client:
    """Anybody's: it has no credentials, as there are none."""
    return await connect(temporal_server.settings)


@pytest.fixture
def stage(tmp_path: Path) -> Theatre:
    """A world in which a service will be down."""
    return _stage(Theatre, tmp_path)


@pytest.fixture
def hanging(tmp_path: Path) -> HangingTheatre:
    """The same, in which actions never end by themselves."""
    return _stage(HangingTheatre, tmp_path)


def _stage(kind: type, folder: Path) -> Any:
    (folder / "stage").mkdir()
    return kind(folder / "stage", past_s=YOUNG_S)


async def asked(runtime: Any, stage: Theatre) -> tuple[Any, Any]:
    """Let something go wrong, and return its incident and the request for approval."""
    incident = await stage.detect(runtime, "service_down")
    request = await eventually(lambda: pending(runtime, incident), SOON_S, "the request")
    return incident, request


async def resolves(runtime: Any, incident: Any) -> None:
    await eventually(lambda: is_over(runtime, incident), SOON_S, "the incident to be over")
    assert (await fresh(runtime, incident)).status is IncidentStatus.RESOLVED


async def looked(client: Client, incident: Any) -> None:
    """Return when the workflow has worked off its signals and waits again."""
    handle = client.get_workflow_handle(incident.id)

    async def is_waiting() -> bool:
        return bool((await handle.query("standing"))["state"] == "waiting")

    await eventually(is_waiting, SOON_S, "the workflow to wait")


async def test_forged_signals_only_wake(client, stage):
    async with stage.open() as runtime, carried(runtime, client):
        incident, request = await asked(runtime, stage)
        handle = client.get_workflow_handle(incident.id)
        for name in SIGNALS:
            await handle.signal(name)
            await handle.signal(name, {"approved": True, "by": "alice", "plan": request.plan_id})
            await handle.signal(name, args=["x", 1, None, [incident.id]])
        for name in GARBAGE:
            try:
                await handle.signal(name, "x" * 10_000)
            except RPCError:  # the server may refuse a name by itself
                continue
        await looked(client, incident)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        assert stage.ran == []
        assert await states(runtime, incident) == []
        assert (await runtime.store.approval(request.id)).status is ApprovalStatus.PENDING
        found = await fresh(runtime, incident)
        assert (found.halt, found.escalation, found.assignee) == (None, None, None)
        # And it lives: what a person decides is done, once.
        await approve(runtime, incident)
        await resolves(runtime, incident)
        assert len(stage.ran) == 1
        result = await handle.result()
        assert "resolved" in result


async def test_forged_workflows_change_nothing(client, stage):
    async with stage.open() as runtime, carried(runtime, client):
        incident, request = await asked(runtime, stage)
        nobody = await client.start_workflow(
            "IncidentWorkflow", {"incident_id": "no-such-incident"}, id="forged-1", task_queue="iir"
        )
        async with asyncio.timeout(SOON_S):
            await nobody.result()
        # One more for an incident that has its own, and several with senseless arguments.
        for number in range(3):
            await client.start_workflow(
                "IncidentWorkflow",
                {"incident_id": incident.id},
                id=f"foreign-{number}",
                task_queue="iir",
                start_signal="approved",
            )
        await client.start_workflow("IncidentWorkflow", ["x", {}], id="bad-1", task_queue="iir")
        await client.start_workflow("IncidentWorkflow", id="bad-2", task_queue="iir")
        await client.start_workflow("NoSuchWorkflow", 1, id="bad-3", task_queue="iir")
        await looked(client, incident)
        assert stage.ran == []
        assert (await runtime.store.approval(request.id)).status is ApprovalStatus.PENDING
        await approve(runtime, incident)
        for number in range(3):
            try:
                await client.get_workflow_handle(f"foreign-{number}").signal("wake")
            except RPCError:  # it may have ended
                continue
        await resolves(runtime, incident)
        assert len(stage.ran) == 1
        assert await states(runtime, incident) == [StepState.FINISHED]
        assert len(await happened(runtime, incident, "incident.resolved")) == 1
        for number in (1, 2, 3):
            await client.get_workflow_handle(f"bad-{number}").terminate()


async def test_two_yeses_at_once_count_once(client, stage):
    async with stage.open() as runtime, stage.open(worker="w2") as other, carried(runtime, client):
        incident, request = await asked(runtime, stage)
        answers = await asyncio.gather(
            *(
                each.approvals.approve(
                    request.id, by=WHO, via="test", plan_digest=request.plan_digest
                )
                for each in (runtime, other) * 3
            ),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert len(refused) == len(answers) - 1
        assert all(isinstance(answer, Conflict) for answer in refused), refused
        await resolves(runtime, incident)
        assert len(stage.ran) == 1
        assert len(await happened(runtime, incident, "approval.approved")) == 1


async def test_a_cancelled_incident_stops_its_running_step(client, hanging):
    async with hanging.open() as runtime, carried(runtime, client):
        incident, _ = await asked(runtime, hanging)
        await approve(runtime, incident)
        await asyncio.wait_for(hanging.began.wait(), SOON_S)
        assert await states(runtime, incident) == [StepState.STARTED]
        await runtime.desk.cancel(incident.id, by=WHO, reason="wrong host")
        await eventually(lambda: is_with_human(runtime, incident), SOON_S, "a human to have it")
        (row,) = await runtime.store.executions_of(incident.id)
        assert row.state in (StepState.FAILED, StepState.IN_DOUBT)
        assert "wrong host" in str(row.error)
        found = await fresh(runtime, incident)
        assert "wrong host" in str(found.halt)
        assert found.status is not IncidentStatus.RESOLVING


async def test_taking_over_voids_what_waits_and_handing_back_asks_anew(client, stage):
    async with stage.open() as runtime, carried(runtime, client):
        incident, request = await asked(runtime, stage)
        await runtime.desk.take_over(incident.id, by=WHO, reason="let me look")
        with pytest.raises(Conflict, match="void"):
            await runtime.approvals.approve(
                request.id, by=WHO, via="test", plan_digest=request.plan_digest
            )
        await client.get_workflow_handle(incident.id).signal("approved")
        await looked(client, incident)
        assert stage.ran == []
        stage.pass_time(60.0)
        await runtime.desk.rediagnose(incident.id, by=WHO)
        again = await eventually(lambda: pending(runtime, incident), SOON_S, "a new request")
        assert again.id != request.id
        assert again.plan_id != request.plan_id
        await approve(runtime, incident)
        await resolves(runtime, incident)
        assert len(stage.ran) == 1


async def test_a_plan_that_changes_while_it_waits_needs_a_new_yes(client, stage, monkeypatch):
    async with stage.open() as runtime, carried(runtime, client) as engine:
        incident, request = await asked(runtime, stage)
        plan = (await runtime.store.plans_of(incident.id))[-1]
        assert plan.digest == request.plan_digest
        stage.pass_time(60.0)
        await runtime.desk.rediagnose(incident.id, by=WHO, reason="new evidence")
        again = await eventually(lambda: pending(runtime, incident), SOON_S, "a new request")
        with pytest.raises(Conflict, match="void"):
            await runtime.approvals.approve(
                request.id, by=WHO, via="test", plan_digest=request.plan_digest
            )
        with pytest.raises(Conflict):
            await runtime.approvals.approve(again.id, by=WHO, via="test", plan_digest="0" * 64)
        await engine.wake(incident.id)
        await looked(client, incident)
        assert stage.ran == []


@pytest.fixture
async def serving(
    temporal_server: TemporalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Theatre, Any]]:
    """A theatre's incidents carried by the whole durable service, which compares often."""
    monkeypatch.setattr(durable, "RECONCILE_S", 0.3)
    (tmp_path / "stage").mkdir()
    stage = Theatre(
        tmp_path / "stage", past_s=YOUNG_S, temporal={"address": temporal_server.address}
    )
    async with stage.open() as runtime:
        executors = tuple(sorted(runtime.adapters.executors))
        worker = WorkerSettings(executors=executors, grace_s=0.5)
        service = durable.DurableService(runtime, runtime.outbox, worker)
        task = asyncio.create_task(service.run())
        await asyncio.wait_for(service.is_working.wait(), SOON_S)
        yield stage, runtime
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("how", ["terminate", "cancel"])
async def test_a_workflow_ended_by_hand_is_begun_again(client, serving, how):
    stage, runtime = serving
    incident, _ = await asked(runtime, stage)
    handle = client.get_workflow_handle(incident.id)
    before = await handle.describe()
    await (handle.terminate("by hand") if how == "terminate" else handle.cancel())

    async def is_anew() -> bool:
        now = await handle.describe()
        return now.run_id != before.run_id and now.status is WorkflowExecutionStatus.RUNNING

    await eventually(is_anew, SOON_S, "a new run")
    await approve(runtime, incident)
    await resolves(runtime, incident)
    assert len(stage.ran) == 1
