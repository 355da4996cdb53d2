"""Carries out one stage of one incident and writes it down; what comes next the record says."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from it_incident_response.agents.diagnostic_agent import DiagnosticAgent
from it_incident_response.agents.resolution_agent import ResolutionAgent
from it_incident_response.agents.verification import OnReading, Watch
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Verdict
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.verification import VerificationResult
from it_incident_response.errors import (
    ActionError,
    ActionInDoubt,
    Conflict,
    ConnectorError,
    PolicyDelayed,
    TargetLocked,
)
from it_incident_response.ports import Clock, Store
from it_incident_response.workflow.record import read_record
from it_incident_response.workflow.stages import Next, Record, Stage, next_stage
from it_incident_response.workflow.write_up import write_up

log = logging.getLogger(__name__)

Run = Callable[[Record, Next], Awaitable[datetime | None]]
RunWatch = Callable[[Record, "Progress"], Awaitable[datetime | None]]

RUNNING_HERE_S = 5.0
"""Before looking again at a step that the engine gave up, and that runs in this very process."""


@dataclass(frozen=True)
class Progress:
    """How far a watch has come: where to go on after a crash, and whom to tell."""

    watch: Watch | None = None
    on_reading: OnReading | None = None


ACTING = frozenset({Stage.EXECUTE, Stage.ROLL_BACK})
"""Stages that change something outside."""


class StageRunner:
    """Knows how each stage is done; holds no state of an incident, so that any worker may go on."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        diagnostic: DiagnosticAgent,
        resolution: ResolutionAgent,
        *,
        refresh_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._diagnostic = diagnostic
        self._resolution = resolution
        self._refresh_s = refresh_s
        self._runs: Mapping[Stage, Run] = {
            Stage.RECOVER: self._recover,
            Stage.DIAGNOSE: self._diagnose,
            Stage.PLAN: self._plan,
            Stage.EXECUTE: self._execute,
            Stage.ROLL_BACK: self._roll_back,
            Stage.ESCALATE: self._escalate,
            Stage.WRITE_UP: self._write_up,
        }
        self._watches: Mapping[Stage, RunWatch] = {
            Stage.VERIFY: self._verify,
            Stage.CONFIRM_RECOVERY: self._confirm_recovery,
        }

    async def look(self, incident_id: IncidentId) -> tuple[Record, Next]:
        """Return the record and what it asks for now; denies first what nobody approved in time."""
        record = await read_record(self._store, incident_id)
        step = self._next(record)
        is_late = step.not_before is not None and self._clock.now() >= step.not_before
        if step.stage is Stage.AWAIT_APPROVAL and is_late:
            await self._resolution.expire_requests()
            record = await read_record(self._store, incident_id)
            step = self._next(record)
        return record, step

    async def run(
        self, record: Record, step: Next, progress: Progress | None = None
    ) -> datetime | None:
        """Carry out `step`; returns when to look again, or None for at once.

        `progress` lets a watch that was interrupted go on where it was. What another process did
        in the same moment is no error: the record then says what is next.
        """
        work = self._work(record, step, progress or Progress())
        if work is None:
            return step.not_before
        log.info("%s: %s (%s)", record.incident.key, step.stage, step.reason)
        try:
            return await work
        except Conflict as conflict:
            log.info("%s changed meanwhile: %s", record.incident.key, conflict.message)
            return self._clock.now()

    def _work(
        self, record: Record, step: Next, progress: Progress
    ) -> Awaitable[datetime | None] | None:
        run, watch = self._runs.get(step.stage), self._watches.get(step.stage)
        if run is not None:
            return run(record, step)
        return watch(record, progress) if watch is not None else None

    async def diagnose(self, incident_id: IncidentId) -> None:
        """Diagnose afresh whatever was found before; raises `Conflict` if that cannot be now."""
        record = await read_record(self._store, incident_id)
        status = record.incident.status
        if not status.is_open or status is IncidentStatus.RESOLVING:
            raise Conflict(f"{record.incident.key} is {status}: it cannot be diagnosed now")
        await self._diagnose(record, Next(stage=Stage.DIAGNOSE, reason="asked for"))

    async def hand_over(self, incident_id: IncidentId, reason: str) -> None:
        """Give the incident to a human, saying why."""
        await self._hand_over(await self._store.incident(incident_id), reason)

    def _next(self, record: Record) -> Next:
        return next_stage(record, self._clock.now(), refresh_s=self._refresh_s)

    async def _diagnose(self, record: Record, step: Next) -> datetime | None:
        diagnosis = await self._diagnostic.investigate(record.incident, record.alerts)
        # Looking takes a while, in which alerts join: that is no reason to look all over again.
        incident = await self._store.incident(record.incident.id)
        if not incident.status.is_open or incident.halt:
            return None
        if diagnosis.verdict is Verdict.INCONCLUSIVE:
            return await self._hand_over(incident, f"inconclusive diagnosis: {diagnosis.summary}")
        if incident.status is IncidentStatus.INVESTIGATING:
            known = incident.model_copy(update={"escalation": None})
            await self._move(known, IncidentStatus.IDENTIFIED, diagnosis.summary)
        return None

    async def _plan(self, record: Record, step: Next) -> datetime | None:
        incident, diagnosis = record.incident, record.diagnosis
        if diagnosis is None:
            return None
        try:
            plan = await self._resolution.make_plan(incident, diagnosis)
        except (ActionError, ConnectorError) as error:
            return await self._hand_over(incident, f"no plan can be made: {error.message}")
        if plan is None:
            steps = await self._resolution.by_hand(incident, diagnosis)
            advice = "; ".join(steps) or "nothing is suggested"
            return await self._hand_over(incident, f"no action of ours fits: {advice}")
        return None

    async def _execute(self, record: Record, step: Next) -> datetime | None:
        incident = record.incident
        if incident.status is IncidentStatus.IDENTIFIED:
            incident = await self._move(incident, IncidentStatus.RESOLVING, step.reason)
        return await self._act(record, step, self._resolution.execute_step)

    async def _roll_back(self, record: Record, step: Next) -> datetime | None:
        return await self._act(record, step, self._resolution.undo_step)

    async def _act(
        self, record: Record, step: Next, act: Callable[..., Awaitable[object]]
    ) -> datetime | None:
        if record.plan is None or step.step is None:
            return None
        incident = record.incident
        try:
            await act(record.plan, step.step)
        except (TargetLocked, PolicyDelayed) as wait:
            log.info("%s waits: %s", incident.key, wait.message)
            return self._clock.now() + timedelta(seconds=self._patience_s(wait))
        except ActionInDoubt as doubt:
            # The journal has it: the record asks for a look at the target, or for a human.
            log.warning("%s: %s", incident.key, doubt.message)
        except ActionError as error:
            fresh = await self._store.incident(incident.id)
            return await self._hand_over(fresh, fresh.halt or error.message)
        return None

    def _patience_s(self, wait: ActionError) -> float:
        asked: float | None = getattr(wait, "retry_after_s", None)
        return self._refresh_s if asked is None else max(1.0, asked)

    async def _verify(self, record: Record, progress: Progress) -> datetime | None:
        if record.plan is not None:
            await self._resolution.verify(
                record.plan,
                record.executions,
                watch=progress.watch,
                on_reading=progress.on_reading,
            )
        return None

    async def _recover(self, record: Record, step: Next) -> datetime | None:
        rows = await self._resolution.recover(record.incident)
        is_running = any(row.state is StepState.STARTED for row in rows)
        return self._clock.now() + timedelta(seconds=RUNNING_HERE_S) if is_running else None

    async def _confirm_recovery(self, record: Record, progress: Progress) -> datetime | None:
        verification = record.verification
        if verification is not None and verification.result is VerificationResult.VERIFIED:
            reason = verification.reason
        else:
            check = await self._resolution.confirm_cleared(
                record.incident, watch=progress.watch, on_reading=progress.on_reading
            )
            if check.result is VerificationResult.FAILED:
                return self._clock.now() + timedelta(seconds=self._refresh_s)
            reason = f"every alert has resolved; {check.reason}"
        await self._resolution.void_requests(record.incident, "the incident is resolved")
        fresh = await self._store.incident(record.incident.id)
        await self._move(
            fresh.model_copy(update={"escalation": None}), IncidentStatus.RESOLVED, reason
        )
        return None

    async def _escalate(self, record: Record, step: Next) -> datetime | None:
        return await self._hand_over(record.incident, step.reason)

    async def _write_up(self, record: Record, step: Next) -> datetime | None:
        now = self._clock.now()
        events = await self._store.events(incident_id=record.incident.id, limit=10_000)
        written = record.incident.model_copy(update={"written_up_at": now})
        await self._store.save_incident(written, [write_up(record, events, now)])
        return None

    async def _hand_over(self, incident: Incident, reason: str) -> datetime | None:
        now = self._clock.now()
        escalated = incident.model_copy(update={"escalation": reason, "updated_at": now})
        if incident.status is IncidentStatus.RESOLVING:
            escalated = escalated.moved_to(IncidentStatus.IDENTIFIED, now)
        event = AuditEvent(
            at=now,
            actor="agent:coordinator",
            kind="incident.escalated",
            incident_id=incident.id,
            summary=f"handed to a human: {reason}",
        )
        await self._store.save_incident(escalated, [event])
        return None

    async def _move(self, incident: Incident, status: IncidentStatus, reason: str) -> Incident:
        now = self._clock.now()
        event = AuditEvent(
            at=now,
            actor="agent:coordinator",
            kind=f"incident.{status}",
            incident_id=incident.id,
            summary=f"{incident.status} → {status}: {reason}",
        )
        return await self._store.save_incident(incident.moved_to(status, now), [event])
