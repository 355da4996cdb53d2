"""What is shown of an incident: the record put together, and where it stands in plain words."""

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.approval import Approval
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import Evidence
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.incident import AlertLink, Incident
from it_incident_response.domain.model import Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.verification import Verification
from it_incident_response.ports import Clock, Store
from it_incident_response.workflow.incident_workflow import read_record
from it_incident_response.workflow.stages import next_stage


class IncidentView(Value):
    """One incident with everything that belongs to it."""

    incident: Incident
    now: str
    """Where it stands and why, in plain words."""
    alerts: tuple[tuple[AlertLink, Alert], ...] = ()
    diagnosis: Diagnosis | None = None
    evidence: tuple[Evidence, ...] = ()
    """Of the shown diagnosis, in the order it was gathered."""
    plan: Plan | None = None
    approval: Approval | None = None
    executions: tuple[Execution, ...] = ()
    verification: Verification | None = None


async def incident_view(store: Store, clock: Clock, id_or_key: str) -> IncidentView:
    """Return the view of one incident; raises `NotFound`."""
    incident = await store.incident(id_or_key)
    record = await read_record(store, incident.id)
    step = next_stage(record, clock.now(), refresh_s=0)
    cited = set(record.diagnosis.evidence_ids) if record.diagnosis else set()
    return IncidentView(
        incident=incident,
        now=f"{step.stage.value.replace('_', ' ')}: {step.reason}",
        alerts=tuple(await store.alerts_of(incident.id)),
        diagnosis=record.diagnosis,
        evidence=tuple(e for e in await store.evidence_of(incident.id) if e.id in cited),
        plan=record.plan,
        approval=record.approval,
        executions=record.executions,
        verification=record.verification,
    )
