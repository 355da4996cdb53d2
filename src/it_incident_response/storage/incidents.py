"""Incidents, their alerts, and what was seen and thought about them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from sqlalchemy import select

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import Evidence
from it_incident_response.domain.ids import IncidentId, incident_key
from it_incident_response.domain.incident import AlertLink, Incident
from it_incident_response.ports.store import (
    Events,
    IncidentFilter,
    Ingestion,
    KnownAlert,
)
from it_incident_response.storage import incident_rows, tables
from it_incident_response.storage.alert_rows import KNOWN_ALERT, known_alert
from it_incident_response.storage.audit_chain import append_events
from it_incident_response.storage.encoding import key_text, load
from it_incident_response.storage.inbox import oldest_items
from it_incident_response.storage.ingestion import SqlIngestion
from it_incident_response.storage.owned import owned_by, owned_row
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import alerts, incident_alerts
from it_incident_response.storage.work_queue import wake_all


class IncidentPart(StorePart):
    """Incidents and what belongs to them."""

    def ingestion(self, limit: int) -> AbstractAsyncContextManager[Ingestion]:
        """Open the exclusive ingestion over at most `limit` inbox items."""
        return self._ingestion(limit)

    @asynccontextmanager
    async def _ingestion(self, limit: int) -> AsyncIterator[Ingestion]:
        async with self._database.exclusive() as lock:
            async with lock.read() as connection:
                items = await oldest_items(connection, limit) if limit > 0 else []
            yield SqlIngestion(self._database, lock, self._clock, items)

    async def incident(self, id_or_key: str) -> Incident:
        """Return one incident by id, key or unique beginning of its id; raises `NotFound`."""
        async with self._database.read() as connection:
            return await incident_rows.found(connection, id_or_key)

    async def incidents(self, which: IncidentFilter) -> list[Incident]:
        """Return the matching incidents, newest first."""
        async with self._database.read() as connection:
            bodies = await connection.scalars(incident_rows.filtered(self._database, which))
            return [load(Incident, body) for body in bodies.all()]

    async def save_incident(
        self, incident: Incident, events: Events, *, wake_at: datetime | None = None
    ) -> Incident:
        """Store a changed incident whose `version` is the one read; returns it with the next.

        `wake_at` makes it due then, in the same transaction.
        """
        async with self._database.changing_incidents() as connection:
            saved = await incident_rows.replace_incident(connection, incident)
            if wake_at is not None:
                await wake_all(connection, self._database, [incident.id], wake_at)
            await append_events(connection, self._database, events)
        return saved

    async def create_incident(
        self, incident: Incident, events: Events, *, wake_at: datetime | None = None
    ) -> Incident:
        """Store an incident made by hand; its `key` is replaced by the next free one.

        `wake_at` makes it due then, in the same transaction.
        """
        async with self._database.changing_incidents() as connection:
            number = await incident_rows.last_number(connection) + 1
            created = incident.model_copy(update={"key": incident_key(number)})
            await incident_rows.insert_incidents(connection, self._database, [created])
            await incident_rows.set_last_number(connection, number)
            if wake_at is not None:
                await wake_all(connection, self._database, [created.id], wake_at)
            await append_events(connection, self._database, events)
        return created

    async def alerts_of(self, incident_id: IncidentId) -> list[tuple[AlertLink, Alert]]:
        """Return the alerts of an incident with the reason each joined, oldest first.

        An alert that moved on to another incident is shown as it was when it left.
        """
        columns = incident_alerts.c
        query = select(columns.link, columns.body)
        query = query.where(columns.incident_id == key_text(incident_id))
        query = query.order_by(columns.joined_at, columns.fingerprint)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [(load(AlertLink, row.link), load(Alert, row.body)) for row in rows]

    async def alerts(self, *, firing_only: bool, limit: int) -> list[KnownAlert]:
        """Return alerts, the most recently received first."""
        query = KNOWN_ALERT.order_by(alerts.c.received_at.desc(), alerts.c.fingerprint)
        if firing_only:
            query = query.where(alerts.c.is_firing == 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(limit))).all()
        return [known_alert(row) for row in rows]

    async def add_evidence(self, evidence: Sequence[Evidence], events: Events) -> None:
        """Store evidence."""
        rows = [owned_row(item, observed_at=item.observed_at) for item in evidence]
        async with self._database.write() as connection:
            await self._database.insert(connection, tables.evidence, rows)
            await append_events(connection, self._database, events)

    async def evidence_of(self, incident_id: IncidentId) -> list[Evidence]:
        """Return all evidence of an incident, oldest first."""
        return await owned_by(self._database, tables.evidence, Evidence, incident_id)

    async def add_diagnosis(self, diagnosis: Diagnosis, events: Events) -> None:
        """Store a diagnosis."""
        row = owned_row(diagnosis, made_at=diagnosis.made_at)
        async with self._database.write() as connection:
            await self._database.insert(connection, tables.diagnoses, [row])
            await append_events(connection, self._database, events)

    async def diagnoses_of(self, incident_id: IncidentId) -> list[Diagnosis]:
        """Return all diagnoses of an incident, oldest first."""
        return await owned_by(self._database, tables.diagnoses, Diagnosis, incident_id)
