"""What people do by hand, on the record; and the stages that only hands lead to."""

import pytest

from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import Conflict, IllegalTransition, InputRejected
from tests.workflow.theatre import WHO, approve, kinds, pending


async def opened(runtime, **given):
    return await runtime.desk.open_incident(
        **{
            "title": "something is wrong",
            "description": "",
            "severity": Severity.HIGH,
            "affected_systems": ["checkout", " checkout ", ""],
            "by": WHO,
            **given,
        }
    )


async def test_hands_leave_their_name_on_the_trail(theatre):
    stage = theatre(past_s=600.0)
    async with stage.open() as runtime:
        incident = await opened(runtime)
        assert incident.affected_systems == ("checkout",)
        await runtime.desk.note(incident.key, "looked at it", by=WHO)
        await runtime.desk.assign(incident.key, "bob", by=WHO)
        steps = ["turned it off", "and on"]
        await runtime.desk.set_status(
            incident.key, IncidentStatus.RESOLVED, by=WHO, notes="done", remediation_steps=steps
        )
        await runtime.desk.record("silence.created", WHO, "for an hour")
        events = await runtime.store.events()
        assert {event.actor for event in events} == {f"user:{WHO}"}
        resolved = next(event for event in events if event.kind == "incident.resolved")
        assert list(resolved.details["remediation_steps"]) == steps
        assert "done" in resolved.summary
        for text in ("", " ", "x" * 100_001):
            with pytest.raises(InputRejected):
                await runtime.desk.note(incident.key, text, by=WHO)
        with pytest.raises(InputRejected):
            await runtime.desk.assign(incident.key, "x" * 201, by=WHO)


async def test_what_nobody_can_explain_goes_to_a_human_who_may_ask_again(theatre):
    stage = theatre(past_s=600.0)
    async with stage.open() as runtime:
        incident = await opened(runtime)
        await runtime.direct.drain()
        found = await runtime.store.incident(incident.id)
        assert "inconclusive" in found.escalation
        await runtime.direct.drain()
        assert len(await runtime.store.diagnoses_of(incident.id)) == 1, "asked for ever"
        again = await runtime.desk.set_status(incident.id, IncidentStatus.INVESTIGATING, by=WHO)
        assert again.escalation is None
        stage.pass_time(60)
        await runtime.direct.drain()
        assert len(await runtime.store.diagnoses_of(incident.id)) == 2
        with pytest.raises(IllegalTransition):
            await runtime.desk.set_status(incident.id, IncidentStatus.RESOLVING, by=WHO)


async def test_resolving_by_hand_keeps_our_hands_off(theatre):
    stage = theatre(past_s=900.0)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "network_latency")
        await runtime.direct.drain()
        await runtime.desk.set_status(incident.id, IncidentStatus.RESOLVING, by=WHO)
        await runtime.direct.drain()
        found = await runtime.store.incident(incident.id)
        assert found.status is IncidentStatus.IDENTIFIED
        assert "by hand" in found.escalation
        assert stage.ran == []


async def test_analysing_again_keeps_the_question_and_acts_on_nothing(theatre):
    stage = theatre(past_s=900.0)
    async with stage.open() as runtime:
        incident = await stage.detect(runtime, "service_down")
        await runtime.analyze(incident.key)
        first = await pending(runtime, incident)
        await runtime.analyze(incident.key)
        assert (await pending(runtime, incident)).id == first.id
        await approve(runtime, incident)
        await runtime.analyze(incident.key)
        assert stage.ran == [], "analysing carried out the plan"
        await runtime.direct.drain()
        assert len(stage.ran) == 1
        with pytest.raises(Conflict, match="resolved"):
            await runtime.analyze(incident.key)
        assert "incident.resolved" in await kinds(runtime, incident)
