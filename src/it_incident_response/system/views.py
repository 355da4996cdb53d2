"""What is shown of an incident: the record put together, and where it stands in plain words."""

from collections.abc import Sequence
from datetime import datetime

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.approval import Approval
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import Evidence
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import AlertLink, Incident
from it_incident_response.domain.model import Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.verification import Verification
from it_incident_response.ports import Clock, Store
from it_incident_response.safety.judge import PolicyJudge
from it_incident_response.safety.people import ANYBODY
from it_incident_response.safety.policy import Effect, Policy, Ruling
from it_incident_response.workflow.record import read_record
from it_incident_response.workflow.stages import Next, Record, Stage, next_stage
from it_incident_response.workflow.standing import EngineLook, EngineState, Refusal, situation

PEOPLE_NAMED = 5
"""Names in a sentence; further ones are counted."""


class IncidentView(Value):
    """One incident with everything that belongs to it."""

    incident: Incident
    now: str
    """Where it stands and why, in plain words."""
    now_details: tuple[str, ...] = ()
    """What else there is to know about that, and the commands to go on with."""
    engine: EngineState | None = None
    """Its workflow as the engine sees it; None if the engine was not asked."""
    alerts: tuple[tuple[AlertLink, Alert], ...] = ()
    diagnosis: Diagnosis | None = None
    evidence: tuple[Evidence, ...] = ()
    """Of the shown diagnosis, in the order it was gathered."""
    plan: Plan | None = None
    approval: Approval | None = None
    executions: tuple[Execution, ...] = ()
    verification: Verification | None = None


async def incident_view(
    store: Store,
    clock: Clock,
    id_or_key: str,
    *,
    judge: PolicyJudge | None = None,
    engine: EngineLook | None = None,
) -> IncidentView:
    """Return the view of one incident; raises `NotFound`.

    `judge` tells who may approve, `engine` what the workflow does; without them that is left out.
    """
    incident = await store.incident(id_or_key)
    record = await read_record(store, incident.id)
    now = clock.now()
    step = next_stage(record, now, refresh_s=0)
    state = (await engine([incident.id])).get(incident.id) if engine is not None else None
    where = situation(
        record,
        step,
        now,
        approvers=await _approvers(judge, record, step),
        refusal=await _refusal(store, record, step),
        engine=state,
    )
    cited = set(record.diagnosis.evidence_ids) if record.diagnosis else set()
    return IncidentView(
        incident=record.incident,
        now=where.headline,
        now_details=where.details,
        engine=state,
        alerts=tuple(await store.alerts_of(incident.id)),
        diagnosis=record.diagnosis,
        evidence=tuple(e for e in await store.evidence_of(incident.id) if e.id in cited),
        plan=record.plan,
        approval=record.approval,
        executions=record.executions,
        verification=record.verification,
    )


async def timeline(store: Store, incident_id: IncidentId) -> Sequence[AuditEvent]:
    """Return everything that happened to an incident, in order."""
    found: list[AuditEvent] = []
    while page := await store.events(
        incident_id=incident_id, after=(found[-1].sequence or 0) if found else 0
    ):
        found += page
    return found


def approvers_in_words(rulings: Sequence[Ruling], policy: Policy) -> str:
    """Return who may approve a plan with these rulings, such as `alice, bob (approver)`."""
    wanted = [set(r.approver_roles) for r in rulings if r.effect is Effect.APPROVE]
    demanding = [roles for roles in wanted if roles]
    if not demanding:
        return "anybody with a role"
    roles = sorted(set.union(*demanding))
    members = [set().union(*(policy.roles[role] for role in some)) for some in demanding]
    names = sorted(_common(members))
    named = ", ".join(names[:PEOPLE_NAMED]) or "nobody (name people under `roles`)"
    more = f" and {len(names) - PEOPLE_NAMED} more" if len(names) > PEOPLE_NAMED else ""
    if ANYBODY in names:
        return f"anybody ({', '.join(roles)})"
    return f"{named}{more} ({', '.join(roles)})"


def _common(members: Sequence[set[str]]) -> set[str]:
    """Return who is in every group; a group with everybody in it does not narrow."""
    narrow = [some for some in members if ANYBODY not in some]
    return set.intersection(*narrow) if narrow else {ANYBODY}


async def _approvers(judge: PolicyJudge | None, record: Record, step: Next) -> str:
    if judge is None or record.plan is None or step.stage is not Stage.AWAIT_APPROVAL:
        return "anybody with a role"
    return approvers_in_words(await judge.lasting_rulings(record.plan), judge.policy)


async def _refusal(store: Store, record: Record, step: Next) -> Refusal | None:
    """Return why the step that is next was not let through, if that is the last thing it met."""
    if step.stage not in (Stage.EXECUTE, Stage.ROLL_BACK):
        return None
    events = await timeline(store, record.incident.id)
    last = next((e for e in reversed(events) if e.kind.startswith("action.")), None)
    made_at: datetime | None = record.plan.made_at if record.plan else None
    if last is None or last.kind != "action.refused" or made_at is None or last.at < made_at:
        return None
    return Refusal(at=last.at, reason=last.summary.removeprefix("refused: "))
