"""Incidents as rows: what is searched and compared has a column, everything is in `body`."""

import re
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.ids import parse_incident_key
from it_incident_response.domain.incident import Incident
from it_incident_response.errors import Conflict, NotFound
from it_incident_response.ports.store import IncidentFilter
from it_incident_response.storage.database import Database
from it_incident_response.storage.encoding import dump, key_text, load
from it_incident_response.storage.tables import counters, incidents

INCIDENT_NUMBER = "incident_number"
_KEY_LENGTH_MAX = 40
"""Beyond it Python refuses to read the number (and PostgreSQL to compare it)."""
_ID_START = re.compile(r"[0-9a-f-]{8,36}")


def row_of(incident: Incident) -> dict[str, Any]:
    """Return the row that stores an incident; raises `Conflict` if its key is none of ours."""
    number = parse_incident_key(incident.key)
    if number is None:
        raise Conflict(f"{incident.key!r} is no incident key", hint="keys look like INC-000123")
    searched = (incident.key, incident.title, incident.description, *incident.affected_systems)
    return {
        "id": key_text(incident.id),
        "number": number,
        "version": incident.version,
        "status": incident.status.value,
        "severity": incident.severity.value,
        "assignee": None if incident.assignee is None else key_text(incident.assignee),
        "ended_at": _ended_at(incident),
        "search_text": key_text("\n".join(searched).casefold()),
        "body": dump(incident),
    }


def _ended_at(incident: Incident) -> datetime | None:
    if incident.status.is_open:
        return None
    return incident.closed_at or incident.resolved_at or incident.updated_at


async def insert_incidents(
    connection: AsyncConnection, database: Database, new: list[Incident]
) -> None:
    """Store new incidents."""
    await database.insert(connection, incidents, [row_of(incident) for incident in new])


async def replace_incident(connection: AsyncConnection, incident: Incident) -> Incident:
    """Store a changed incident under the next version; raises `Conflict` or `NotFound`."""
    saved = incident.model_copy(update={"version": incident.version + 1})
    is_as_read = (incidents.c.id == key_text(incident.id)) & (
        incidents.c.version == incident.version
    )
    row = row_of(saved)
    del row["id"]
    done = await connection.execute(update(incidents).where(is_as_read).values(row))
    if done.rowcount != 1:
        await _refuse(connection, incident)
    return saved


async def _refuse(connection: AsyncConnection, incident: Incident) -> None:
    query = select(incidents.c.version).where(incidents.c.id == key_text(incident.id))
    stored = await connection.scalar(query)
    if stored is None:
        raise NotFound(f"incident {incident.key} is not in the store (any more)")
    raise Conflict(
        f"incident {incident.key} was changed meanwhile: it has version {stored}, "
        f"not {incident.version}",
        hint="read it again and repeat the change",
    )


async def last_number(connection: AsyncConnection) -> int:
    """Return the incident number that was given out last; 0 at the beginning."""
    query = select(counters.c.value).where(counters.c.name == INCIDENT_NUMBER)
    number: int = (await connection.execute(query)).scalar_one()
    return number


async def set_last_number(connection: AsyncConnection, number: int) -> None:
    """Remember the number given out last; only under the incident lock."""
    counter = update(counters).where(counters.c.name == INCIDENT_NUMBER)
    await connection.execute(counter.values(value=number))


async def found(connection: AsyncConnection, id_or_key: str) -> Incident:
    """Return the incident of that key, id or unique beginning of an id; raises `NotFound`."""
    wanted = id_or_key.strip()
    number = parse_incident_key(wanted) if len(wanted) <= _KEY_LENGTH_MAX else None
    if number is not None:
        rows = await _bodies(connection, incidents.c.number == min(number, 2**63 - 1))
    else:
        rows = await _bodies(connection, incidents.c.id == key_text(wanted))
        if not rows and _ID_START.fullmatch(wanted.lower()):
            rows = await _bodies(connection, incidents.c.id.startswith(wanted.lower()))
    return _the_one(rows, wanted)


async def _bodies(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[str]:
    query = select(incidents.c.body).where(condition).order_by(incidents.c.id).limit(3)
    return list((await connection.scalars(query)).all())


def _the_one(bodies: list[str], wanted: str) -> Incident:
    if len(bodies) == 1:
        return load(Incident, bodies[0])
    shown = wanted if len(wanted) <= 50 else f"{wanted[:50]}..."
    if not bodies:
        raise NotFound(f"there is no incident {shown!r}", hint="`iir incidents list` shows them")
    keys = ", ".join(load(Incident, body).key for body in bodies)
    raise NotFound(f"several incidents begin with {shown!r}: {keys}...", hint="give the key")


def filtered(database: Database, which: IncidentFilter) -> Select[str]:
    """Return the query for the bodies that match, newest first."""
    query = select(incidents.c.body)
    if which.statuses:
        query = query.where(incidents.c.status.in_([s.value for s in which.statuses]))
    if which.severities:
        query = query.where(incidents.c.severity.in_([s.value for s in which.severities]))
    if which.assignee is not None:
        query = query.where(incidents.c.assignee == key_text(which.assignee))
    if which.before is not None:
        # By number: ids begin with a time, and the clock may have been set back since.
        known = select(incidents.c.number).where(incidents.c.id == key_text(which.before))
        number = known.scalar_subquery()
        is_gone = and_(number.is_(None), incidents.c.id < key_text(which.before))
        query = query.where(or_(incidents.c.number < number, is_gone))
    if which.text:
        needle = key_text(which.text.casefold())
        query = query.where(database.contains(incidents.c.search_text, needle))
    return query.order_by(incidents.c.number.desc()).limit(which.limit)
