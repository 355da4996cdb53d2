"""The audit trail: numbered, chained by SHA-256, checked from the first event to the last."""

import hashlib

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.model import Value
from it_incident_response.errors import StoreUnavailable
from it_incident_response.ports.store import ChainReport, Events
from it_incident_response.storage.database import AnyRow, Database
from it_incident_response.storage.encoding import canonical, key_text, load
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import audit, audit_head

GENESIS_HASH = "0" * 64
"""What the first event has in place of the hash of an event before it."""
_EVENTS_AT_ONCE = 1_000


class _Break(Value):
    at: int
    reason: str


async def append_events(connection: AsyncConnection, database: Database, events: Events) -> None:
    """Append to the chain as the last thing a transaction does: it locks the head until it ends."""
    if not events:
        return
    query = select(audit_head.c.events, audit_head.c.hash).where(audit_head.c.id == 1)
    count, previous = (await connection.execute(query.with_for_update())).one()
    rows = []
    for sequence, event in enumerate(events, start=count + 1):
        body = _body(event, sequence, previous)
        previous = _hash(body)
        rows.append(
            {
                "sequence": sequence,
                "incident_id": _owner(event),
                "hash": previous,
                "body": body.decode(),
            }
        )
    await database.insert(connection, audit, rows)
    head = {"events": count + len(rows), "hash": previous}
    await connection.execute(update(audit_head).where(audit_head.c.id == 1).values(head))


def _body(event: AuditEvent, sequence: int, previous: str) -> bytes:
    content = event.model_dump(exclude={"hash"})
    return canonical(content | {"sequence": sequence, "previous_hash": previous})


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class AuditPart(StorePart):
    """The audit trail."""

    async def append(self, events: Events) -> None:
        """Append events."""
        async with self._database.write() as connection:
            await append_events(connection, self._database, events)

    async def events(
        self, *, incident_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[AuditEvent]:
        """Return events in order, from the one after sequence `after`."""
        query = select(audit).where(audit.c.sequence > after)
        if incident_id is not None:
            query = query.where(audit.c.incident_id == key_text(incident_id))
        query = query.order_by(audit.c.sequence).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [load(AuditEvent, row.body).model_copy(update={"hash": row.hash}) for row in rows]

    async def last_sequence(self) -> int:
        """Return the sequence of the last event, 0 if there is none."""
        return (await self._head())[0]

    async def verify_chain(self) -> ChainReport:
        """Recompute every hash, some at a time, so that it holds up nobody."""
        count, head_hash = await self._head()
        sequence, previous = 0, GENESIS_HASH
        while sequence < count:
            rows = await self._portion(sequence, count)
            if not rows:
                reason = f"missing: the trail ends here, but {count} events were written"
                return _broken(count, _Break(at=sequence + 1, reason=reason))
            for row in rows:
                if flaw := _flaw(row, sequence + 1, previous):
                    return _broken(count, flaw)
                sequence, previous = sequence + 1, row.hash
        if previous != head_hash:
            reason = "it is not the event that was written last"
            return _broken(count, _Break(at=max(count, 1), reason=reason))
        return await self._without_surplus(count)

    async def _head(self) -> tuple[int, str]:
        query = select(audit_head.c.events, audit_head.c.hash).where(audit_head.c.id == 1)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        # Without its head the trail says nothing of its length: the check fails at event 1.
        return (0, "missing") if row is None else (row.events, row.hash)

    async def _portion(self, after: int, count: int) -> list[AnyRow]:
        query = select(audit).where(audit.c.sequence > after, audit.c.sequence <= count)
        query = query.order_by(audit.c.sequence).limit(_EVENTS_AT_ONCE)
        async with self._database.read() as connection:
            return list((await connection.execute(query)).all())

    async def _without_surplus(self, count: int) -> ChainReport:
        """Events behind the last one that was written are forged; append moves both in one."""
        query = select(
            audit_head.c.events, select(func.max(audit.c.sequence)).scalar_subquery().label("last")
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one()
        if (row.last or 0) > row.events:
            reason = "it was added behind the last event that was written"
            return _broken(count, _Break(at=row.events + 1, reason=reason))
        return ChainReport(events=count, is_intact=True)


def _flaw(row: AnyRow, sequence: int, previous: str) -> _Break | None:
    """Return why a row is not the event that belongs at `sequence`."""
    if row.sequence != sequence:
        return _Break(at=sequence, reason=f"missing: event {row.sequence} follows")
    if _hash(row.body.encode()) != row.hash:
        return _Break(at=sequence, reason="its content does not give its hash: it was altered")
    try:
        event = load(AuditEvent, row.body)
    except StoreUnavailable:
        return _Break(at=sequence, reason="it is no event: it was replaced")
    if event.sequence != sequence:
        return _Break(at=sequence, reason=f"it is event {event.sequence}, moved or copied")
    if event.previous_hash != previous:
        reason = "it does not follow the event before it: one of the two was replaced"
        return _Break(at=sequence, reason=reason)
    if _owner(event) != row.incident_id:
        return _Break(at=sequence, reason="it was assigned to another incident")
    return None


def _owner(event: AuditEvent) -> str | None:
    return None if event.incident_id is None else key_text(event.incident_id)


def _broken(count: int, flaw: _Break) -> ChainReport:
    return ChainReport(events=count, is_intact=False, broken_at=flaw.at, reason=flaw.reason)
