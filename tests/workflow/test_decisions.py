"""What people and policy decide, and that nothing is done without them."""

from datetime import timedelta

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import Conflict, IllegalTransition
from tests.workflow.theatre import WHO, approve, kinds, pending, states

YOUNG_S = 900.0


def facts(world):
    """What an action could change in the world: processes, releases, disks, certificate."""
    return {
        "up": [(i.host, i.spec.name, i.is_up, i.restarts) for i in world.state.instances],
        "started": [i.process.started_at for i in world.state.instances],
        "releases": {n: s.release.version for n, s in world.state.services.items()},
        "replicas": {n: s.replicas for n, s in world.state.services.items()},
        "certificate": world.state.certificate_expires_at,
    }


async def test_nothing_runs_before_approval_and_exactly_the_shown_commands_after(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        assert stage.ran == []
        view = await runtime.incident_view(incident.id)
        assert view.incident.status is IncidentStatus.IDENTIFIED
        assert view.now.startswith("waiting for")
        await approve(runtime, incident)
        await runtime.direct.drain()
        view = await runtime.incident_view(incident.id)
        shown = view.plan.steps[0].commands
        assert [result.command for result in view.executions[0].results] == list(shown)
        assert view.approval.decided_by == WHO
        assert view.approval.plan_digest == view.plan.digest == view.executions[0].plan_digest


async def test_a_rejected_plan_is_handed_over_and_never_runs(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        request = await pending(runtime, incident)
        await runtime.approvals.reject(request.id, by=WHO, via="test", reason="not on my watch")
        await runtime.direct.drain()
        found = await runtime.store.incident(incident.id)
        assert found.status is IncidentStatus.IDENTIFIED
        assert "not on my watch" in found.escalation
        assert WHO in found.escalation
        assert stage.ran == []
        assert await states(runtime, incident) == []
        with pytest.raises(Conflict, match="rejected already"):
            await runtime.approvals.approve(request.id, by=WHO, via="test")


async def test_silence_means_no_and_yes_comes_too_late(theatre):
    stage = theatre(past_s=YOUNG_S, approval={"timeout": "10m"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        request = await pending(runtime, incident)
        stage.pass_time(601)
        with pytest.raises(Conflict, match="expired"):
            await runtime.approvals.approve(request.id, by=WHO, via="test")
        await runtime.direct.drain()
        asked = await runtime.store.approval(request.id)
        assert asked.status is ApprovalStatus.EXPIRED
        assert "denied" in (await runtime.store.incident(incident.id)).escalation
        assert stage.ran == []
        assert "action.started" not in await kinds(runtime, incident)


async def test_the_worker_denies_by_itself_when_time_is_over(theatre):
    stage = theatre(past_s=YOUNG_S, approval={"timeout": "10m"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        stage.pass_time(601)
        await runtime.direct.drain()
        assert await pending(runtime, incident) is None
        assert (await runtime.store.incident(incident.id)).escalation


@pytest.mark.parametrize("refusal", ["rejected", "expired"])
async def test_a_person_may_have_it_planned_again_and_is_asked_again(theatre, refusal):
    stage = theatre(past_s=YOUNG_S, approval={"timeout": "10m"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        first = await pending(runtime, incident)
        if refusal == "rejected":
            await runtime.approvals.reject(first.id, by=WHO, via="test")
        else:
            stage.pass_time(601)
        await runtime.direct.drain()
        await runtime.desk.set_status(incident.id, IncidentStatus.INVESTIGATING, by=WHO)
        stage.pass_time(60)
        await runtime.direct.drain()
        second = await approve(runtime, incident)
        assert second.id != first.id
        await runtime.direct.drain()
        assert len(stage.ran) == 1
        assert (await runtime.store.incident(incident.id)).status is IncidentStatus.RESOLVED


async def test_a_dry_run_changes_nothing_and_shows_the_commands(theatre):
    stage = theatre(past_s=YOUNG_S, agents={"resolution": {"dry_run": True}})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        before = facts(stage.world)
        await approve(runtime, incident)
        await runtime.direct.drain()
        view = await runtime.incident_view(incident.id)
        assert stage.ran == []
        assert facts(stage.world) == before
        assert await states(runtime, incident) == [StepState.DRY_RUN]
        results = view.executions[0].results
        assert tuple(result.command for result in results) == view.plan.steps[0].commands
        assert all(result.exit_status is None for result in results)
        assert view.incident.status is IncidentStatus.IDENTIFIED
        assert "dry run" in view.incident.escalation
        assert view.verification is None


async def test_policy_that_forbids_is_obeyed_and_named(theatre, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  - {name: hands-off, effect: forbid}\n")
    stage = theatre(past_s=YOUNG_S, policy=policy)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        view = await runtime.incident_view(incident.id)
        assert "hands-off" in view.incident.escalation
        assert view.plan.is_forbidden
        assert view.approval is None
        assert stage.ran == []


async def test_policy_may_let_it_run_alone(theatre, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  - {name: go-ahead, effect: auto}\n")
    stage = theatre(past_s=YOUNG_S, policy=policy)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        assert len(stage.ran) == 1
        view = await runtime.incident_view(incident.id)
        assert view.incident.status is IncidentStatus.RESOLVED
        assert view.approval.decided_via == "policy"


async def test_closed_by_hand_means_hands_off(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        await runtime.desk.set_status(incident.id, IncidentStatus.CLOSED, by=WHO)
        await approve(runtime, incident)
        await runtime.direct.drain()
        assert stage.ran == []
        with pytest.raises(IllegalTransition, match="reopened"):
            await runtime.desk.set_status(incident.id, IncidentStatus.RESOLVED, by=WHO)


async def test_an_old_yes_is_no_yes(theatre):
    stage = theatre(past_s=YOUNG_S, approval={"timeout": "24h"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        given = await approve(runtime, incident)
        stage.pass_time(timedelta(hours=1, minutes=5).total_seconds())
        await runtime.direct.drain()
        assert stage.ran == []
        found = await runtime.store.incident(incident.id)
        assert given.id in found.escalation
        assert found.status is IncidentStatus.IDENTIFIED
