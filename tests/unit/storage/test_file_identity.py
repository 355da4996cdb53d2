"""A database whose file is taken away must not say that it stored anything."""

import shutil
from pathlib import Path

import pytest

from it_incident_response.errors import StoreUnavailable
from it_incident_response.storage.store import SqlStore
from tests.contracts.store_fixtures import NOW


async def _refused(store: SqlStore) -> None:
    with pytest.raises(StoreUnavailable, match="removed or replaced") as caught:
        await store.accept([("alerts", b"[]")], NOW)
    assert "start iir again" in str(caught.value.hint)


async def test_a_removed_file_takes_nothing(store: SqlStore, path: Path) -> None:
    await store.accept([("alerts", b"[]")], NOW)
    path.unlink()
    await _refused(store)


async def test_a_replaced_file_takes_nothing(store: SqlStore, path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.rename(path)
    await _refused(store)


async def test_a_removed_write_ahead_log_takes_nothing(store: SqlStore, path: Path) -> None:
    await store.accept([("alerts", b"[]")], NOW)
    path.with_name(path.name + "-wal").unlink()
    await _refused(store)
