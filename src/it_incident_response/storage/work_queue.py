"""The work queue: which incidents are due and, by lease, who has them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.ids import IncidentId
from it_incident_response.storage.database import ROWS_AT_ONCE, Columns, Database
from it_incident_response.storage.encoding import key_text
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import Moment, incidents, work


async def wake_all(
    connection: AsyncConnection, database: Database, which: Sequence[IncidentId], at: datetime
) -> None:
    """Make incidents due at `at`, or earlier if they are due earlier already.

    By one statement, since a release may remove the row between a look at it and its change.
    """
    ids = sorted({key_text(incident) for incident in which})
    rows = [{"incident_id": incident, "due_at": at} for incident in ids]
    await database.upsert(connection, work, rows, ["due_at"], _is_earlier)


def _is_earlier(wanted: Columns) -> ColumnElement[bool]:
    return or_(work.c.due_at.is_(None), work.c.due_at > wanted.due_at)


class WorkPart(StorePart):
    """The work queue."""

    async def wake(self, incident_id: IncidentId, at: datetime) -> None:
        """Make the incident due at `at`, or earlier if it is due earlier already.

        Raises `Conflict` if there is no such incident (any more).
        """
        async with self._database.write() as connection:
            await wake_all(connection, self._database, [incident_id], at)

    async def wake_open(self, at: datetime) -> int:
        """Make every open incident due at `at`, or earlier if it is already; returns how many."""
        is_open = incidents.c.ended_at.is_(None)
        due = select(incidents.c.id.label("incident_id"), literal(at, Moment()).label("due_at"))
        due = due.where(is_open).order_by(incidents.c.id)
        # Under the incident lock: an ingestion that wakes the same incidents in another order
        # could otherwise wait for us while we wait for it.
        async with self._database.changing_incidents() as connection:
            await self._database.upsert_from(connection, work, due, ["due_at"], _is_earlier)
            count = select(func.count()).select_from(incidents).where(is_open)
            return await connection.scalar(count) or 0

    async def claim_due(
        self, now: datetime, *, worker: str, lease_s: float, limit: int
    ) -> list[IncidentId]:
        """Lease due incidents that no living worker has, the longest waiting first."""
        queries = _idle_and_due(now), _left_behind(now)
        async with self._database.read() as connection:
            if not await _rows(connection, [query.limit(1) for query in queries]):
                return []
        async with self._database.write() as connection:
            # Rows that another worker is just taking are skipped, not waited for.
            taking = [query.limit(limit).with_for_update(skip_locked=True) for query in queries]
            found = sorted(await _rows(connection, taking), key=lambda row: (row.since, row[0]))
            claimed = [row.incident_id for row in found[:limit]]
            # What it is due for is being done now; a later wake-up stays for afterwards.
            later = case((work.c.due_at > now, work.c.due_at))
            until = now + timedelta(seconds=lease_s)
            values = {"due_at": later, "worker": key_text(worker), "leased_until": until}
            for start in range(0, len(claimed), ROWS_AT_ONCE):
                portion = work.c.incident_id.in_(claimed[start : start + ROWS_AT_ONCE])
                await connection.execute(update(work).where(portion).values(values))
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


def _idle_and_due(now: datetime) -> Select[*tuple[Any, ...]]:
    query = select(work.c.incident_id, work.c.due_at.label("since"))
    query = query.where(work.c.worker.is_(None), work.c.due_at <= now)
    return query.order_by(work.c.due_at, work.c.incident_id)


def _left_behind(now: datetime) -> Select[*tuple[Any, ...]]:
    since = func.coalesce(work.c.due_at, work.c.leased_until).label("since")
    query = select(work.c.incident_id, since)
    query = query.where(work.c.worker.is_not(None), work.c.leased_until <= now)
    return query.order_by(since, work.c.incident_id)


async def _rows(
    connection: AsyncConnection, queries: Sequence[Select[*tuple[Any, ...]]]
) -> list[Any]:
    return [row for query in queries for row in (await connection.execute(query)).all()]


def _is_mine(incident_id: IncidentId, worker: str) -> ColumnElement[bool]:
    return and_(work.c.incident_id == key_text(incident_id), work.c.worker == key_text(worker))
