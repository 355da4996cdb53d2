"""The alternative to parked workflows, for the benchmark only: who waits has no workflow.

The workflow writes the time of its timer into the work queue (as the outbox's own due time) and
ends; a decision, an alert or that time starts it again, by the same signal-with-start as ever.
"""

from collections.abc import Sequence
from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from it_incident_response.domain.ids import IncidentId
    from it_incident_response.workflow.activities import Activity, IncidentActivities
    from it_incident_response.workflow.failures import STORE
    from it_incident_response.workflow.incident_workflow import IncidentWorkflow
    from it_incident_response.workflow.messages import IncidentStart, Look

PARK = "park"
KEEP_S = 10.0
"""A shorter wait is a timer: ending and starting again costs more."""


class ParkingActivities(IncidentActivities):
    """The same, and the one that gives an incident back to the work queue."""

    def reading(self) -> Sequence[Activity]:
        """Return the activities that change nothing outside."""

        @activity.defn(name=PARK)
        async def park(incident_id: str, wait_s: float) -> None:
            at = self._clock.now() + timedelta(seconds=wait_s * self._settings.pace)
            await self._stages._store.wake(IncidentId(incident_id), at)

        return [*super().reading(), park]


@workflow.defn(name="IncidentWorkflow")
class EndingWorkflow(IncidentWorkflow):
    """Ends where the other waits."""

    @workflow.init
    def __init__(self, start: IncidentStart) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: IncidentStart) -> str:
        """Carry the incident until it is over or waits."""
        look = await self._look()
        while not look.is_over:
            if look.stage not in ("rest", "await_approval") and not look.wait_s:
                look = await self._do(look)
            elif look.wait_s is not None and look.wait_s < KEEP_S:
                await self._wait(look)
                look = await self._look()
            elif await self._is_parked(look):
                return look.reason
            else:
                look = await self._look()
        return look.reason

    async def _is_parked(self, look: Look) -> bool:
        if look.wait_s is not None:
            await workflow.execute_local_activity(
                PARK,
                args=[self._id, look.wait_s],
                start_to_close_timeout=timedelta(seconds=60),
                retry_policy=STORE,
            )
        # A signal that came meanwhile is work; one that comes later starts another workflow.
        return not self._woken
