"""Posts of which there is only one among all processes of a database."""

from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.ports.store import Lease
from it_incident_response.storage.database import AnyRow
from it_incident_response.storage.encoding import key_text
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import leases

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class LeasePart(StorePart):
    """The posts."""

    async def hold_lease(
        self, name: str, *, holder: str, now: datetime, until: datetime, detail: str = ""
    ) -> Lease:
        """Take the post if it is free or lapsed by `now`, or prolong one's own.

        Returns who has it now; the token is larger with every change of holder.
        """
        vacant = {"name": key_text(name), "until": _NEVER, "token": 0, "detail": ""}
        async with self._database.write() as connection:
            await self._database.upsert(connection, leases, [vacant], replaced=())
            # The row stays locked until the commit: of two who want it, the second sees the first.
            query = select(leases).where(leases.c.name == key_text(name))
            row = (await connection.execute(query.with_for_update())).one()
            is_mine = row.holder == key_text(holder)
            if row.holder is not None and not is_mine and row.until > now:
                return _lease(row)
            taken = {
                "holder": key_text(holder),
                "until": until,
                "token": row.token if is_mine else row.token + 1,
                "detail": key_text(detail),
            }
            await _set(connection, name, taken)
        return Lease(name=name, holder=holder, until=until, token=taken["token"], detail=detail)

    async def drop_lease(self, name: str, *, holder: str) -> None:
        """Give the post back; no error if another has it."""
        free = {"holder": None, "until": _NEVER, "detail": ""}
        async with self._database.write() as connection:
            mine = update(leases).where(
                leases.c.name == key_text(name), leases.c.holder == key_text(holder)
            )
            await connection.execute(mine.values(free))

    async def lease(self, name: str) -> Lease | None:
        """Return who had the post last, lapsed or not; None if nobody or it was given back."""
        query = select(leases).where(leases.c.name == key_text(name))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None or row.holder is None else _lease(row)


async def _set(connection: AsyncConnection, name: str, values: dict[str, object]) -> None:
    await connection.execute(update(leases).where(leases.c.name == key_text(name)).values(values))


def _lease(row: AnyRow) -> Lease:
    return Lease(
        name=row.name, holder=row.holder, until=row.until, token=row.token, detail=row.detail
    )
