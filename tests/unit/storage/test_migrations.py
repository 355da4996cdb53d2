"""The schema: what the revisions make is what the code expects, from every released one."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from it_incident_response.errors import ConfigError
from it_incident_response.storage import open_store, schema
from it_incident_response.storage.store import SqlStore
from it_incident_response.storage.tables import metadata
from tests.contracts.store_fixtures import FixedClock, after
from tests.unit.storage import sample_record

REVISIONS = [
    script.revision
    for script in ScriptDirectory.from_config(schema.alembic_config()).walk_revisions()
]


def _restore(path: Path, revision: str) -> None:
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        dump = (sample_record.DUMPS / f"{revision}.sql").read_text(encoding="utf-8")
        connection.executescript(dump)


def _opened(path: Path) -> SqlStore:
    return open_store(f"sqlite:///{path}", clock=FixedClock())


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_database_of_every_revision_is_migrated_with_its_content(
    path: Path, revision: str
) -> None:
    _restore(path, revision)
    store = _opened(path)
    await store.open()
    try:
        await sample_record.require_complete(store)
    finally:
        await store.close()


async def test_requests_made_before_deadlines_had_a_column_expire(path: Path) -> None:
    _restore(path, "0001")
    pending = sample_record.REQUEST
    with contextlib.closing(sqlite3.connect(path)) as connection:
        values = ("pending", pending.model_dump_json())
        connection.execute("UPDATE approvals SET status = ?, body = ?", values)
        connection.commit()
    store = _opened(path)
    await store.open()
    try:
        assert await store.overdue_approvals(after(599)) == []
        assert await store.overdue_approvals(after(600)) == [pending]
    finally:
        await store.close()


async def test_the_sample_is_complete_in_a_new_database(store: SqlStore) -> None:
    """Else the test above would prove less than it says."""
    await sample_record.fill(store)
    empty = [name for name, count in (await store.stats()).items() if count == 0]
    assert empty == []
    await sample_record.require_complete(store)


def test_the_newest_revision_is_the_one_the_code_expects() -> None:
    assert ScriptDirectory.from_config(schema.alembic_config()).get_heads() == [schema.HEAD]


async def test_the_revisions_make_the_tables_the_code_expects(store: SqlStore) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    async with store._database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    _restore(path, REVISIONS[0])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        connection.commit()
    with pytest.raises(ConfigError, match=r"newer version.*9999"):
        await _opened(path).open()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"SELECT * FROM {schema.VERSION_TABLE}").fetchall() == [("9999",)]


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE incidents (theirs TEXT)")
    with pytest.raises(ConfigError, match="another program: incidents"):
        await _opened(path).open()


async def test_many_open_a_new_database_at_once(path: Path) -> None:
    stores = [_opened(path) for _ in range(6)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        for store in stores:
            assert (await store.verify_chain()).is_intact
    finally:
        for store in stores:
            await store.close()


async def test_a_failed_migration_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise ZeroDivisionError

    real = schema._upgrade
    monkeypatch.setattr(schema, "_upgrade", broken)
    with pytest.raises(ZeroDivisionError):
        await _opened(path).open()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_opening_a_current_database_loads_no_alembic(path: Path) -> None:
    """It would cost every command of the command line a tenth of a second."""
    _restore(path, schema.HEAD)
    script = f"""
import asyncio, sys
from it_incident_response.ports.clock import SystemClock
from it_incident_response.storage import open_store

async def main():
    store = open_store("sqlite:///{path}", clock=SystemClock())
    await store.open()
    await store.close()

asyncio.run(main())
sys.exit("alembic" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
