"""PostgreSQL's own promises; the store's contract runs on it too, see tests/contracts."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Connection, text

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.errors import ConfigError, Conflict, StoreUnavailable
from it_incident_response.ports.store import IngestOutcome
from it_incident_response.storage import backup, open_store, postgresql, schema
from it_incident_response.storage.store import SqlStore
from it_incident_response.storage.tables import metadata
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, FixedClock
from tests.real.stack.postgres import Postgres
from tests.unit.storage import sample_record


def _store(url: str) -> SqlStore:
    return open_store(url, clock=FixedClock())


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[SqlStore]:
    """An open, empty store."""
    opened = _store(postgres_url)
    await opened.open()
    yield opened
    await opened.close()


async def test_the_revisions_make_the_tables_the_code_expects(store: SqlStore) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    async with store._database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_whole_record_is_kept(store: SqlStore) -> None:
    await sample_record.fill(store)
    await sample_record.require_complete(store)


async def test_a_database_of_every_revision_is_migrated_with_its_content(
    postgres_url: str,
) -> None:
    dumps = sorted(sample_record.DUMPS.glob("*.postgresql.sql"))
    assert [dump.name[:4] for dump in dumps] == [
        dump.name[:4] for dump in sorted(sample_record.DUMPS.glob("????.sql"))
    ]
    for dump in dumps:
        _run(postgres_url, "DROP SCHEMA public CASCADE")
        _run(postgres_url, "CREATE SCHEMA public")
        _run(postgres_url, dump.read_text(encoding="utf-8"))
        store = _store(postgres_url)
        await store.open()
        try:
            await sample_record.require_complete(store)
        finally:
            await store.close()


async def test_many_open_a_new_database_at_once(postgres_url: str) -> None:
    stores = [_store(postgres_url) for _ in range(6)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
        assert (await stores[0].verify_chain()).is_intact
    finally:
        for store in stores:
            await store.close()


async def test_a_newer_database_is_refused(store: SqlStore, postgres_url: str) -> None:
    _run(postgres_url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConfigError, match=r"newer version.*9999"):
        await _store(postgres_url).open()


async def test_tables_of_another_program_are_refused(postgres_url: str) -> None:
    _run(postgres_url, "CREATE TABLE alerts (theirs text)")
    with pytest.raises(ConfigError, match="another program: alerts"):
        await _store(postgres_url).open()


async def test_a_wrong_password_is_said_without_showing_it(
    postgres_server: Postgres, postgres_url: str
) -> None:
    url = postgres_url.replace(postgres_server.password, "geheim-und-falsch")
    with pytest.raises(StoreUnavailable, match="password authentication failed") as caught:
        await _store(url).open()
    assert caught.value.hint == "check user and password in the store's URL"
    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(caught.value.__cause__)


async def test_a_server_that_is_down_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/iir") as caught:
        await _store("postgresql://alice:geheim@127.0.0.1:1/iir").open()
    assert "check that the server runs" in str(caught.value.hint)
    assert "geheim" not in str(caught.value)


async def test_a_database_that_does_not_exist_says_so(postgres_server: Postgres) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist") as caught:
        await _store(postgres_server.url("absent")).open()
    assert "createdb" in str(caught.value.hint)


async def test_an_encoding_that_cannot_hold_every_label_is_refused(
    postgres_server: Postgres,
) -> None:
    _run(postgres_server.url(), "DROP DATABASE IF EXISTS latin")
    _run(
        postgres_server.url(),
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    with pytest.raises(ConfigError, match="encoding is LATIN1"):
        await _store(postgres_server.url("latin")).open()


async def test_a_restart_of_its_connections_is_survived(store: SqlStore, postgres_url: str) -> None:
    await store.append([make.event()])
    _run(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'iir'",
    )
    await store.append([make.event()])
    assert (await store.verify_chain()).events == 2


async def test_what_is_accepted_is_durable_whatever_the_servers_default(
    store: SqlStore, postgres_url: str
) -> None:
    """The test's server has synchronous_commit off; the store must not believe it."""
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    for _ in range(2):
        async with store._database.write() as own:
            assert await own.scalar(text("SHOW synchronous_commit")) == "on"
            assert await own.scalar(text("SHOW lock_timeout")) == "30s"
            assert await own.scalar(text("SHOW timezone")) == "UTC"


async def test_a_lock_that_is_held_for_long_is_unavailable(
    store: SqlStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("SET lock_timeout = '50ms'", *postgresql._SETTINGS[1:])
    monkeypatch.setattr(postgresql, "_SETTINGS", settings)
    impatient = _store(postgres_url)
    await impatient.open()
    try:
        async with store.ingestion(0):
            await impatient.accept([("alerts", b"goes on")], NOW)
            with pytest.raises(StoreUnavailable, match="lock timeout") as caught:
                async with impatient.ingestion(1):
                    pass
            assert "pg_stat_activity" in str(caught.value.hint)
        async with impatient.ingestion(1) as ingestion:
            await ingestion.commit(IngestOutcome())
    finally:
        await impatient.close()


async def test_retention_by_size_ends_although_the_files_do_not_shrink(store: SqlStore) -> None:
    """PostgreSQL keeps the space of deleted rows, so that file sizes would never fit."""
    for number in range(1, 11):
        of = await store.create_incident(make.incident(number), [])
        await store.add_evidence([make.evidence(of) for _ in range(200)], [])
        await store.save_incident(make.ended(of, make.after(number)), [])
    size = await store.database_size()
    limit = size // 2
    for expected in (range(4, 8), range(1)):
        report = await store.prune(
            older_than=NOW, max_bytes=limit, now=make.after(99), dry_run=False
        )
        assert report.incidents in expected
        assert report.bytes_after <= limit
    assert (await store.stats())["file_bytes"] > limit


async def test_a_record_restored_by_pg_restore_is_marked(
    store: SqlStore, postgres_url: str
) -> None:
    await sample_record.fill(store)
    waiting = make.plan(sample_record.OPEN)
    await store.add_plan(waiting, make.approval(waiting), [])
    with pytest.raises(Conflict, match="in use by another iir"):
        await _mark(postgres_url)
    await store.close()
    done = await _mark(postgres_url)
    assert (done.marked.approvals_voided, done.marked.incidents_handed_over) == (1, 1)
    again = _store(postgres_url)
    await again.open()
    try:
        (request,) = await again.approvals(status=ApprovalStatus.VOIDED)
        assert request.plan_id == waiting.id
        assert "what was done since" in str((await again.incident(sample_record.OPEN.id)).halt)
        assert (await again.verify_chain()).is_intact
    finally:
        await again.close()


async def _mark(url: str) -> backup.Restored:
    return await backup.mark_only(
        url, clock=FixedClock(), by="alice", taken_at=None, report=lambda *_: None
    )


def _run(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statements))  # type: ignore[arg-type]
