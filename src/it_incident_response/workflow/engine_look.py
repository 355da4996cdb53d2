"""Asks the engine what it does for incidents: describes their workflows, changing nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from it_incident_response.domain.ids import IncidentId
from it_incident_response.errors import ConfigError, ConnectorError
from it_incident_response.ports import Leases, SystemClock
from it_incident_response.workflow.engine.connection import connect
from it_incident_response.workflow.engine.settings import EngineSettings
from it_incident_response.workflow.messages import Standing
from it_incident_response.workflow.standing import EngineState, EngineStatus, PendingActivity

CONNECT_TIMEOUT_S = 3.0
"""A person waits: an engine that does not answer by then is unreachable."""
CALL_TIMEOUT = timedelta(seconds=3)
AT_ONCE = 16
QUERIED_AT_MOST = 3
"""A query has a worker replay the workflow: fine for one incident, not for a list of them."""
_UNREACHABLE = EngineState(status=EngineStatus.UNREACHABLE)


class ConfiguredEngineLook:
    """Looks at the configured cluster, or at the embedded engine of whoever runs it now.

    It connects for each look and never raises: what cannot be asked is `unreachable`. An embedded
    engine that nobody runs knows no workflow, so no incident has a state then.
    """

    def __init__(self, leases: Leases, settings: EngineSettings, post: str) -> None:
        self._leases = leases
        self._settings = settings
        self._post = post

    async def __call__(self, ids: Sequence[IncidentId]) -> Mapping[IncidentId, EngineState]:
        """Return the state of each incident's workflow."""
        address = None if self._settings.address else await self._embedded_address()
        if not ids or (address is None and self._settings.address is None):
            return {}
        try:
            client = await connect(self._settings, address, timeout_s=CONNECT_TIMEOUT_S)
        except (ConnectorError, ConfigError):
            return dict.fromkeys(ids, _UNREACHABLE)
        gate, is_few = asyncio.Semaphore(AT_ONCE), len(ids) <= QUERIED_AT_MOST

        async def one(incident_id: IncidentId) -> EngineState:
            async with gate:
                return await engine_state(client, incident_id, with_query=is_few)

        return dict(zip(ids, await asyncio.gather(*map(one, ids)), strict=True))

    async def _embedded_address(self) -> str | None:
        lease = await self._leases.lease(self._post)
        # The lease is between processes of real machines, whatever the world's clock says.
        if lease is None or not lease.detail or lease.until <= SystemClock().now():
            return None
        return lease.detail


async def engine_state(
    client: Client, incident_id: IncidentId, *, with_query: bool = True
) -> EngineState:
    """Return what the engine knows of one incident's workflow; never raises for what it answers.

    `with_query` asks the workflow itself too, which takes a worker.
    """
    try:
        handle = client.get_workflow_handle(incident_id)
        found = await handle.describe(rpc_timeout=CALL_TIMEOUT)
    except RPCError as error:
        is_absent = error.status is RPCStatusCode.NOT_FOUND
        return EngineState(status=EngineStatus.ABSENT) if is_absent else _UNREACHABLE
    state = await _described(client, found)
    if state.status is not EngineStatus.RUNNING or state.pending or not with_query:
        return state
    return await _with_standing(handle, state)


async def _with_standing(handle: WorkflowHandle[Any, Any], state: EngineState) -> EngineState:
    """Add what the workflow says of itself; a worker has to be there to answer."""
    try:
        standing = await handle.query("standing", result_type=Standing, rpc_timeout=CALL_TIMEOUT)
    except (RPCError, WorkflowQueryFailedError):
        return state
    if standing.state != "waiting":
        return state
    found = {"waits_for": standing.reason, "looks_again_at": standing.until}
    return state.model_copy(update=found)


async def _described(client: Client, found: WorkflowExecutionDescription) -> EngineState:
    is_running = found.status is WorkflowExecutionStatus.RUNNING
    pending = found.raw_description.pending_activities
    return EngineState(
        status=EngineStatus.RUNNING if is_running else EngineStatus.ENDED,
        run_id=found.run_id,
        pending=tuple([await _pending(client, info) for info in pending]),
        started_at=found.start_time.astimezone(UTC),
        history_length=found.history_length,
    )


async def _pending(client: Client, info: PendingActivityInfo) -> PendingActivity:
    failure = None
    if info.HasField("last_failure"):
        failure = str(await client.data_converter.decode_failure(info.last_failure))
    return PendingActivity(
        activity=info.activity_type.name,
        attempt=max(1, info.attempt),
        last_failure=failure,
        next_attempt_at=_moment(info, "next_attempt_schedule_time"),
        queue=info.activity_options.task_queue.name or None,
    )


def _moment(info: PendingActivityInfo, name: str) -> datetime | None:
    if not info.HasField(name):  # type: ignore[arg-type]
        return None
    stamp: Timestamp = getattr(info, name)
    return stamp.ToDatetime(tzinfo=UTC)
