"""PostgreSQL, through psycopg: row locks, and an advisory lock where all of iir takes turns."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    cast,
    column,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.types import TypeEngine

from it_incident_response.errors import ConfigError
from it_incident_response.storage.database import Database, Exclusive, Rows, Where, or_replace
from it_incident_response.storage.failures import translated
from it_incident_response.storage.tables import metadata, microseconds

ROW_OVERHEAD_BYTES = 100
"""Row header, page share and index entries of one row, roughly."""
CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 30
IDLE_LIMIT_S = 120
"""A transaction whose owner went silent (its host died) ends then, and gives its locks back."""

INCIDENT_LOCK = 0x6969725F696E6331
MIGRATION_LOCK = 0x6969725F6D696731
"""Keys of our advisory locks: the ASCII of `iir_inc1` and `iir_mig1`, read as numbers."""

_SETTINGS = (
    f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'",
    f"SET idle_in_transaction_session_timeout = '{IDLE_LIMIT_S}s'",
    "SET timezone = 'UTC'",
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'",
)
"""The last one: what is accepted must survive a crash, whatever the server's default."""


class _Locked:
    """The incident lock, which belongs to one transaction: reads and the write are all in it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Read in the transaction that has the lock."""
        yield self._connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Write in the transaction that has the lock, and commit it."""
        yield self._connection
        await self._connection.commit()


class PostgresqlDatabase(Database):
    """One PostgreSQL database."""

    def __init__(self, url: URL) -> None:
        super().__init__()
        self._url = url.set(drivername="postgresql+psycopg")
        self.name = f"postgresql://{url.host or 'localhost'}:{url.port or 5432}/{url.database}"

    async def connect(self) -> None:
        """Open the pool and look at the encoding: nothing but UTF-8 holds every label."""
        self._engine = create_async_engine(
            self._url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "iir",
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
            },
        )
        event.listen(self._engine.sync_engine, "connect", _configure)
        try:
            await self._require_utf8()
        except BaseException:
            await self.close()
            raise

    async def _require_utf8(self) -> None:
        async with self.read() as connection:
            encoding = await connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise ConfigError(
                f"{self.name}: its encoding is {encoding}, which cannot hold every label",
                hint="create it with: createdb --encoding=UTF8 --template=template0 ...",
            )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction."""
        with translated(self.name):
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction and commit it."""
        async with self.read() as connection:
            yield connection
            await connection.commit()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Exclusive]:
        """Take the advisory lock for one transaction."""
        async with self.read() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(INCIDENT_LOCK)))
            yield _Locked(connection)

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """Take the migrations' advisory lock; DDL is part of the transaction."""
        async with self.write() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            yield connection

    async def insert(self, connection: AsyncConnection, table: Table, rows: Rows) -> None:
        """Insert all rows by one statement."""
        if rows:
            await connection.execute(_insert(table, rows))

    async def upsert(
        self,
        connection: AsyncConnection,
        table: Table,
        rows: Rows,
        replaced: Sequence[str],
        where: Where | None = None,
    ) -> None:
        """Insert or replace all rows by one statement."""
        if rows:
            upsert = or_replace(_insert(table, rows), table, replaced, where)
            await connection.execute(upsert)

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
        statement = postgresql.insert(table).from_select(names, query)
        await connection.execute(or_replace(statement, table, replaced, where))

    async def replace(
        self, connection: AsyncConnection, table: Table, rows: Rows, replaced: Sequence[str]
    ) -> int:
        """Update all rows by one statement."""
        if not rows:
            return 0
        given = _as_table(table, rows)
        keys = [key == given[key.name] for key in table.primary_key]
        statement = update(table).where(*keys).values({name: given[name] for name in replaced})
        return (await connection.execute(statement)).rowcount

    def contains(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        """Compare with `strpos`, which knows no wildcards."""
        return func.strpos(column, text) > 0

    def stored_bytes(self, column: ColumnElement[Any]) -> ColumnElement[int]:
        """Return the compressed size."""
        return cast(func.pg_column_size(column), Integer)

    async def used_bytes(self) -> int:
        """Return the stored size of all values, with an allowance for each row and its indexes.

        The size of the files would not do: they keep the space of deleted rows for new ones, so
        that retention by size would go on deleting for ever.
        """
        total = 0
        async with self.read() as connection:
            for table in metadata.sorted_tables:
                sizes = sum(
                    (func.coalesce(func.pg_column_size(column), 0) for column in table.columns),
                    start=cast(ROW_OVERHEAD_BYTES, Integer),
                )
                total += await connection.scalar(select(func.coalesce(func.sum(sizes), 0))) or 0
        return int(total)

    async def file_bytes(self) -> int:
        """Return the size of our tables with indexes and free space."""
        total = 0
        async with self.read() as connection:
            for table in metadata.sorted_tables:
                size = func.pg_total_relation_size(cast(table.name, postgresql.REGCLASS))
                total += await connection.scalar(select(size)) or 0
        return int(total)

    async def reclaim(self) -> None:
        """Let new rows use the space of deleted ones; VACUUM blocks nobody."""
        with translated(self.name):
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                for table in metadata.sorted_tables:
                    await connection.execute(text(f'VACUUM (ANALYZE) "{table.name}"'))


def _as_table(table: Table, rows: Rows) -> dict[str, ColumnElement[Any]]:
    """Return the columns of `rows`, sent as one JSON text.

    A thousand rows cost one round trip, and writing JSON is several times faster than the driver's
    arrays, which escape each quote of each body in Python.
    """
    kinds = {name: _plain(table.c[name].type) for name in rows[0]}
    content = orjson.dumps([{n: _jsonable(value) for n, value in row.items()} for row in rows])
    given = (
        func.json_to_recordset(cast(content.decode(), Text).cast(JSON))
        .table_valued(*(column(name, _sent(kind)) for name, kind in kinds.items()), name="given")
        .render_derived(with_types=True)
    )
    return {
        name: func.decode(given.c[name], "base64") if _is_binary(kind) else given.c[name]
        for name, kind in kinds.items()
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return microseconds(value) if isinstance(value, datetime) else value


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the bare type, without collation and Python's side of it."""
    for bare in (LargeBinary, Text, BigInteger, Integer):
        if isinstance(getattr(kind, "impl_instance", kind), bare):
            return bare()
    raise TypeError(f"{kind!r} is not known")


def _is_binary(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, LargeBinary)


def _sent(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return Text() if _is_binary(kind) else kind


def _insert(table: Table, rows: Rows) -> postgresql.Insert:
    given = _as_table(table, rows)
    names = list(rows[0])
    query = select(*given.values())
    return postgresql.insert(table).from_select(names, query)


def _configure(connection: Any, _record: object) -> None:
    """Set up a new connection outside any transaction, so that a rollback undoes none of it."""
    connection.autocommit = True
    cursor = connection.cursor()
    for statement in _SETTINGS:
        cursor.execute(statement)
    cursor.close()
    connection.autocommit = False
