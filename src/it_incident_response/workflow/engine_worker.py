"""Takes tasks from the engine: workflows and stages, and steps of the sites this process serves."""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import Value
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.workflow.activities import IncidentActivities
from it_incident_response.workflow.engine.connection import CONNECTOR
from it_incident_response.workflow.incident_workflow import IncidentWorkflow
from it_incident_response.workflow.messages import IncidentStart
from it_incident_response.workflow.queues import acting_queue, core_queue, site_queue

log = logging.getLogger(__name__)

CALL_TIMEOUT = timedelta(seconds=10)

BRIEFLY_AT_ONCE = 16
"""Workflow tasks, and local activities within them, that a worker has at a time.

A task is the engine's for 10 s at most, its local activities included. Those of 250 incidents that
were approved at once took longer: 353 were taken away and begun again. The others wait unharmed.
"""


class WorkerSettings(Value):
    """What one process takes on."""

    queue_prefix: str = "iir"
    executors: tuple[str, ...] = ()
    """Executors whose steps it carries out."""
    is_core: bool = True
    """Whether it takes workflows, diagnoses and what belongs to no site."""
    sites: tuple[str, ...] = ()
    """Sites within which it stands."""
    actions_at_once: int = 16
    stages_at_once: int = 64
    """Watching a fix is a stage too, and takes minutes in which little happens."""
    actions_per_second: float = 20.0
    """Of all workers together, for each executor and site; the engine holds back the rest."""
    cached_workflows: int = 500
    """Kept in memory; the others are replayed from their history when something wakes them."""
    grace_s: float = 20.0
    """How long an action under way may still take when the worker is stopped."""


class IncidentEngine:
    """Tells the engine that something happened to an incident."""

    def __init__(self, client: Client, queue_prefix: str) -> None:
        self._client = client
        self._queue = core_queue(queue_prefix)

    async def wake(self, incident_id: IncidentId) -> None:
        """Wake the incident's workflow, starting it if it does not run.

        Its id is the incident's, so there is never a second one. Raises `ConnectorUnavailable`.
        """
        try:
            await self._client.start_workflow(
                IncidentWorkflow.run,
                IncidentStart(incident_id=incident_id),
                id=incident_id,
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal="wake",
                rpc_timeout=CALL_TIMEOUT,
            )
        except RPCError as error:
            raise ConnectorUnavailable(CONNECTOR, f"no workflow was woken: {error}") from error

    async def running(self) -> set[str]:
        """Return the ids of the incidents whose workflow runs; raises `ConnectorUnavailable`."""
        query = f"WorkflowType = '{IncidentWorkflow.__name__}' AND ExecutionStatus = 'Running'"
        try:
            found = self._client.list_workflows(query, page_size=1000, rpc_timeout=CALL_TIMEOUT)
            return {workflow.id async for workflow in found}
        except RPCError as error:
            raise ConnectorUnavailable(CONNECTOR, f"it lists no workflows: {error}") from error


@asynccontextmanager
async def working(
    client: Client, activities: IncidentActivities, settings: WorkerSettings
) -> AsyncIterator[None]:
    """Take tasks while the block runs; then let actions under way end, within the grace time."""
    async with AsyncExitStack() as stack:
        for worker in _workers(client, activities, settings):
            await stack.enter_async_context(worker)
        queues = ", ".join(_queues(settings))
        log.info("working on the queues %s", queues)
        yield


def _queues(settings: WorkerSettings) -> list[str]:
    prefix = settings.queue_prefix
    core = [core_queue(prefix)] if settings.is_core else []
    return [*core, *(site_queue(prefix, s) for s in settings.sites), *_acting_queues(settings)]


def _acting_queues(settings: WorkerSettings) -> list[str]:
    sites: Collection[str | None] = [*([None] if settings.is_core else []), *settings.sites]
    return [
        acting_queue(settings.queue_prefix, executor, site)
        for executor in settings.executors
        for site in sites
    ]


def _workers(
    client: Client, activities: IncidentActivities, settings: WorkerSettings
) -> Sequence[Worker]:
    reading: dict[str, Any] = {
        "activities": activities.reading(),
        "max_concurrent_activities": settings.stages_at_once,
        "graceful_shutdown_timeout": timedelta(seconds=settings.grace_s),
    }
    workers = []
    if settings.is_core:
        workers.append(
            Worker(
                client,
                task_queue=core_queue(settings.queue_prefix),
                workflows=[IncidentWorkflow],
                workflow_runner=_runner(),
                max_cached_workflows=settings.cached_workflows,
                max_concurrent_workflow_tasks=BRIEFLY_AT_ONCE,
                max_concurrent_local_activities=BRIEFLY_AT_ONCE,
                **reading,
            )
        )
    for site in settings.sites:
        queue = site_queue(settings.queue_prefix, site)
        workers.append(Worker(client, task_queue=queue, **reading))
    for queue in _acting_queues(settings):
        workers.append(
            Worker(
                client,
                task_queue=queue,
                activities=activities.acting(),
                max_concurrent_activities=settings.actions_at_once,
                max_task_queue_activities_per_second=settings.actions_per_second,
                max_concurrent_activity_task_polls=2,
                graceful_shutdown_timeout=timedelta(seconds=settings.grace_s),
            )
        )
    return workers


def _runner() -> SandboxedWorkflowRunner:
    """Return the sandbox; our own modules have no state that a workflow could disturb."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules("it_incident_response")
    return SandboxedWorkflowRunner(restrictions=restrictions)
