"""Two processes over one database: each incident is carried by one of them at a time."""

import asyncio
from contextlib import AsyncExitStack

from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.domain.severity import Severity
from it_incident_response.ports import IncidentFilter
from tests.workflow.theatre import WHO, approve, kinds

YOUNG_S = 1200.0


async def test_two_workers_do_not_both_carry_one_incident(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with AsyncExitStack() as both:
        one = await both.enter_async_context(stage.open(worker="w1"))
        two = await both.enter_async_context(stage.open(worker="w2"))
        incident = await stage.detect(one, "service_down")
        await asyncio.gather(one.direct.drain(), two.direct.drain())
        assert len(await one.store.diagnoses_of(incident.id)) == 1
        assert len(await one.store.plans_of(incident.id)) == 1
        await approve(two, incident)
        await asyncio.gather(one.direct.drain(), two.direct.drain())
        assert len(stage.ran) == 1
        assert (await kinds(one, incident)).count("action.started") == 1
        assert (await one.store.incident(incident.id)).status is IncidentStatus.RESOLVED


async def test_what_one_has_leased_the_other_leaves_alone_until_the_lease_is_over(theatre):
    stage = theatre(past_s=YOUNG_S)
    async with AsyncExitStack() as both:
        one = await both.enter_async_context(stage.open(worker="w1"))
        two = await both.enter_async_context(stage.open(worker="w2"))
        incident = await stage.detect(one, "service_down")
        now = one.clock.now()
        assert await one.store.claim_due(now, worker="w1", lease_s=30, limit=5) == [incident.id]
        await two.direct.drain()
        assert await two.store.diagnoses_of(incident.id) == []
        stage.pass_time(31)
        await two.direct.drain()
        assert len(await two.store.diagnoses_of(incident.id)) == 1
        assert not await one.store.renew(incident.id, worker="w1", until=two.clock.now())


async def test_many_incidents_are_shared_out_and_each_is_diagnosed_once(theatre):
    stage = theatre(past_s=600.0)
    async with AsyncExitStack() as both:
        one = await both.enter_async_context(stage.open(worker="w1"))
        two = await both.enter_async_context(stage.open(worker="w2"))
        for number in range(6):
            await one.desk.open_incident(
                title=f"incident {number}",
                description="",
                severity=Severity.LOW,
                affected_systems=[],
                by=WHO,
            )
        await asyncio.gather(one.direct.drain(), two.direct.drain())
        for incident in await one.store.incidents(IncidentFilter()):
            assert len(await one.store.diagnoses_of(incident.id)) == 1
            assert incident.escalation, "nothing is known of it, so a human has to look"
