"""What the repositories need of a database, whichever it is: transactions and the incident lock."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from it_incident_response.errors import StoreUnavailable

ROWS_AT_ONCE = 500
"""Values in one `IN (...)`: below the limit on parameters of every SQLite build."""

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
"""A row of any columns."""
Insert = sqlite.Insert | postgresql.Insert
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
    def insert(self, table: Table) -> Insert:
        """Return an INSERT that knows `on_conflict_do_update`."""

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
