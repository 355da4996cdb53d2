"""Which incidents retention removes, what they weigh, and their removal."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.storage.database import ROWS_AT_ONCE, Database
from it_incident_response.storage.tables import (
    OF_INCIDENT,
    alerts,
    evidence,
    incident_alerts,
    incidents,
)

ROW_OVERHEAD_BYTES = 150
"""Keys, row header and index entries of one row, roughly."""


@dataclass
class Victim:
    """An incident to be removed, with its weight."""

    id: str
    number: int
    ended_at: datetime
    alerts: int = 0
    evidence: int = 0
    rows: int = 1
    size_bytes: int = 0


async def victims(
    connection: AsyncConnection, database: Database, older_than: datetime, excess: int
) -> list[Victim]:
    """Return the incidents that ended before `older_than`, then more until `excess` is freed.

    Oldest first; none that is open, and none with an alert that fired after `older_than`: its next
    repetition would open a new one.
    """
    query = select(incidents.c.id, incidents.c.number, incidents.c.ended_at)
    query = query.where(_is_removable(older_than)).order_by(incidents.c.ended_at, incidents.c.id)
    ended = [Victim(*row) for row in (await connection.execute(query)).all()]
    chosen: list[Victim] = []
    freed = 0
    for start in range(0, len(ended), ROWS_AT_ONCE):
        portion = ended[start : start + ROWS_AT_ONCE]
        if portion[0].ended_at >= older_than and freed >= excess:
            break
        await _weigh(connection, database, portion)
        for victim in portion:
            if victim.ended_at < older_than or freed < excess:
                chosen.append(victim)
                freed += victim.size_bytes
    return chosen


def _is_removable(older_than: datetime) -> ColumnElement[bool]:
    still_fires = exists().where(
        alerts.c.incident_id == incidents.c.id,
        alerts.c.is_firing == 1,
        alerts.c.received_at >= older_than,
    )
    return and_(incidents.c.ended_at.is_not(None), not_(still_fires))


async def _weigh(connection: AsyncConnection, database: Database, portion: list[Victim]) -> None:
    by_id = {victim.id: victim for victim in portion}
    own = select(incidents.c.id, database.stored_bytes(incidents.c.body))
    for row in (await connection.execute(own.where(incidents.c.id.in_(list(by_id))))).all():
        by_id[row[0]].size_bytes += row[1] + ROW_OVERHEAD_BYTES
    for table in OF_INCIDENT:
        owner = table.c.incident_id
        size = func.sum(database.stored_bytes(table.c.body))
        query = select(owner, func.count(), size).where(owner.in_(list(by_id))).group_by(owner)
        for row in (await connection.execute(query)).all():
            victim, count = by_id[row[0]], row[1]
            victim.rows += count
            victim.size_bytes += int(row[2]) + count * ROW_OVERHEAD_BYTES
            if table is incident_alerts:
                victim.alerts = count
            elif table is evidence:
                victim.evidence = count


async def remove_incidents(connection: AsyncConnection, batch: list[Victim]) -> None:
    """Remove incidents with all that is theirs, but none that was reopened meanwhile.

    An alert that belongs to another incident as well goes over to that one.
    """
    wanted = {victim.id: victim.ended_at for victim in batch}
    query = select(incidents.c.id, incidents.c.ended_at).where(incidents.c.id.in_(list(wanted)))
    rows = (await connection.execute(query)).all()
    going = [row.id for row in rows if row.ended_at == wanted[row.id]]
    elsewhere = and_(
        incident_alerts.c.fingerprint == alerts.c.fingerprint,
        incident_alerts.c.incident_id.not_in(going),
    )
    newest_first = (
        select(incidents.c.id)
        .where(incidents.c.id == incident_alerts.c.incident_id, elsewhere)
        .order_by(incidents.c.number.desc())
    )
    latest = newest_first.limit(1).correlate(alerts).scalar_subquery()
    moved = update(alerts).where(alerts.c.incident_id.in_(going), exists().where(elsewhere))
    await connection.execute(moved.values(incident_id=latest))
    await connection.execute(delete(incidents).where(incidents.c.id.in_(going)))
