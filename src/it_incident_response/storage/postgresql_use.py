"""Whether another iir uses a PostgreSQL database."""

from sqlalchemy import text

from it_incident_response.errors import Conflict
from it_incident_response.storage.database import Database

_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'iir' AND pid <> pg_backend_pid()"
)


async def require_no_other_session(database: Database) -> None:
    """Raise `Conflict` if another iir is connected; for a store that has used one connection."""
    async with database.read() as connection:
        others = await connection.scalar(_OTHERS) or 0
    if others:
        raise Conflict(
            f"{database.name} is in use by another iir ({others} connections): nothing was changed",
            hint="stop every `iir serve` and `iir worker`, then mark the record again",
        )
