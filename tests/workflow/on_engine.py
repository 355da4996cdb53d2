"""A theatre's incidents carried by workflows on a Temporal server, as `iir serve` carries them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.converter import DataConverter

from it_incident_response.domain.incident import Incident
from it_incident_response.safety.reminders import ApprovalNotices, EscalateTo, NoticeSettings
from it_incident_response.system.composition import Runtime
from it_incident_response.workflow.activities import ActivitySettings, IncidentActivities
from it_incident_response.workflow.engine.connection import data_converter
from it_incident_response.workflow.engine.settings import EngineSettings
from it_incident_response.workflow.engine_worker import IncidentEngine, WorkerSettings, working
from it_incident_response.workflow.outbox import Outbox, OutboxSettings

PREFIX = "iir"
QUICK = 0.05


def converter() -> DataConverter:
    """Return how our payloads are written, without keys."""
    return data_converter(EngineSettings())


def activities(runtime: Runtime) -> IncidentActivities:
    """Return the runtime's activities, with the reminders that its settings ask for."""
    given = runtime.settings.approval
    notices = NoticeSettings(
        reminders_s=given.reminders_in_time,
        escalate=tuple(EscalateTo(after_s=each.after_s, to=each.to) for each in given.escalate),
    )
    notify = ApprovalNotices(runtime.store, notices).send_due
    settings = ActivitySettings(queue_prefix=PREFIX)
    return IncidentActivities(
        runtime.stages, runtime.clock, runtime.inventory, settings, notify=notify
    )


@asynccontextmanager
async def carried(
    runtime: Runtime, client: Client, *, name: str = "w1", is_waking: bool = True
) -> AsyncIterator[IncidentEngine]:
    """Work on the runtime's incidents while the block runs, and wake those that are due.

    Without `is_waking` the engine hears of nothing unless it is told by hand.
    """
    engine = IncidentEngine(client, PREFIX)
    executors = tuple(sorted(runtime.adapters.executors))
    settings = WorkerSettings(queue_prefix=PREFIX, executors=executors, grace_s=0.5)
    outbox = Outbox(runtime.store, runtime.clock, OutboxSettings(name=name, idle_s=QUICK))
    async with working(client, activities(runtime), settings):
        waking = asyncio.create_task(outbox.run(engine.wake)) if is_waking else None
        try:
            yield engine
        finally:
            if waking is not None:
                waking.cancel()
                await asyncio.wait([waking])


async def fresh(runtime: Runtime, incident: Incident) -> Incident:
    """Return the incident as it is stored now."""
    return await runtime.store.incident(incident.id)


async def is_with_human(runtime: Runtime, incident: Incident) -> bool:
    """Tell whether it was handed to a human."""
    return (await fresh(runtime, incident)).escalation is not None


async def is_over(runtime: Runtime, incident: Incident) -> bool:
    """Tell whether it is resolved and written up."""
    return (await fresh(runtime, incident)).written_up_at is not None


async def happened(runtime: Runtime, incident: Incident, kind: str) -> list[Any]:
    """Return the audit events of one kind, in order."""
    events = await runtime.store.events(incident_id=incident.id)
    return [event for event in events if event.kind == kind]
