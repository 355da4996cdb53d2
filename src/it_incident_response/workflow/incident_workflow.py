"""One incident from opening to end: reads the record, runs the stage it asks for, writes it down.

Every stage ends in the store before the next begins, so any worker may continue after a crash.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from it_incident_response.agents.diagnostic_agent import DiagnosticAgent
from it_incident_response.agents.resolution_agent import ResolutionAgent
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Diagnosis, Verdict
from it_incident_response.domain.evidence import AlertFact
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.verification import VerificationResult
from it_incident_response.errors import ActionError, Conflict, ConnectorError, TargetLocked
from it_incident_response.ports import Clock, Store
from it_incident_response.workflow.stages import Next, Record, Stage, next_stage

log = logging.getLogger(__name__)

Run = Callable[[Record, Next], Awaitable[datetime | None]]

STAGES_AT_MOST = 50
"""Stages in one go: a guard against two stages that keep asking for each other."""

LOOK_AGAIN_S = 60.0
"""A decision wakes the incident; this is for when whoever decided died before the waking."""


async def read_record(store: Store, incident_id: IncidentId) -> Record:
    """Return everything that decides what comes next for an incident."""
    incident = await store.incident(incident_id)
    diagnoses = await store.diagnoses_of(incident_id)
    plans = await store.plans_of(incident_id)
    record = Record(
        incident=incident,
        alerts=tuple(alert for _, alert in await store.alerts_of(incident_id)),
        diagnosis=diagnoses[-1] if diagnoses else None,
        diagnosed_alerts=await _alerts_seen(store, incident, diagnoses[-1:]),
    )
    rows = await store.executions_of(incident_id)
    plan = next((p for p in reversed(plans) if p.episode == incident.episode), None)
    if plan is None:
        hanging = tuple(e for e in rows if e.state is StepState.STARTED)
        return record.model_copy(update={"executions": hanging})
    executions = [e for e in rows if e.plan_id == plan.id or e.state is StepState.STARTED]
    checks = [v for v in await store.verifications_of(incident_id) if v.plan_id == plan.id]
    approvals = await store.approvals(incident_id=incident_id)
    return record.model_copy(
        update={
            "plan": plan,
            "planned_for": next((d for d in diagnoses if d.id == plan.diagnosis_id), None),
            "approval": next((a for a in approvals if a.plan_id == plan.id), None),
            "executions": tuple(executions),
            "verification": checks[-1] if checks else None,
        }
    )


async def _alerts_seen(
    store: Store, incident: Incident, last: Sequence[Diagnosis]
) -> frozenset[str]:
    """Return the alerts that the last diagnosis cites; only before a repair does it matter."""
    status = incident.status
    if not last or not status.is_open or status is IncidentStatus.RESOLVING:
        return frozenset()
    cited = set(last[0].evidence_ids)
    return frozenset(
        item.finding.fingerprint
        for item in await store.evidence_of(incident.id)
        if item.id in cited and isinstance(item.finding, AlertFact)
    )


class IncidentWorkflow:
    """Carries incidents forward, one stage after the other."""

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
        self.acting: set[IncidentId] = set()
        """Incidents whose plan is being executed at this moment: better not interrupted."""
        self._runs: Mapping[Stage, Run] = {
            Stage.RECOVER: self._recover,
            Stage.DIAGNOSE: self._diagnose,
            Stage.PLAN: self._plan,
            Stage.EXECUTE: self._execute,
            Stage.VERIFY: self._verify,
            Stage.CONFIRM_RECOVERY: self._confirm_recovery,
            Stage.ESCALATE: self._escalate,
        }

    async def advance(
        self, incident_id: IncidentId, *, stop_before: Collection[Stage] = ()
    ) -> datetime | None:
        """Run stages until the incident waits or rests, or would enter one of `stop_before`.

        Returns when it has to be looked at again, or None if only something new can move it.
        """
        for _ in range(STAGES_AT_MOST):
            record = await read_record(self._store, incident_id)
            step = next_stage(record, self._clock.now(), refresh_s=self._refresh_s)
            run = self._runs.get(step.stage)
            if step.stage is Stage.AWAIT_APPROVAL and await self._resolution.expire_requests():
                continue
            if run is None or step.stage in stop_before:
                return self._due(step)
            log.info("%s: %s (%s)", record.incident.key, step.stage, step.reason)
            try:
                due = await run(record, step)
            except Conflict as conflict:
                log.info("%s changed meanwhile: %s", record.incident.key, conflict.message)
                due = self._clock.now()
            if due is not None:
                return due
        raise Conflict(f"incident {incident_id} did not settle in {STAGES_AT_MOST} stages")

    def _due(self, step: Next) -> datetime | None:
        if step.stage is not Stage.AWAIT_APPROVAL or step.not_before is None:
            return step.not_before
        return min(step.not_before, self._clock.now() + timedelta(seconds=LOOK_AGAIN_S))

    async def analyze(self, incident_id: IncidentId) -> None:
        """Diagnose afresh whatever was found before, and plan; acts on nothing.

        Raises `Conflict` if the incident is not open, or is being repaired.
        """
        record = await read_record(self._store, incident_id)
        status = record.incident.status
        if not status.is_open or status is IncidentStatus.RESOLVING:
            raise Conflict(f"{record.incident.key} is {status}: it cannot be diagnosed now")
        await self._diagnose(record, Next(stage=Stage.DIAGNOSE, reason="asked for"))
        await self.advance(incident_id, stop_before=(*_ACTING, Stage.DIAGNOSE))

    async def _diagnose(self, record: Record, step: Next) -> datetime | None:
        diagnosis = await self._diagnostic.investigate(record.incident, record.alerts)
        # Looking takes a while, in which alerts join: that is no reason to look all over again.
        incident = await self._store.incident(record.incident.id)
        if not incident.status.is_open:
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
        if record.plan is None:
            return None
        incident = record.incident
        if incident.status is IncidentStatus.IDENTIFIED:
            incident = await self._move(incident, IncidentStatus.RESOLVING, step.reason)
        self.acting.add(incident.id)
        try:
            await self._resolution.execute(record.plan)
        except TargetLocked as locked:
            log.info("%s waits: %s", incident.key, locked.message)
            return self._clock.now() + timedelta(seconds=self._refresh_s)
        except ActionError as error:
            return await self._hand_over(incident, error.message)
        finally:
            self.acting.discard(incident.id)
        return None

    async def _verify(self, record: Record, step: Next) -> datetime | None:
        if record.plan is not None:
            await self._resolution.verify(record.plan, record.executions)
        return None

    async def _recover(self, record: Record, step: Next) -> datetime | None:
        await self._resolution.recover(record.incident)
        return None

    async def _confirm_recovery(self, record: Record, step: Next) -> datetime | None:
        verification = record.verification
        if verification is not None and verification.result is VerificationResult.VERIFIED:
            reason = verification.reason
        else:
            check = await self._resolution.confirm_cleared(record.incident)
            if check.result is VerificationResult.FAILED:
                return self._clock.now() + timedelta(seconds=self._refresh_s)
            reason = f"every alert has resolved; {check.reason}"
        await self._resolution.void_requests(record.incident, "the incident is resolved")
        fresh = await self._store.incident(record.incident.id)
        await self._move(fresh.model_copy(update={"escalation": None}), _RESOLVED, reason)
        return None

    async def _escalate(self, record: Record, step: Next) -> datetime | None:
        return await self._hand_over(record.incident, step.reason)

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


_RESOLVED = IncidentStatus.RESOLVED
_ACTING = (Stage.RECOVER, Stage.EXECUTE, Stage.VERIFY, Stage.CONFIRM_RECOVERY)
