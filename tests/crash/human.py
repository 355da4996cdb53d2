"""The people of the crash matrix: they order plans, approve them, and clear up what is in doubt."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from it_incident_response.actions import RestartService
from it_incident_response.domain.action import AlertsCleared
from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import CauseKind, Diagnosis, Hypothesis, Verdict
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import Conflict
from it_incident_response.ports import IncidentFilter
from it_incident_response.safety.gate_task import described_step
from it_incident_response.system.composition import Runtime
from tests.crash.points import STEPS, Case
from tests.crash.targets import Truth, host_name

WHO = "alice"
AT_WORK = "a person is at work on it"
OPEN = tuple(status for status in IncidentStatus if status.is_open)


class Human:
    """Does one thing at a time for each incident that was handed over, and may die in between.

    What it does depends on the record alone, so that whoever comes next goes on.
    """

    def __init__(self, runtime: Runtime, truth: Truth) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._truth = truth
        self._cases: dict[str, Case] = {}

    async def open_case(self, case: Case) -> IncidentId:
        """Return the case's incident, which is opened if there is none."""
        found = await self._store.incidents(IncidentFilter(text=case.title, limit=1))
        if found:
            return found[0].id
        now = self._runtime.clock.now()
        incident = Incident(
            id=IncidentId(new_id(now)),
            key="",
            title=case.title,
            description=f"{case.slot} {case.is_blind}",
            severity=Severity.HIGH,
            status=IncidentStatus.IDENTIFIED,
            escalation=AT_WORK,
            opened_at=now,
            updated_at=now,
        )
        event = self._event(incident, "incident.opened", "opened by hand")
        return (await self._store.create_incident(incident, [event])).id

    async def look_after_all(self) -> int:
        """Do what is next for each incident that needs a person; returns how many are open."""
        found = await self._store.incidents(IncidentFilter(statuses=OPEN, limit=5000))
        needy = [
            incident
            for incident in found
            if incident.escalation and incident.status is IncidentStatus.IDENTIFIED
        ]
        await asyncio.gather(*map(self._look_after, needy))
        return len(found)

    async def _look_after(self, incident: Incident) -> None:
        """Go on until nothing is left to be done for it by a person."""
        with suppress(Conflict):  # somebody changed it in this moment: look again next time
            while incident.escalation and incident.status is IncidentStatus.IDENTIFIED:
                if not await self._go_on(incident):
                    return
                incident = await self._store.incident(incident.id)

    async def _go_on(self, incident: Incident) -> bool:
        """Do what is next; False if it cannot be done yet."""
        rows = await self._store.executions_of(incident.id)
        for row in rows:
            if row.state is StepState.IN_DOUBT:
                took_effect = any(ran.key == row.key for ran in self._truth.read())
                await self._runtime.gate.settle(
                    incident.id, row.key, took_effect=took_effect, by=WHO, reason="I looked"
                )
        if any(row.state is StepState.STARTED for row in rows):
            return False
        plans = await self._store.plans_of(incident.id)
        is_new = not plans or plans[-1].episode < incident.episode
        if is_new:
            await self._order(incident)
        elif any(row.plan_id == plans[-1].id for row in rows) or incident.escalation != AT_WORK:
            await self._begin_anew(incident)
        else:
            await self._let_it_run(incident, plans[-1])
        return True

    async def _order(self, incident: Incident) -> None:
        """Ask for a plan of the steps that are still to be done."""
        left = self._left(incident)
        if not left:
            return await self._resolve(incident)
        now = self._runtime.clock.now()
        diagnosis = _diagnosis(incident, now)
        await self._store.add_diagnosis(diagnosis, [])
        slot, blind = incident.description.split()
        is_blind = blind == "True"
        steps = []
        for number in left:
            action = RestartService(
                host=host_name(int(slot), number, is_blind=is_blind), unit="app.service"
            )
            checks = (AlertsCleared(),) if is_blind else action.checks()
            described = described_step(action, number=number)
            steps.append(described.model_copy(update={"checks": checks}))
        plan = Plan(
            id=new_id(now),
            incident_id=incident.id,
            diagnosis_id=diagnosis.id,
            made_at=now,
            reason="restart what hangs",
            steps=tuple(steps),
            episode=incident.episode,
        )
        await self._runtime.approvals.request(
            await self._runtime.gate.prepare(plan), by="agent:resolution"
        )

    async def _let_it_run(self, incident: Incident, plan: Plan) -> None:
        """Approve the plan and hand the incident back."""
        asked = await self._store.approvals(incident_id=incident.id)
        approval = next(a for a in asked if a.plan_id == plan.id)
        if approval.status is ApprovalStatus.PENDING:
            await self._runtime.approvals.approve(
                approval.id, by=WHO, via="test", plan_digest=plan.digest
            )
        elif approval.status is not ApprovalStatus.APPROVED:
            return await self._begin_anew(incident)
        now = self._runtime.clock.now()
        back = incident.model_copy(update={"escalation": None, "updated_at": now})
        event = self._event(incident, "incident.note", "handed back")
        await self._store.save_incident(back, [event], wake_at=now)

    async def _begin_anew(self, incident: Incident) -> None:
        """Make what was planned before count no more."""
        now = self._runtime.clock.now()
        fresh = incident.moved_to(IncidentStatus.INVESTIGATING, now)
        fresh = fresh.moved_to(IncidentStatus.IDENTIFIED, now)
        fresh = fresh.model_copy(update={"escalation": AT_WORK})
        event = self._event(incident, "incident.note", "to be planned anew")
        await self._store.save_incident(fresh, [event])

    async def _resolve(self, incident: Incident) -> None:
        """Every step has taken effect: nothing is left for us to do."""
        now = self._runtime.clock.now()
        done = incident.model_copy(update={"escalation": None})
        event = self._event(incident, "incident.note", "resolved by hand")
        await self._store.save_incident(
            done.moved_to(IncidentStatus.RESOLVED, now), [event], wake_at=now
        )

    def _left(self, incident: Incident) -> Sequence[int]:
        done = {ran.step for ran in self._truth.read() if ran.incident == incident.id}
        return [number for number in range(1, STEPS + 1) if number not in done]

    def _event(self, incident: Incident, kind: str, summary: str) -> AuditEvent:
        now = self._runtime.clock.now()
        return AuditEvent(
            at=now, actor=f"user:{WHO}", kind=kind, incident_id=incident.id, summary=summary
        )


def _diagnosis(incident: Incident, now) -> Diagnosis:
    cause = Hypothesis(
        cause_id="service-down", cause="it hangs", kind=CauseKind.PROCESS, confidence=0.95
    )
    return Diagnosis(
        id=new_id(now),
        incident_id=incident.id,
        made_at=now,
        verdict=Verdict.CONFIRMED,
        summary="it hangs",
        hypotheses=(cause,),
    )
