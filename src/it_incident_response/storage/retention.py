"""Retention: removes what is old or too much, in steps short enough for the intake beside it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.ids import incident_key
from it_incident_response.ports.store import PruneReport
from it_incident_response.storage.audit_chain import append_events
from it_incident_response.storage.changes import OldChanges, old_changes, remove_old_changes
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.superseded import (
    Superseded,
    remove_superseded,
    superseded_records,
)
from it_incident_response.storage.tables import inbox_rejected
from it_incident_response.storage.victims import Victim, remove_incidents, victims

ROWS_AT_ONCE = 2_000
"""Rows removed in one transaction: some ten milliseconds. One incident is never split."""
_ROUNDS_MAX = 5
"""Attempts to get below the limit: sizes are estimated before, measured after each."""
_KEYS_LISTED = 1_000


class _Rejected(NamedTuple):
    """Rejected bodies to be removed: all that were rejected before a moment."""

    before: datetime
    bodies: int
    size_bytes: int


class _Selection:
    """What one round removes, decided before anything is removed."""

    def __init__(
        self,
        incidents: list[Victim],
        superseded: list[Superseded],
        rejected: _Rejected,
        changes: OldChanges,
    ) -> None:
        self.incidents = incidents
        self.superseded = superseded
        self.rejected = rejected.bodies
        self.rejected_before = rejected.before
        self._rejected_bytes = rejected.size_bytes
        self.changes = changes

    @property
    def is_empty(self) -> bool:
        return not (self.incidents or self.superseded or self.rejected or self.changes.rows)

    @property
    def alerts(self) -> int:
        return sum(victim.alerts for victim in self.incidents)

    @property
    def evidence(self) -> int:
        of_incidents = sum(victim.evidence for victim in self.incidents)
        return of_incidents + sum(len(part.evidence) for part in self.superseded)

    @property
    def size_bytes(self) -> int:
        of_incidents = sum(victim.size_bytes for victim in self.incidents)
        of_superseded = sum(part.size_bytes for part in self.superseded)
        return of_incidents + of_superseded + self._rejected_bytes + self.changes.size_bytes

    def event(self, older_than: datetime, max_bytes: int | None, now: datetime) -> AuditEvent:
        keys = [incident_key(victim.number) for victim in self.incidents]
        counts = {
            "incidents": len(keys),
            "alerts": self.alerts,
            "evidence": self.evidence,
            "superseded_diagnoses": sum(len(part.diagnoses) for part in self.superseded),
            "rejected_bodies": self.rejected,
            "changes": self.changes.rows,
        }
        return AuditEvent(
            at=now,
            actor="system",
            kind="retention.pruned",
            summary="retention removes "
            + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()),
            details={
                **counts,
                "older_than": older_than.isoformat(),
                "max_bytes": max_bytes,
                "keys": keys[:_KEYS_LISTED],
                "keys_not_listed": max(0, len(keys) - _KEYS_LISTED),
            },
        )


class RetentionPart(StorePart):
    """Bounded growth."""

    async def prune(
        self, *, older_than: datetime, max_bytes: int | None, now: datetime, dry_run: bool
    ) -> PruneReport:
        """Remove what is older than `older_than`, then the oldest beyond `max_bytes`.

        The audit event is written before anything is removed: a crash in the middle leaves more
        said than done, and the next run does the rest.
        """
        before = size = await self._database.used_bytes()
        done: list[_Selection] = []
        for _ in range(_ROUNDS_MAX):
            excess = 0 if max_bytes is None else max(0, size - max_bytes)
            selection = await self._selection(older_than, excess, now)
            if selection.is_empty:
                break
            done.append(selection)
            if dry_run:
                size = max(0, size - selection.size_bytes)
                break
            await self._remove(selection, selection.event(older_than, max_bytes, now))
            await self._database.reclaim()
            size = await self._database.used_bytes()
            if max_bytes is None or size <= max_bytes:
                break
        return PruneReport(
            incidents=sum(len(part.incidents) for part in done),
            alerts=sum(part.alerts for part in done),
            evidence=sum(part.evidence for part in done),
            inbox_rejected=sum(part.rejected for part in done),
            changes=sum(part.changes.rows for part in done),
            bytes_before=before,
            bytes_after=size,
        )

    async def _selection(self, older_than: datetime, excess: int, now: datetime) -> _Selection:
        async with self._database.read() as connection:
            # What nobody could read is the first to go when space is short.
            rejected = await self._rejected(connection, now if excess else older_than)
            changes = await old_changes(connection, self._database, older_than)
            wanted = max(0, excess - rejected.size_bytes - changes.size_bytes)
            chosen = await victims(connection, self._database, older_than, wanted)
            going = {victim.id for victim in chosen}
            superseded = await superseded_records(connection, self._database, older_than, going)
        return _Selection(chosen, superseded, rejected, changes)

    async def _rejected(self, connection: AsyncConnection, before: datetime) -> _Rejected:
        size = func.sum(self._database.stored_bytes(inbox_rejected.c.body))
        query = select(func.count(), func.coalesce(size, 0))
        query = query.where(inbox_rejected.c.rejected_at < before)
        bodies, size_bytes = (await connection.execute(query)).one()
        return _Rejected(before, bodies, int(size_bytes))

    async def _remove(self, selection: _Selection, event: AuditEvent) -> None:
        async with self._database.write() as connection:
            await append_events(connection, self._database, [event])
        while await self._remove_rejected(selection.rejected_before):
            pass
        while await self._remove_changes(selection.changes):
            pass
        for batch in _batches(selection.incidents):
            async with self._database.changing_incidents() as connection:
                await remove_incidents(connection, batch)
        for part in selection.superseded:
            async with self._database.write() as connection:
                await remove_superseded(connection, part)

    async def _remove_changes(self, old: OldChanges) -> bool:
        """Remove some; False once there is none left."""
        async with self._database.write() as connection:
            return await remove_old_changes(connection, old.before)

    async def _remove_rejected(self, before: datetime) -> bool:
        """Remove some; False once there is none left."""
        columns = inbox_rejected.c
        some = select(columns.id).where(columns.rejected_at < before).limit(ROWS_AT_ONCE)
        async with self._database.write() as connection:
            return await _removed(connection, (await connection.scalars(some)).all())


async def _removed(connection: AsyncConnection, ids: Sequence[int]) -> bool:
    if ids:
        await connection.execute(delete(inbox_rejected).where(inbox_rejected.c.id.in_(ids)))
    return bool(ids)


def _batches(chosen: list[Victim]) -> Iterator[list[Victim]]:
    batch: list[Victim] = []
    rows = 0
    for victim in chosen:
        if batch and rows + victim.rows > ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
        batch.append(victim)
        rows += victim.rows
    if batch:
        yield batch
