"""The work queue: which incidents are due and, by lease, who has them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.ids import IncidentId
from it_incident_response.storage.database import ROWS_AT_ONCE, Database
from it_incident_response.storage.encoding import key_text
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import work


async def wake_all(
    connection: AsyncConnection, database: Database, which: Sequence[IncidentId], at: datetime
) -> None:
    """Make incidents due at `at`, or earlier if they are due earlier already."""
    ids = sorted({key_text(incident) for incident in which})
    rows = [{"incident_id": incident, "due_at": at} for incident in ids]
    await database.upsert(connection, work, rows, replaced=())
    is_later = or_(work.c.due_at.is_(None), work.c.due_at > at)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        portion = work.c.incident_id.in_(ids[start : start + ROWS_AT_ONCE])
        await connection.execute(update(work).where(portion, is_later).values(due_at=at))


class WorkPart(StorePart):
    """The work queue."""

    async def wake(self, incident_id: IncidentId, at: datetime) -> None:
        """Make the incident due at `at`, or earlier if it is due earlier already.

        Raises `Conflict` if there is no such incident (any more).
        """
        async with self._database.write() as connection:
            await wake_all(connection, self._database, [incident_id], at)

    async def claim_due(
        self, now: datetime, *, worker: str, lease_s: float, limit: int
    ) -> list[IncidentId]:
        """Lease due incidents that no living worker has, the longest waiting first."""
        is_idle_and_due = and_(work.c.worker.is_(None), work.c.due_at <= now)
        is_left_behind = and_(work.c.worker.is_not(None), work.c.leased_until <= now)
        query = (
            select(work.c.incident_id)
            .where(or_(is_idle_and_due, is_left_behind))
            .order_by(func.coalesce(work.c.due_at, work.c.leased_until), work.c.incident_id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            if (await connection.execute(query.limit(1))).first() is None:
                return []
        async with self._database.write() as connection:
            # Rows that another worker is just taking are skipped, not waited for.
            skipping = query.with_for_update(skip_locked=True)
            claimed = list((await connection.scalars(skipping)).all())
            # What it is due for is being done now; a later wake-up stays for afterwards.
            taken = update(work).where(work.c.incident_id.in_(claimed))
            later = case((work.c.due_at > now, work.c.due_at))
            until = now + timedelta(seconds=lease_s)
            values = {"due_at": later, "worker": key_text(worker), "leased_until": until}
            await connection.execute(taken.values(values))
        return [IncidentId(incident) for incident in claimed]

    async def renew(self, incident_id: IncidentId, *, worker: str, until: datetime) -> bool:
        """Prolong the lease; False if another worker has it now, or nobody."""
        async with self._database.write() as connection:
            mine = update(work).where(_is_mine(incident_id, worker))
            return (await connection.execute(mine.values(leased_until=until))).rowcount == 1

    async def release(
        self, incident_id: IncidentId, *, worker: str, due_again_at: datetime | None
    ) -> None:
        """Give the lease back; due again at `due_again_at`, or when it was woken meanwhile.

        Without effect if the lease ran out and another worker has it.
        """
        mine = _is_mine(incident_id, worker)
        async with self._database.write() as connection:
            values = {"worker": None, "leased_until": None}
            done = await connection.execute(update(work).where(mine).values(values))
            if done.rowcount != 1:
                return
            if due_again_at is not None:
                await wake_all(connection, self._database, [incident_id], due_again_at)
            await connection.execute(
                delete(work).where(
                    work.c.incident_id == key_text(incident_id), work.c.due_at.is_(None)
                )
            )


def _is_mine(incident_id: IncidentId, worker: str) -> ColumnElement[bool]:
    return and_(work.c.incident_id == key_text(incident_id), work.c.worker == key_text(worker))
