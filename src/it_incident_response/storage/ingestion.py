"""The ingestion: reads under the incident lock, then writes what correlation decided at once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.ids import parse_incident_key
from it_incident_response.domain.incident import Incident
from it_incident_response.errors import Conflict
from it_incident_response.ports.clock import Clock
from it_incident_response.ports.store import InboxItem, IngestOutcome, KnownAlert
from it_incident_response.storage.alert_rows import (
    KNOWN_ALERT,
    AlertRows,
    known_alert,
)
from it_incident_response.storage.audit_chain import append_events
from it_incident_response.storage.database import ROWS_AT_ONCE, Database, Exclusive, rows_in
from it_incident_response.storage.encoding import key_text, load
from it_incident_response.storage.inbox import remove_items
from it_incident_response.storage.incident_rows import (
    insert_incidents,
    last_number,
    row_of,
    set_last_number,
)
from it_incident_response.storage.tables import alerts, incidents
from it_incident_response.storage.work_queue import wake_all

_CACHED_LENGTH_MAX = 32_768
_CACHED_INCIDENTS = 256
"""Open incidents are read by each ingestion, and few of them change between two."""

_cached_incident = lru_cache(maxsize=_CACHED_INCIDENTS)(partial(load, Incident))


def _incident(body: str) -> Incident:
    return _cached_incident(body) if len(body) <= _CACHED_LENGTH_MAX else load(Incident, body)


class SqlIngestion:
    """One ingestion: valid while its block is open, and for one `commit`."""

    def __init__(
        self, database: Database, lock: Exclusive, clock: Clock, items: Sequence[InboxItem]
    ) -> None:
        self.items = items
        self._database = database
        self._lock = lock
        self._clock = clock
        self._last_number: int | None = None
        self._is_committed = False

    async def known_alerts(self, fingerprints: Sequence[str]) -> Mapping[str, KnownAlert]:
        """Return what is stored under these fingerprints."""
        wanted = [key_text(fingerprint) for fingerprint in fingerprints]
        known: dict[str, KnownAlert] = {}
        async with self._lock.read() as connection:
            # By portions, so that other tasks have their turn between them.
            for start in range(0, len(wanted), ROWS_AT_ONCE):
                portion = wanted[start : start + ROWS_AT_ONCE]
                rows = await rows_in(connection, KNOWN_ALERT, alerts.c.fingerprint, portion)
                known |= {row.fingerprint: known_alert(row) for row in rows}
        return known

    async def candidates(self, since: datetime) -> list[Incident]:
        """Return every open incident, and those resolved or closed after `since`, oldest first."""
        query = select(incidents.c.body).order_by(incidents.c.number)
        query = query.where(or_(incidents.c.ended_at.is_(None), incidents.c.ended_at > since))
        async with self._lock.read() as connection:
            bodies = (await connection.scalars(query)).all()
        return [_incident(body) for body in bodies]

    async def next_incident_number(self) -> int:
        """Return the next unused incident number; used up only by a commit."""
        if self._last_number is None:
            async with self._lock.read() as connection:
                self._last_number = await last_number(connection)
        self._last_number += 1
        return self._last_number

    async def commit(self, outcome: IngestOutcome) -> None:
        """Write the outcome and take the items out of the inbox, atomically.

        Raises `Conflict`, and writes nothing, if an incident is not the one that was read.
        """
        if self._is_committed:
            raise Conflict("this ingestion was committed already")
        now = self._clock.now()
        # Beside the event loop, so that requests are answered meanwhile.
        rows = await asyncio.to_thread(AlertRows, outcome.links, outcome.alerts)
        async with self._lock.write() as connection:
            await self._write_incidents(connection, outcome.incidents)
            await rows.write(connection, self._database)
            await wake_all(connection, self._database, outcome.wake, now)
            await remove_items(connection, self._database, self.items, outcome.rejected, now)
            await append_events(connection, self._database, outcome.events)
        self._is_committed = True

    async def _write_incidents(
        self, connection: AsyncConnection, changed: Sequence[Incident]
    ) -> None:
        if not changed:
            return
        ids = [key_text(incident.id) for incident in changed]
        query = select(incidents.c.id, incidents.c.version)
        stored = {
            row.id: row.version for row in await rows_in(connection, query, incidents.c.id, ids)
        }
        new = [incident for incident in changed if key_text(incident.id) not in stored]
        old = [incident for incident in changed if key_text(incident.id) in stored]
        for incident in old:
            _require_version(incident, stored[key_text(incident.id)])
        await insert_incidents(connection, self._database, new)
        await _replace_all(connection, self._database, old)
        if numbers := [number for i in new if (number := parse_incident_key(i.key)) is not None]:
            await set_last_number(connection, max(*numbers, await last_number(connection)))


def _require_version(incident: Incident, stored: int) -> None:
    if incident.version != stored:
        raise Conflict(
            f"incident {incident.key} was changed meanwhile: it has version {stored}, "
            f"not {incident.version}",
            hint="ingest again: the bodies are still in the inbox",
        )


async def _replace_all(
    connection: AsyncConnection, database: Database, changed: Sequence[Incident]
) -> None:
    """Replace incidents whose versions were compared under the incident lock."""
    rows = {i.id: row_of(i.model_copy(update={"version": i.version + 1})) for i in changed}
    replaced = set(incidents.columns.keys()) - {"id", "number"}
    await database.upsert(connection, incidents, list(rows.values()), sorted(replaced))
