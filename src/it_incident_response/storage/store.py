"""SqlStore: the whole store on one database, SQLite or PostgreSQL."""

from collections.abc import Mapping

from sqlalchemy import func, select

from it_incident_response.storage.approvals import ApprovalPart
from it_incident_response.storage.audit_chain import AuditPart
from it_incident_response.storage.changes import ChangePart
from it_incident_response.storage.inbox import InboxPart
from it_incident_response.storage.incidents import IncidentPart
from it_incident_response.storage.journal import JournalPart
from it_incident_response.storage.leases import LeasePart
from it_incident_response.storage.overview import OverviewPart
from it_incident_response.storage.retention import RetentionPart
from it_incident_response.storage.schema import migrate
from it_incident_response.storage.tables import metadata
from it_incident_response.storage.work_queue import WorkPart

_NOT_COUNTED = {"counters", "audit_head"}


class SqlStore(
    InboxPart,
    IncidentPart,
    WorkPart,
    LeasePart,
    ApprovalPart,
    JournalPart,
    AuditPart,
    ChangePart,
    RetentionPart,
    OverviewPart,
):
    """The store; may be used by any number of tasks of one event loop at once."""

    @property
    def name(self) -> str:
        """Which database it is, fit to be shown: without user or password."""
        return self._database.name

    async def open(self) -> None:
        """Connect and migrate the schema forward.

        Raises `StoreUnavailable` if the database cannot be reached or is damaged, `ConfigError`
        if it may not be written, is not ours or was made by a newer version.
        """
        await self._database.connect()
        try:
            await migrate(self._database)
        except BaseException:
            await self._database.close()
            raise

    async def close(self) -> None:
        """Release every connection."""
        await self._database.close()

    async def database_size(self) -> int:
        """Return the bytes in use: what `max_bytes` is compared with."""
        return await self._database.used_bytes()

    async def stats(self) -> Mapping[str, int]:
        """Return the rows of every table, `used_bytes` and `file_bytes`."""
        counts: dict[str, int] = {}
        async with self._database.read() as connection:
            for name, table in metadata.tables.items():
                if name not in _NOT_COUNTED:
                    query = select(func.count()).select_from(table)
                    counts[name] = await connection.scalar(query) or 0
        counts["used_bytes"] = await self._database.used_bytes()
        counts["file_bytes"] = await self._database.file_bytes()
        return counts
