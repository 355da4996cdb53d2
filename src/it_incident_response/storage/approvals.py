"""Plans and the decisions on them."""

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import Conflict, NotFound
from it_incident_response.ports.store import Events
from it_incident_response.storage.audit_chain import append_events
from it_incident_response.storage.encoding import dump, key_text, load
from it_incident_response.storage.owned import owned_by, owned_row
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import approvals, plans
from it_incident_response.storage.work_queue import wake_all

_ID_START = re.compile(r"[0-9a-f-]{8,36}")


class ApprovalPart(StorePart):
    """Plans and approvals."""

    async def add_plan(self, plan: Plan, approval: Approval | None, events: Events) -> None:
        """Store a plan and the request to approve it; voids the incident's pending requests."""
        async with self._database.write() as connection:
            await _void_pending(connection, plan)
            await connection.execute(insert(plans), [owned_row(plan)])
            if approval is not None:
                row = owned_row(
                    approval, status=approval.status.value, expires_at=approval.expires_at
                )
                await connection.execute(insert(approvals), [row])
            await append_events(connection, self._database, events)

    async def plan(self, plan_id: str) -> Plan:
        """Return a plan; raises `NotFound`."""
        query = select(plans.c.body).where(plans.c.id == key_text(plan_id))
        async with self._database.read() as connection:
            body = await connection.scalar(query)
        if body is None:
            raise NotFound(f"there is no plan {plan_id[:50]!r}")
        return load(Plan, body)

    async def plans_of(self, incident_id: IncidentId) -> list[Plan]:
        """Return all plans of an incident, oldest first."""
        return await owned_by(self._database, plans, Plan, incident_id)

    async def approval(self, approval_id: str) -> Approval:
        """Return a request by its id or a unique beginning of it; raises `NotFound`."""
        wanted = approval_id.strip()
        async with self._database.read() as connection:
            bodies = await _bodies(connection, approvals.c.id == key_text(wanted))
            if not bodies and _ID_START.fullmatch(wanted.lower()):
                bodies = await _bodies(connection, approvals.c.id.startswith(wanted.lower()))
        if len(bodies) == 1:
            return load(Approval, bodies[0])
        reason = "there is no" if not bodies else "there are several approvals, so no one"
        raise NotFound(
            f"{reason} approval {wanted[:50]!r}",
            hint="give its id, or a unique beginning of 8 or more characters: `iir approvals list`",
        )

    async def approvals(
        self, *, incident_id: IncidentId | None = None, status: ApprovalStatus | None = None
    ) -> list[Approval]:
        """Return matching requests, newest first."""
        query = select(approvals.c.body).order_by(approvals.c.position.desc())
        if incident_id is not None:
            query = query.where(approvals.c.incident_id == key_text(incident_id))
        if status is not None:
            query = query.where(approvals.c.status == status.value)
        async with self._database.read() as connection:
            return [load(Approval, body) for body in (await connection.scalars(query)).all()]

    async def overdue_approvals(self, now: datetime) -> list[Approval]:
        """Return pending requests whose `expires_at` has come, the longest overdue first."""
        query = select(approvals.c.body).where(
            approvals.c.status == ApprovalStatus.PENDING.value, approvals.c.expires_at <= now
        )
        query = query.order_by(approvals.c.expires_at, approvals.c.position)
        async with self._database.read() as connection:
            return [load(Approval, body) for body in (await connection.scalars(query)).all()]

    async def decide(
        self,
        approval: Approval,
        events: Events,
        *,
        expected: ApprovalStatus = ApprovalStatus.PENDING,
    ) -> None:
        """Replace a request whose status is `expected` by its decided form: compare-and-set.

        In the same transaction the incident becomes due at `decided_at`, or now if it has none.
        Raises `Conflict` if the status is another, or if the decision is on another plan than the
        request; `NotFound` if there is no such request.
        """
        query = select(approvals.c.body).where(approvals.c.id == key_text(approval.id))
        async with self._database.write() as connection:
            # The row stays locked until the commit: of two deciders the second sees the first's.
            body = await connection.scalar(query.with_for_update())
            if body is None:
                raise NotFound(f"there is no approval {approval.id[:50]!r}")
            stored = load(Approval, body)
            _require_decidable(stored, approval, expected)
            # Whoever decided may have read the request before somebody was reminded of it.
            await _replace(connection, approval.model_copy(update={"notices": stored.notices}))
            due = approval.decided_at or self._clock.now()
            await wake_all(connection, self._database, [approval.incident_id], due)
            await append_events(connection, self._database, events)


async def _bodies(connection: AsyncConnection, condition: ColumnElement[bool]) -> Sequence[str]:
    query = select(approvals.c.body).where(condition).limit(2)
    return (await connection.scalars(query)).all()


async def _void_pending(connection: AsyncConnection, plan: Plan) -> None:
    query = select(approvals.c.body).where(
        approvals.c.incident_id == key_text(plan.incident_id),
        approvals.c.status == ApprovalStatus.PENDING.value,
    )
    for body in (await connection.scalars(query.with_for_update())).all():
        voided = {
            "status": ApprovalStatus.VOIDED,
            "decided_at": plan.made_at,
            "decided_by": "system",
            "reason": f"plan {plan.id} replaced it before anybody decided",
        }
        await _replace(connection, load(Approval, body).model_copy(update=voided))


async def _replace(connection: AsyncConnection, approval: Approval) -> None:
    row = update(approvals).where(approvals.c.id == key_text(approval.id))
    values = {
        "status": approval.status.value,
        "expires_at": approval.expires_at,
        "body": dump(approval),
    }
    await connection.execute(row.values(values))


def _require_decidable(stored: Approval, decided: Approval, expected: ApprovalStatus) -> None:
    if stored.status is not expected:
        by = f" by {stored.decided_by}" if stored.decided_by else ""
        at = f" at {stored.decided_at:%Y-%m-%d %H:%M:%S} UTC" if stored.decided_at else ""
        raise Conflict(
            f"approval {stored.id} is {stored.status} already{by}{at}",
            hint=stored.reason,
        )
    if _bound_to(stored) != _bound_to(decided):
        raise Conflict(f"the decision is not on the plan that approval {stored.id} asks for")


def _bound_to(approval: Approval) -> tuple[str, str, str]:
    return approval.incident_id, approval.plan_id, approval.plan_digest
