"""A SQLite store of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from it_incident_response.storage import open_store
from it_incident_response.storage.store import SqlStore
from tests.contracts.store_fixtures import FixedClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store's file is or will be."""
    return tmp_path / "new" / "folder" / "iir.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    """An open, empty store."""
    opened = open_store(f"sqlite:///{path}", clock=FixedClock())
    await opened.open()
    yield opened
    await opened.close()
