"""What the repositories need of a database, whichever it is: transactions and the incident lock."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Row, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

from it_incident_response.errors import StoreUnavailable
from it_incident_response.storage.tables import inbox

ROWS_AT_ONCE = 250
"""Values in one `IN (...)`: below the limit on parameters of every SQLite build."""

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
"""A row of any columns."""
InsertT = TypeVar("InsertT", sqlite.Insert, postgresql.Insert)
Rows = Sequence[Mapping[str, Any]]
"""Rows to be written, by column; all have the same columns."""
Columns = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]
Where = Callable[[Columns], ColumnElement[bool]]
"""Which existing rows are replaced, given the columns of the row that was to be inserted."""
Transaction = AbstractAsyncContextManager[AsyncConnection]


class Exclusive(Protocol):
    """The incident lock, held: nobody else changes incidents or alerts until it is given back."""

    def read(self) -> Transaction:
        """Open a transaction for reading."""
        ...

    def write(self) -> Transaction:
        """Open a transaction that is committed when its block ends well."""
        ...


class Database(ABC):
    """One database; connected by `connect`."""

    name: str
    """How messages call it: never with a password."""

    def __init__(self) -> None:
        self._engine: AsyncEngine | None = None

    @property
    def engine(self) -> AsyncEngine:
        """The connections; raises `StoreUnavailable` before `connect` and after `close`."""
        if self._engine is None:
            raise StoreUnavailable(f"{self.name}: the store is not open")
        return self._engine

    @abstractmethod
    async def connect(self) -> None:
        """Prepare the database and its connections."""

    @abstractmethod
    def read(self) -> Transaction:
        """Open a transaction for reading: one snapshot on SQLite, latest commits on PostgreSQL."""

    @abstractmethod
    def write(self) -> Transaction:
        """Open a transaction that is committed when its block ends well, else rolled back."""

    @abstractmethod
    def exclusive(self) -> AbstractAsyncContextManager[Exclusive]:
        """Take the incident lock, of which there is one for all processes."""

    @abstractmethod
    def migrating(self) -> Transaction:
        """Open a write transaction that no other process' migration overlaps."""

    @abstractmethod
    async def insert(self, connection: AsyncConnection, table: Table, rows: Rows) -> None:
        """Insert rows, which all have the same columns, in one round trip."""

    async def append_bodies(
        self, bodies: Sequence[tuple[str, bytes]], received_at: datetime
    ) -> None:
        """Store (source, body) pairs in the inbox in one durable transaction."""
        rows = [
            {"source": source, "received_at": received_at, "body": body} for source, body in bodies
        ]
        async with self.write() as connection:
            await self.insert(connection, inbox, rows)

    @abstractmethod
    async def upsert(
        self,
        connection: AsyncConnection,
        table: Table,
        rows: Rows,
        replaced: Sequence[str],
        where: "Where | None" = None,
    ) -> None:
        """Insert rows; where one with that primary key exists, replace its `replaced` columns.

        With nothing to replace, or where `where` does not hold, the existing row stays. No two of
        the rows may have the same primary key.
        """

    @abstractmethod
    async def upsert_from(
        self,
        connection: AsyncConnection,
        table: Table,
        query: "Select[*tuple[Any, ...]]",
        replaced: Sequence[str],
        where: "Where | None" = None,
    ) -> None:
        """Do the same with the rows of a query, which gives every column of the same name."""

    @abstractmethod
    async def replace(
        self, connection: AsyncConnection, table: Table, rows: Rows, replaced: Sequence[str]
    ) -> int:
        """Set the `replaced` columns of the rows with these primary keys; return how many."""

    @abstractmethod
    def contains(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        """Return the condition that `text` occurs in `column`, every character literal."""

    @abstractmethod
    def stored_bytes(self, column: ColumnElement[Any]) -> ColumnElement[int]:
        """Return the bytes that a value takes in the database."""

    @abstractmethod
    async def used_bytes(self) -> int:
        """Return the bytes in use, free space inside the files not counted."""

    @abstractmethod
    async def file_bytes(self) -> int:
        """Return the bytes that the database takes on disk."""

    @abstractmethod
    async def reclaim(self) -> None:
        """Give the space of deleted rows back, in steps that block writers briefly."""

    async def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def changing_incidents(self) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction under the incident lock."""
        async with self.exclusive() as lock, lock.write() as connection:
            yield connection


async def rows_in(
    connection: AsyncConnection,
    query: "Select[*tuple[Any, ...]]",
    column: ColumnElement[Any],
    keys: Sequence[Any],
) -> list[AnyRow]:
    """Return the rows of `query` whose `column` is one of `keys`, asked for in portions."""
    found: list[AnyRow] = []
    for start in range(0, len(keys), ROWS_AT_ONCE):
        portion = keys[start : start + ROWS_AT_ONCE]
        found += (await connection.execute(query.where(column.in_(portion)))).all()
    return found


def or_replace(
    statement: InsertT, table: Table, replaced: Sequence[str], where: Where | None = None
) -> InsertT:
    """Let an INSERT replace these columns of a row that exists, or leave it if there are none."""
    if not replaced:
        return statement.on_conflict_do_nothing()
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in replaced},
        where=None if where is None else where(statement.excluded),
    )
