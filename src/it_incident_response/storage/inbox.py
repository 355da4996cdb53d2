"""The inbox: bodies stored durably before anybody looks into them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.ports.store import InboxItem, RejectedItem
from it_incident_response.storage.database import ROWS_AT_ONCE, AnyRow, Database
from it_incident_response.storage.encoding import key_text
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import inbox, inbox_rejected

PORTION_BYTES = 256 * 1024
"""Bodies read in one ingestion, together: some 500 alerts, which take tens of milliseconds."""
REJECTED_BODY_BYTES = 64 * 1024
"""What is kept of a body that no reader understands."""
_REASON_LENGTH = 2_000


class InboxPart(StorePart):
    """The inbox."""

    async def accept(self, items: Sequence[tuple[str, bytes]], received_at: datetime) -> None:
        """Store (source, body) pairs in one durable transaction; on return none can be lost."""
        if not items:
            return
        bodies = [(key_text(source), body) for source, body in items]
        await self._database.append_bodies(bodies, received_at)

    async def inbox_depth(self) -> int:
        """Return how many bodies wait."""
        async with self._database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(inbox)) or 0

    async def rejected_items(self, limit: int = 100) -> list[RejectedItem]:
        """Return bodies that no reader understood, the last rejected first."""
        query = select(inbox_rejected).order_by(inbox_rejected.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [RejectedItem.model_validate(dict(row._mapping)) for row in rows]


async def oldest_items(connection: AsyncConnection, limit: int) -> list[InboxItem]:
    """Return at most `limit` items and `PORTION_BYTES` bytes, but always one if there is any."""
    sizes = select(inbox.c.id, func.length(inbox.c.body)).order_by(inbox.c.id).limit(limit)
    chosen: list[int] = []
    total = 0
    for item, size in (await connection.execute(sizes)).all():
        total += size
        if chosen and total > PORTION_BYTES:
            break
        chosen.append(item)
    rows: list[AnyRow] = []
    for start in range(0, len(chosen), ROWS_AT_ONCE):
        portion = inbox.c.id.in_(chosen[start : start + ROWS_AT_ONCE])
        rows += (await connection.execute(select(inbox).where(portion))).all()
    items = [InboxItem.model_construct(**row._mapping) for row in rows]
    return sorted(items, key=lambda item: item.id)


async def remove_items(
    connection: AsyncConnection,
    database: Database,
    items: Sequence[InboxItem],
    rejected: Sequence[tuple[int, str]],
    now: datetime,
) -> None:
    """Take items out of the inbox, keeping the beginnings of the rejected ones."""
    by_id = {item.id: item for item in items}
    rows = [
        {
            "id": item.id,
            "source": item.source,
            "received_at": item.received_at,
            "rejected_at": now,
            "reason": key_text(reason[:_REASON_LENGTH]),
            "size_bytes": len(item.body),
            "body": item.body[:REJECTED_BODY_BYTES],
        }
        for item, reason in ((by_id[number], reason) for number, reason in rejected)
    ]
    await database.insert(connection, inbox_rejected, rows)
    ids = list(by_id)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        portion = inbox.c.id.in_(ids[start : start + ROWS_AT_ONCE])
        await connection.execute(delete(inbox).where(portion))
