"""While we wait: alerts join, causes change, troubles end by themselves, and come back."""

import json

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import Conflict
from it_incident_response.ports import IncidentFilter
from it_incident_response.simulation import remedies
from tests.workflow.theatre import WHO, approve, kinds, pending

YOUNG_S = 900.0


async def take_in(runtime, *alerts):
    body = json.dumps(list(alerts)).encode()
    await runtime.store.accept([("alerts", body)], runtime.clock.now())
    return await runtime.take_in()


def reported(name, runtime, *, resolved=False, **labels):
    now = runtime.clock.now().isoformat()
    ended = {"endsAt": now} if resolved else {}
    labels = {"alertname": name, "severity": "critical", **labels}
    return {"labels": labels, "annotations": {}, "startsAt": now, **ended}


async def test_a_new_alert_while_waiting_is_diagnosed_and_the_question_stands(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        request = await pending(runtime, incident)
        service = stage.truth.fault.target.name
        host = stage.truth.fault.instance.host
        stage.pass_time(60)
        alert = reported("ProbeFailed", runtime, service=service, instance=host)
        (changed,) = await take_in(runtime, alert)
        assert changed.id == incident.id
        await runtime.direct.drain()
        assert len(await runtime.store.diagnoses_of(incident.id)) == 2
        assert (await pending(runtime, incident)).id == request.id
        assert len(await runtime.store.plans_of(incident.id)) == 1


async def test_a_changed_plan_voids_what_was_asked_before(theatre, monkeypatch):
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        first = await pending(runtime, incident)
        view = await runtime.incident_view(incident.id)
        elsewhere = view.diagnosis.top.model_copy(update={"cause_id": "another-cause"})
        changed = view.diagnosis.model_copy(
            update={
                "id": "later",
                "made_at": runtime.clock.now(),
                "hypotheses": (elsewhere,),
            }
        )
        await runtime.store.add_diagnosis(changed, [])
        await runtime.store.wake(incident.id, runtime.clock.now())
        await runtime.direct.drain()
        second = await pending(runtime, incident)
        assert second.id != first.id
        assert (await runtime.store.approval(first.id)).status is ApprovalStatus.VOIDED
        with pytest.raises(Conflict, match="voided already"):
            await runtime.approvals.approve(first.id, by=WHO, via="test")
        assert stage.ran == []


async def test_what_ends_by_itself_is_verified_resolved_and_needs_no_approval_any_more(theatre):
    stage = theatre(past_s=YOUNG_S, approval={"timeout": "24h"})
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        request = await pending(runtime, incident)
        remedies.restart(stage.truth.fault.instance, stage.world.state.at)
        await stage.wait(runtime, 900)
        await runtime.direct.drain()
        found = await runtime.store.incident(incident.id)
        assert found.status is IncidentStatus.RESOLVED
        assert (await runtime.store.approval(request.id)).status is ApprovalStatus.VOIDED
        assert stage.ran == []
        events = await runtime.store.events(incident_id=incident.id)
        (ended,) = [event for event in events if event.kind == "incident.resolved"]
        assert "held for 60 s" in ended.summary
        with pytest.raises(Conflict, match="voided"):
            await runtime.approvals.approve(request.id, by=WHO, via="test")


async def test_resolved_reports_alone_do_not_resolve_while_it_still_holds(theatre):
    """Somebody says resolved, but the alert's own expression is true: not resolved."""
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        now = runtime.clock.now().isoformat()
        firing = [alert for _, alert in await runtime.store.alerts_of(incident.id)]
        await take_in(
            runtime,
            *(
                {
                    "labels": dict(a.labels),
                    "annotations": dict(a.annotations),
                    "startsAt": a.starts_at.isoformat(),
                    "endsAt": now,
                }
                for a in firing
            ),
        )
        await runtime.direct.drain()
        assert (await runtime.store.incident(incident.id)).status.is_open
        assert "incident.resolved" not in await kinds(runtime, incident)


async def test_what_fires_again_needs_a_new_diagnosis_and_a_new_approval(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.direct.drain()
        first = await approve(runtime, incident)
        await runtime.direct.drain()
        assert (await runtime.store.incident(incident.id)).status is IncidentStatus.RESOLVED
        await stage.wait(runtime, 300)
        stage.world.begin(stage.truth.fault)
        await stage.wait(runtime, 300)
        again = await runtime.store.incident(incident.id)
        assert (again.status, again.reopened_count) == (IncidentStatus.INVESTIGATING, 1)
        await runtime.direct.drain()
        assert len(await runtime.store.diagnoses_of(incident.id)) == 2
        assert len(stage.ran) == 1, "the old approval was used again"
        second = await approve(runtime, incident)
        assert second.plan_digest != first.plan_digest
        await runtime.direct.drain()
        assert len(stage.ran) == 2
        assert (await runtime.store.incident(incident.id)).status is IncidentStatus.RESOLVED
        assert stage.truth.ended_at is not None
        rows = await runtime.store.executions_of(incident.id)
        assert len({row.key for row in rows}) == 2


async def test_flapping_is_seen(theatre):
    stage = theatre(past_s=600.0)
    async with stage.open() as runtime:
        for _ in range(3):
            for resolved in (False, True):
                stage.pass_time(60)
                alert = reported("Down", runtime, resolved=resolved, instance="web-1")
                touched = await take_in(runtime, alert)
        assert touched[0].is_flapping
        (listed,) = await runtime.store.incidents(IncidentFilter())
        assert listed.is_flapping


async def test_a_storm_is_not_diagnosed_alert_by_alert(theatre):
    stage = theatre(past_s=600.0)
    async with stage.open() as runtime:
        storm = 2000
        batches = 10
        for batch in range(batches):
            size = storm // batches
            alerts = [
                reported("ServiceDown", runtime, service="search", pod=f"search-{batch}-{i}")
                for i in range(size)
            ]
            await take_in(runtime, *alerts)
            await runtime.direct.drain()
            stage.world.clock.advance(1)
        (incident,) = await runtime.store.incidents(IncidentFilter())
        assert incident.total_alerts == storm
        # 10 batches in 10 seconds, and a diagnosis at most every 30: the first, and no other yet.
        assert len(await runtime.store.diagnoses_of(incident.id)) == 1
        stage.world.clock.advance(30)
        await runtime.direct.drain()
        assert len(await runtime.store.diagnoses_of(incident.id)) == 2
