"""SQLite's own promises: durable, private, bounded, and clear about what is wrong."""

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from it_incident_response.errors import ConfigError, IncidentResponseError, StoreUnavailable
from it_incident_response.ports.store import IngestOutcome
from it_incident_response.storage import open_store, sqlite
from it_incident_response.storage.store import SqlStore
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, FixedClock, after


def _opened(path: Path) -> SqlStore:
    return open_store(f"sqlite:///{path}", clock=FixedClock())


async def test_only_the_owner_may_read_the_files(store: SqlStore, path: Path) -> None:
    await store.accept([("alerts", b"secret")], NOW)
    async with store.ingestion(1):
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    files = ["iir.db", "iir.db-wal", "iir.db-shm", "iir.db.lock", "iir.db.use"]
    assert modes == dict.fromkeys(files, "0o600")
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_every_connection_is_durable_and_checks_references(store: SqlStore) -> None:
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL: a commit is on the disk when it returns
        "foreign_keys": 1,
        "busy_timeout": 10_000,
        "auto_vacuum": 2,  # INCREMENTAL
    }
    database = store._database
    async with database.read() as one, database.read() as two, database.write() as three:
        for connection in (one, two, three):
            for name, value in expected.items():
                result = await connection.exec_driver_sql(f"PRAGMA {name}")
                assert (name, result.scalar()) == (name, value)


async def test_a_file_that_is_no_database_is_refused_untouched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"my holiday photographs" * 1_000)
    with pytest.raises(StoreUnavailable, match="not a database") as caught:
        await _opened(path).open()
    assert "move it away" in str(caught.value.hint)
    assert path.read_bytes() == b"my holiday photographs" * 1_000


async def test_a_damaged_file_says_so(path: Path) -> None:
    store = _opened(path)
    await store.open()
    await store.create_incident(make.incident(1), [])
    await store.close()
    content = bytearray(path.read_bytes())
    content[4_096:] = b"\xa5" * (len(content) - 4_096)
    path.write_bytes(content)
    damaged = _opened(path)
    with pytest.raises(StoreUnavailable, match=r"malformed|not a database") as caught:
        await damaged.open()
    assert caught.value.hint


@pytest.mark.parametrize("where", ["file-in-the-way/iir.db", "folder"])
async def test_a_place_that_cannot_hold_a_file_is_a_config_error(
    tmp_path: Path, where: str
) -> None:
    (tmp_path / "file-in-the-way").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot write") as caught:
        await _opened(tmp_path / where).open()
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_is_a_config_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot write"):
            await _opened(tmp_path / "iir.db").open()
    finally:
        tmp_path.chmod(0o700)


async def test_a_database_that_stays_locked_is_unavailable_for_writers_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    store = _opened(path)
    await store.open()
    created = await store.create_incident(make.incident(1), [])
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked") as caught:
                await store.accept([("alerts", b"x")], NOW)
            assert "another program" in str(caught.value.hint)
            assert await store.incident(created.id) == created
            other.execute("ROLLBACK")
        await store.accept([("alerts", b"x")], NOW)
        assert await store.inbox_depth() == 1
    finally:
        await store.close()


async def test_the_intake_does_not_wait_for_an_ingestion(store: SqlStore) -> None:
    async with store.ingestion(10) as ingestion:
        await ingestion.next_incident_number()
        await asyncio.wait_for(store.accept([("alerts", b"x")], NOW), timeout=5)
        assert await store.inbox_depth() == 1
        await ingestion.commit(IngestOutcome())
    assert await store.inbox_depth() == 1, "it came after the ingestion had read the inbox"


async def test_writers_that_are_cancelled_leave_the_store_usable(store: SqlStore) -> None:
    for _ in range(20):
        writers = [
            asyncio.create_task(store.append([make.event() for _ in range(5)])) for _ in range(5)
        ]
        await asyncio.sleep(0)
        for writer in writers[::2]:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    report = await store.verify_chain()
    assert report.is_intact
    assert report.events % 5 == 0
    assert report.events >= 20 * 2 * 5


async def test_an_ingestion_that_is_cancelled_gives_the_lock_back(store: SqlStore) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        async with store.ingestion(1):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with store.ingestion(1) as ingestion:
        assert await ingestion.next_incident_number() == 1


async def test_the_file_shrinks_when_much_is_removed(
    store: SqlStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    real = sqlite._free_pages

    async def counted(*arguments: object) -> None:
        nonlocal steps
        steps += 1
        await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite, "_free_pages", counted)
    of = await store.create_incident(make.incident(1), [])
    for _ in range(6):
        large = [make.evidence(of, summary="x" * 500_000) for _ in range(6)]
        await store.add_evidence(large, [])
    await store.save_incident(make.ended(of, after(10)), [])
    report = await store.prune(older_than=after(99), max_bytes=None, now=after(99), dry_run=False)
    assert report.bytes_before > 18_000_000
    assert report.bytes_after < 1_000_000
    stats = await store.stats()
    assert stats["file_bytes"] < 1_000_000
    assert path.stat().st_size < 1_000_000
    assert steps <= 4, "many pages in each transaction, not one"


async def test_a_store_may_be_closed_and_opened_again(store: SqlStore) -> None:
    await store.close()
    with pytest.raises(IncidentResponseError, match="not open"):
        await store.inbox_depth()
    await store.open()
    assert await store.inbox_depth() == 0
