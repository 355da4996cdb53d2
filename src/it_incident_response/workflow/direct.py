"""Carries incidents in the foreground, without an engine: façade, demo, evaluation, tests."""

from collections.abc import Collection
from datetime import datetime

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.domain.ids import IncidentId
from it_incident_response.errors import Conflict
from it_incident_response.ports import Clock, WorkQueue
from it_incident_response.workflow.stage_runner import ACTING, StageRunner
from it_incident_response.workflow.stages import Stage

STAGES_AT_MOST = 80
"""Stages in one go: a guard against two stages that keep asking for each other."""

LEASE_S = 3600.0
"""Long enough that nobody has to renew it: a virtual clock may run far while one stage works."""

_BEYOND_PLANNING = ACTING | {
    Stage.RECOVER,
    Stage.VERIFY,
    Stage.CONFIRM_RECOVERY,
    Stage.DIAGNOSE,
    Stage.WRITE_UP,
}


class DirectRunner:
    """Runs stages one after the other, in this process, as far as they go."""

    def __init__(
        self,
        queue: WorkQueue,
        clock: Clock,
        detection: DetectionAgent,
        stages: StageRunner,
        *,
        name: str,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._detection = detection
        self._stages = stages
        self._name = name

    async def advance(
        self, incident_id: IncidentId, *, stop_before: Collection[Stage] = ()
    ) -> datetime | None:
        """Run stages until the incident waits or rests, or would enter one of `stop_before`.

        Returns when it has to be looked at again, or None if only something new can move it.
        """
        for _ in range(STAGES_AT_MOST):
            record, step = await self._stages.look(incident_id)
            is_waiting = step.stage in (Stage.REST, Stage.AWAIT_APPROVAL)
            is_early = step.not_before is not None and step.not_before > self._clock.now()
            if is_waiting or is_early or step.stage in stop_before:
                return step.not_before
            due = await self._stages.run(record, step)
            if due is not None:
                return due
        raise Conflict(f"incident {incident_id} did not settle in {STAGES_AT_MOST} stages")

    async def analyze(self, incident_id: IncidentId) -> None:
        """Diagnose afresh whatever was found before, and plan; acts on nothing.

        Raises `Conflict` if the incident is not open, or is being repaired.
        """
        await self._stages.diagnose(incident_id)
        await self.advance(incident_id, stop_before=_BEYOND_PLANNING)

    async def drain(self) -> None:
        """Take in everything that waits and handle every incident that is due now."""
        while True:
            while await self._detection.ingest() is not None:
                continue
            due = await self._queue.claim_due(
                self._clock.now(), worker=self._name, lease_s=LEASE_S, limit=16
            )
            if not due:
                return
            for incident_id in due:
                again = await self.advance(incident_id)
                await self._queue.release(incident_id, worker=self._name, due_again_at=again)
