"""SQLite: one file, one writer at a time, durable on return (WAL, synchronous=FULL)."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    Table,
    bindparam,
    cast,
    event,
    func,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from it_incident_response.errors import ConfigError, StoreUnavailable
from it_incident_response.storage.database import (
    Database,
    Exclusive,
    Rows,
    Transaction,
    Where,
    or_replace,
)
from it_incident_response.storage.failures import translated, unavailable
from it_incident_response.storage.file_identity import FileIdentity
from it_incident_response.storage.file_lock import FileLock
from it_incident_response.storage.sqlite_bodies import BodyWriter
from it_incident_response.storage.tables import microseconds
from it_incident_response.storage.use_lock import UseLock

BUSY_TIMEOUT_S = 10.0
INCIDENT_LOCK_TIMEOUT_S = 30.0
_PAGES_AT_ONCE = 2_000
"""Pages given back in one transaction: 8 MB, some ten milliseconds."""
_BEGIN = "iir_begin"
_AS_WRITER = {_BEGIN: "BEGIN IMMEDIATE"}
_AS_READER = {_BEGIN: "BEGIN"}
_OUTSIDE = {_BEGIN: None}


class SqliteDatabase(Database):
    """One SQLite file.

    Writers of this process queue in order for one gate, since SQLite itself would have them poll.
    The incident lock is a lock file of its own, not SQLite's write lock: so an ingestion reads and
    correlates while the receiver goes on storing, and only its final write excludes that.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = f"sqlite:///{path}"
        self._path = self.path = path
        self._gate = asyncio.Lock()
        self._identity = FileIdentity(path)
        self._use = UseLock(path)
        self._bodies = BodyWriter(path, busy_timeout_s=BUSY_TIMEOUT_S)
        self._incident_lock = FileLock(
            path.with_name(path.name + ".lock"), timeout_s=INCIDENT_LOCK_TIMEOUT_S
        )

    async def connect(self) -> None:
        """Create the file, readable by its owner only, and put it into WAL mode."""
        self._create()
        url = URL.create("sqlite+aiosqlite", database=str(self._path))
        self._engine = create_async_engine(
            url, pool_size=16, max_overflow=10, connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        event.listen(self._engine.sync_engine, "connect", _configure)
        event.listen(self._engine.sync_engine, "begin", _begin)
        try:
            async with self._incident_lock.held():
                await self._use_wal()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close every connection."""
        await self._bodies.close()
        await super().close()
        self._use.give_back()

    def _create(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._use.take()
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._identity.remember()
        except OSError as error:
            self._use.give_back()
            raise ConfigError(
                f"cannot write the database {str(self._path)!r}: {error.strerror}",
                hint="give another path in store.url, or let the user who runs iir write there",
            ) from error

    async def _use_wal(self) -> None:
        async with self._connection(_OUTSIDE) as connection:
            await connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
            mode = await _pragma(connection, "journal_mode")
            if mode != "wal":
                mode = (await connection.exec_driver_sql("PRAGMA journal_mode=WAL")).scalar()
        if mode != "wal":
            raise StoreUnavailable(
                f"{self.name}: the filesystem allows no write-ahead log (journal mode {mode})",
                hint="use a local disk, not a network folder",
            )

    @asynccontextmanager
    async def _connection(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        with translated(self.name):
            async with self.engine.connect() as connection:
                yield await connection.execution_options(**options)

    def read(self) -> Transaction:
        """Open one snapshot."""
        return self._connection(_AS_READER)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open the write transaction at once, so that it never fails in the middle."""
        self._identity.require_in_place(is_written=False)
        async with self._gate, self._connection(_AS_WRITER) as connection:
            yield connection
            await connection.commit()
            self._identity.require_in_place()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Exclusive]:
        """Take the lock file."""
        async with self._incident_lock.held():
            yield self

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction: only one process has it, and SQLite's DDL is part of it."""
        async with self.write() as connection:
            yield connection

    async def append_bodies(
        self, bodies: Sequence[tuple[str, bytes]], received_at: datetime
    ) -> None:
        """Store them by a thread of their own, behind the same gate as every other writer."""
        received = microseconds(received_at)
        rows = [(source, received, body) for source, body in bodies]
        self.engine  # noqa: B018 - raises if the store is not open
        async with self._gate:
            try:
                await self._bodies.append(rows)
                self._identity.require_in_place()
            except sqlite3.Error as error:
                raise unavailable(self.name, error) from error

    async def insert(self, connection: AsyncConnection, table: Table, rows: Rows) -> None:
        """Insert row by row, which costs no round trip here."""
        if rows:
            await connection.execute(sqlite.insert(table), list(rows))

    async def upsert(
        self,
        connection: AsyncConnection,
        table: Table,
        rows: Rows,
        replaced: Sequence[str],
        where: Where | None = None,
    ) -> None:
        """Insert or replace row by row."""
        if rows:
            upsert = or_replace(sqlite.insert(table), table, replaced, where)
            await connection.execute(upsert, list(rows))

    async def upsert_from(
        self,
        connection: AsyncConnection,
        table: Table,
        query: "Select[*tuple[Any, ...]]",
        replaced: Sequence[str],
        where: Where | None = None,
    ) -> None:
        """Insert or replace by one statement."""
        names = [column.name for column in query.selected_columns]
        statement = sqlite.insert(table).from_select(names, query)
        await connection.execute(or_replace(statement, table, replaced, where))

    async def replace(
        self, connection: AsyncConnection, table: Table, rows: Rows, replaced: Sequence[str]
    ) -> int:
        """Update row by row."""
        if not rows:
            return 0
        keys = [column == bindparam(f"key_{column.name}") for column in table.primary_key]
        statement = update(table).where(*keys).values({n: bindparam(f"new_{n}") for n in replaced})
        given = [
            {f"key_{column.name}": row[column.name] for column in table.primary_key}
            | {f"new_{name}": row[name] for name in replaced}
            for row in rows
        ]
        return (await connection.execute(statement, given)).rowcount

    def contains(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        """Compare with `instr`, which knows no wildcards."""
        return func.instr(column, text) > 0

    def stored_bytes(self, column: ColumnElement[Any]) -> ColumnElement[int]:
        """Return the length in bytes."""
        return func.length(cast(column, LargeBinary))

    async def used_bytes(self) -> int:
        """Return the pages that hold something."""
        async with self.read() as connection:
            pages: int = await _pragma(connection, "page_count")
            free: int = await _pragma(connection, "freelist_count")
            size: int = await _pragma(connection, "page_size")
        return (pages - free) * size

    async def file_bytes(self) -> int:
        """Return the size of the file and its write-ahead log."""
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    async def reclaim(self) -> None:
        """Shorten the file by its free pages, then the write-ahead log."""
        free = -1
        while True:
            async with self._gate, self._connection(_OUTSIDE) as connection:
                before, free = free, await _pragma(connection, "freelist_count")
                if free in (0, before):
                    break
                await _free_pages(connection, self.name)
        async with self._connection(_OUTSIDE) as connection:
            (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).all()


async def _pragma(connection: AsyncConnection, name: str) -> Any:
    return (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()


async def _free_pages(connection: AsyncConnection, name: str) -> None:
    """Give some pages back.

    As a script: SQLite frees one page a step, and `execute` makes one step of what has no columns.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise StoreUnavailable("the connection to SQLite is gone")
    try:
        await driver.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
    except sqlite3.Error as error:
        raise unavailable(name, error) from error


def _configure(connection: Any, _record: object) -> None:
    """Set up a new connection; with no isolation level the driver begins nothing by itself."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get(_BEGIN)
    if statement is not None:
        connection.exec_driver_sql(statement)
