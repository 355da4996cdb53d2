"""Reads everything stored about one incident that decides what comes next."""

from collections.abc import Sequence

from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import AlertFact
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.ports import Store
from it_incident_response.workflow.stages import Record


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
