"""Deploys and other changes as they were told us."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.storage.database import ROWS_AT_ONCE, Database, rows_in
from it_incident_response.storage.encoding import dump, key_text, load
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import changes

CHANGES_KEPT = 20_000
"""Beyond it retention removes the oldest: about 40 MB, months of a busy company's deploys."""


class ChangePart(StorePart):
    """The changes."""

    async def add_changes(self, told: Sequence[Change], received_at: datetime) -> None:
        """Store changes; of one `change_id` the one with the latest `at` stays."""
        latest = {key_text(c.change_id): c for c in sorted(told, key=lambda change: change.at)}
        rows = {
            key: {"change_id": key, "at": c.at, "received_at": received_at, "body": dump(c)}
            for key, c in latest.items()
        }
        if not rows:
            return
        async with self._database.write() as connection:
            query = select(changes.c.change_id, changes.c.body)
            for known in await rows_in(connection, query, changes.c.change_id, list(rows)):
                if _is_repeated(known.body, latest[known.change_id]):
                    del rows[known.change_id]
            await self._database.upsert(
                connection,
                changes,
                list(rows.values()),
                replaced=("at", "body"),
                where=lambda given: given.at >= changes.c.at,
            )

    async def changes_within(self, window: TimeWindow, limit: int = 1000) -> Sequence[Change]:
        """Return the changes made within the window, oldest first; of more the newest ones."""
        query = select(changes.c.body).where(
            changes.c.at >= window.start, changes.c.at < window.end
        )
        return list(reversed(await self._newest(query, limit)))

    async def recent_changes(self, limit: int = 100) -> Sequence[Change]:
        """Return changes, the last made first."""
        return await self._newest(select(changes.c.body), limit)

    async def _newest(self, query: Select[str], limit: int) -> list[Change]:
        ordered = query.order_by(changes.c.at.desc(), changes.c.change_id.desc()).limit(limit)
        async with self._database.read() as connection:
            bodies = (await connection.scalars(ordered)).all()
        return [load(Change, body) for body in bodies]


def _is_repeated(body: str, told: Change) -> bool:
    """Return whether the same was told before, at another time where the sender gives none."""
    return load(Change, body).model_copy(update={"at": told.at}) == told


class OldChanges(NamedTuple):
    """Changes to be removed: all that were received before a moment."""

    before: datetime
    rows: int
    size_bytes: int


async def old_changes(
    connection: AsyncConnection, database: Database, older_than: datetime
) -> OldChanges:
    """Return what is too old, or too much."""
    columns = changes.c
    newest = select(columns.received_at).order_by(columns.received_at.desc())
    surplus = await connection.scalar(newest.offset(CHANGES_KEPT - 1).limit(1))
    before = max(older_than, surplus) if surplus is not None else older_than
    size = func.coalesce(func.sum(database.stored_bytes(columns.body)), 0)
    query = select(func.count(), size).where(columns.received_at < before)
    count, size_bytes = (await connection.execute(query)).one()
    return OldChanges(before, count, int(size_bytes))


async def remove_old_changes(connection: AsyncConnection, before: datetime) -> bool:
    """Remove some that were received before the moment; False once there is none left."""
    columns = changes.c
    some = select(columns.change_id).where(columns.received_at < before).limit(ROWS_AT_ONCE)
    ids = (await connection.scalars(some)).all()
    if ids:
        await connection.execute(delete(changes).where(columns.change_id.in_(ids)))
    return bool(ids)
