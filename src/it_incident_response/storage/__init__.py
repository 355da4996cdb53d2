"""Our own record in SQL: tables, repositories, migrations, the audit chain. Knows no stage."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from it_incident_response.ports.clock import Clock
    from it_incident_response.storage.store import SqlStore

__all__ = ["open_store"]


def open_store(url: str, *, clock: "Clock") -> "SqlStore":
    """Return the store at `url`, not connected yet: `await store.open()` connects and migrates.

    `sqlite:///relative/file`, `sqlite:////absolute/file` or `postgresql://user:pw@host/database`.
    Raises `ConfigError` if the URL is of no such form or its driver is not installed.
    """
    from it_incident_response.storage.location import database_at
    from it_incident_response.storage.store import SqlStore

    return SqlStore(database_at(url), clock)
