"""What a record that was restored from a backup may not be believed: it is older than reality.

A step may have run since, a request may have been decided, an incident may have been handled; none
of it is on record. So nothing that was allowed then is allowed now, and people look first.
"""

from collections.abc import Sequence
from datetime import datetime

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.model import Value
from it_incident_response.ports.store import IncidentFilter, Store
from it_incident_response.storage.backup_archive import Report

SYSTEM = "system"
_PAGE = 500
_INVESTIGATING = IncidentStatus.INVESTIGATING
_OPEN = tuple(status for status in IncidentStatus if status.is_open)
_UNENDED = (StepState.INTENDED, StepState.STARTED)


class Marked(Value):
    """What was taken back, and given to people."""

    approvals_voided: int
    steps_in_doubt: int
    incidents_handed_over: int


class AfterRestore:
    """Marks a restored record; doing it again, after a crash in the middle, does no harm."""

    def __init__(self, store: Store, *, now: datetime, taken_at: datetime, report: Report) -> None:
        self._store = store
        self._now = now
        self._report = report
        self._reason = (
            f"restored from a backup of {taken_at:%Y-%m-%d %H:%M:%S} UTC: "
            "what was done since is not on record"
        )

    async def mark(self, *, by: str, source: str) -> Marked:
        """Void what was allowed, doubt what was begun, hand over what is open, and wake it.

        `source` says what was restored, `by` who did it.
        """
        summary = f"the record was {self._reason}"
        event = self._event("store.restored", summary, details={"source": source})
        await self._store.append([event.model_copy(update={"actor": f"user:{by}"})])
        steps = await self._doubt_steps()
        approvals = await self._void_approvals()
        incidents = await self._hand_over_incidents()
        await self._store.wake_open(self._now)
        return Marked(
            approvals_voided=approvals, steps_in_doubt=steps, incidents_handed_over=incidents
        )

    async def _doubt_steps(self) -> int:
        rows = await self._store.executions(states=_UNENDED)
        for number, row in enumerate(rows, start=1):
            doubted = row.model_copy(
                update={
                    "state": StepState.IN_DOUBT,
                    "ended_at": self._now,
                    "error": self._reason,
                }
            )
            summary = f"step {row.step} is in doubt: {self._reason}"
            details = {"key": row.key, "plan": row.plan_id, "was": row.state.value}
            event = self._event("action.in_doubt", summary, row.incident_id, details)
            await self._store.advance(doubted, row.state, [event])
            self._report("journal", number, len(rows))
        return len(rows)

    async def _void_approvals(self) -> int:
        pending = list(await self._store.approvals(status=ApprovalStatus.PENDING))
        approved = await self._store.approvals(status=ApprovalStatus.APPROVED)
        going = pending + [one for one in approved if await self._is_unfinished(one)]
        for number, approval in enumerate(going, start=1):
            voided = approval.model_copy(
                update={
                    "status": ApprovalStatus.VOIDED,
                    "decided_at": self._now,
                    "decided_by": SYSTEM,
                    "decided_via": "restore",
                    "reason": self._reason,
                }
            )
            summary = f"plan voided, it was {approval.status}: {self._reason}"
            details = {"approval": approval.id, "plan": approval.plan_id}
            event = self._event("approval.voided", summary, approval.incident_id, details)
            await self._store.decide(voided, [event], expected=approval.status)
            self._report("approvals", number, len(going))
        return len(going)

    async def _is_unfinished(self, approval: Approval) -> bool:
        plan = await self._store.plan(approval.plan_id)
        rows = await self._store.executions_of(approval.incident_id)
        return {step.number for step in plan.steps} != _finished(rows, plan.id)

    async def _hand_over_incidents(self) -> int:
        ids = await self._open_incidents()
        for number, incident_id in enumerate(ids, start=1):
            incident = await self._store.incident(incident_id)
            summary = f"handed to a human: {self._reason}"
            event = self._event("incident.escalated", summary, incident.id)
            await self._store.save_incident(self._afresh(incident), [event], wake_at=self._now)
            self._report("incidents", number, len(ids))
        return len(ids)

    async def _open_incidents(self) -> list[IncidentId]:
        ids: list[IncidentId] = []
        while True:
            last = ids[-1] if ids else None
            which = IncidentFilter(statuses=_OPEN, limit=_PAGE, before=last)
            page = await self._store.incidents(which)
            ids += [incident.id for incident in page]
            if len(page) < _PAGE:
                return ids

    def _afresh(self, incident: Incident) -> Incident:
        """Return the incident in a new episode, with a halt that only a new diagnosis ends."""
        if incident.status is _INVESTIGATING:
            begun = incident.model_copy(update={"episode": incident.episode + 1})
        else:
            begun = incident.moved_to(_INVESTIGATING, self._now)
        taken = {"escalation": self._reason, "halt": self._reason, "updated_at": self._now}
        return begun.model_copy(update=taken)

    def _event(
        self,
        kind: str,
        summary: str,
        incident_id: str | None = None,
        details: dict[str, str] | None = None,
    ) -> AuditEvent:
        return AuditEvent(
            at=self._now,
            actor=SYSTEM,
            kind=kind,
            incident_id=incident_id,
            summary=summary,
            details=dict(details or {}),
        )


def _finished(rows: Sequence[Execution], plan_id: str) -> set[int]:
    return {
        row.step
        for row in rows
        if row.plan_id == plan_id and not row.is_undo and row.state is StepState.FINISHED
    }
