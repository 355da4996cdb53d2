"""A plan that waits a day for approval, on Temporal's time-skipping server: in about a second."""

from datetime import timedelta
from typing import Any

import pytest

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import Conflict
from tests.real.stack.waiting import eventually
from tests.workflow.on_engine import carried, fresh, happened, is_with_human
from tests.workflow.theatre import WHO, kinds, pending
from tests.workflow.time_skipping import pass_time, skipping

YOUNG_S = 900.0
HOUR = 3600.0
A_DAY = {
    "timeout": "24h",
    "reminders": ["1h", "4h", "12h"],
    "escalate": [{"after": "8h", "to": "the team lead"}],
}


async def test_a_day_of_silence_is_reminded_of_escalated_and_denied(theatre):
    stage = theatre(past_s=YOUNG_S, approval=A_DAY)
    async with (
        stage.open() as runtime,
        skipping(stage.world.clock) as (env, time),
        carried(runtime, env.client) as engine,
    ):
        incident = await stage.detect(runtime, "service_down")
        await time.begin(env, stage.world.clock)
        request = await eventually(lambda: pending(runtime, incident), 20, "the request")

        async def told() -> list[tuple[str, float]]:
            asked = await runtime.store.approval(request.id)
            return [
                (notice.kind.value, round((notice.at - asked.requested_at).total_seconds()))
                for notice in asked.notices
            ]

        due = [
            ("reminded", HOUR),
            ("reminded", 4 * HOUR),
            ("escalated", 8 * HOUR),
            ("reminded", 12 * HOUR),
        ]
        passed = 0.0
        for number, (_, at) in enumerate(due):
            await pass_time(env, time, at - passed - 60)
            assert len(await told()) == number, "a notice came before its time"
            await pass_time(env, time, 120)
            passed = at + 60
            await eventually(lambda n=number: _has(told, n + 1), 10, "the notice")
        sent = await told()
        assert [kind for kind, _ in sent] == [kind for kind, _ in due]
        for (_, was), (_, should) in zip(sent, due, strict=True):
            assert should <= was <= should + 120
        await pass_time(env, time, 24 * HOUR - passed - 60)
        assert (await runtime.store.approval(request.id)).status is ApprovalStatus.PENDING
        assert not await is_with_human(runtime, incident)

        await pass_time(env, time, 120)
        await eventually(lambda: is_with_human(runtime, incident), 10, "a human to have it")
        asked = await runtime.store.approval(request.id)
        assert asked.status is ApprovalStatus.EXPIRED
        assert "denied" in ((await fresh(runtime, incident)).escalation or "")
        assert await told() == sent, "each notice once, and none after the end"
        assert len(await happened(runtime, incident, "approval.reminded")) == 3
        assert len(await happened(runtime, incident, "approval.escalated")) == 1

        # Yes comes too late, and says so; waking the workflow for it changes nothing.
        with pytest.raises(Conflict, match="expired"):
            await runtime.approvals.approve(
                request.id, by=WHO, via="test", plan_digest=request.plan_digest
            )
        await engine.wake(incident.id)
        await pass_time(env, time, 2 * HOUR)
        assert stage.ran == []
        assert "action.started" not in await kinds(runtime, incident)
        assert (await fresh(runtime, incident)).status is IncidentStatus.IDENTIFIED


async def _has(told: Any, count: int) -> bool:
    return len(await told()) == count


async def test_an_approval_in_the_last_minute_counts(theatre):
    stage = theatre(past_s=YOUNG_S, approval={"timeout": "24h"})
    async with (
        stage.open() as runtime,
        skipping(stage.world.clock) as (env, time),
        carried(runtime, env.client),
    ):
        incident = await stage.detect(runtime, "service_down")
        await time.begin(env, stage.world.clock)
        request = await eventually(lambda: pending(runtime, incident), 20, "the request")
        await pass_time(env, time, timedelta(hours=24).total_seconds() - 60)
        await runtime.approvals.approve(
            request.id, by=WHO, via="test", plan_digest=request.plan_digest
        )
        await eventually(lambda: len(stage.ran) == 1, 20, "the plan to be carried out")
        assert (await runtime.store.approval(request.id)).status is ApprovalStatus.APPROVED
