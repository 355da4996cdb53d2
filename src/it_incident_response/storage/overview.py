"""What an operator has to see at a glance, and the notes on requests that wait for people."""

from datetime import datetime

from sqlalchemy import and_, func, or_, select, update

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.ids import IncidentId
from it_incident_response.errors import Conflict, InputRejected, NotFound
from it_incident_response.ports.journal import TargetLock
from it_incident_response.ports.store import Events
from it_incident_response.ports.work import WaitingWork
from it_incident_response.storage.audit_chain import append_events
from it_incident_response.storage.encoding import dump, key_text, load
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import approvals, inbox, target_locks, work


class OverviewPart(StorePart):
    """What waits, who holds what, whom was told."""

    async def inbox_since(self) -> datetime | None:
        """Return when the body that waits longest was received; None if none waits."""
        async with self._database.read() as connection:
            found: datetime | None = await connection.scalar(select(func.min(inbox.c.received_at)))
        return found

    async def work_backlog(self, now: datetime, *, limit: int) -> list[WaitingWork]:
        """Return what `claim_due` would lease, the longest waiting first; leases nothing."""
        is_idle_and_due = and_(work.c.worker.is_(None), work.c.due_at <= now)
        is_left_behind = and_(work.c.worker.is_not(None), work.c.leased_until <= now)
        since = func.coalesce(work.c.due_at, work.c.leased_until).label("since")
        query = select(work.c.incident_id, work.c.worker, since)
        query = query.where(or_(is_idle_and_due, is_left_behind)).order_by(since).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            WaitingWork(incident_id=IncidentId(row.incident_id), since=row.since, worker=row.worker)
            for row in rows
        ]

    async def target_locks(self, now: datetime) -> list[TargetLock]:
        """Return the locks that hold at `now`, by target."""
        query = select(target_locks).where(target_locks.c.until > now)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(target_locks.c.target))).all()
        return [TargetLock.model_validate(dict(row._mapping)) for row in rows]

    async def note_on_approval(
        self, approval: Approval, events: Events, *, expected: Approval
    ) -> None:
        """Replace a request that still is what `expected` says; only `notices` may differ.

        Raises `Conflict` if it was decided or noted on meanwhile, `NotFound` if there is none.
        """
        if approval.model_copy(update={"notices": expected.notices}) != expected:
            raise InputRejected(f"a note on approval {approval.id} must not change anything else")
        query = select(approvals.c.body).where(approvals.c.id == key_text(approval.id))
        async with self._database.write() as connection:
            # The row stays locked until the commit: of two that note, the second sees the first's.
            body = await connection.scalar(query.with_for_update())
            if body is None:
                raise NotFound(f"there is no approval {approval.id[:50]!r}")
            stored = load(Approval, body)
            if stored.status is not ApprovalStatus.PENDING or stored != expected:
                raise Conflict(f"approval {approval.id} was decided or noted on meanwhile")
            row = update(approvals).where(approvals.c.id == key_text(approval.id))
            await connection.execute(row.values(body=dump(approval)))
            await append_events(connection, self._database, events)
