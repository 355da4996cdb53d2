"""A fresh world for each test, on a copy of one migrated database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from it_incident_response.storage import open_store
from tests.unit.safety.world import FakeClock, World


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with the newest schema: migrating anew for each test takes too long."""
    path = tmp_path_factory.mktemp("safety") / "iir.db"

    async def migrate() -> None:
        store = open_store(f"sqlite:///{path}", clock=FakeClock())
        await store.open()
        await store.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
def database_url(migrated_database: Path, tmp_path: Path) -> str:
    """URL of a copy of it."""
    path = tmp_path / "iir.db"
    shutil.copy(migrated_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A world whose store is open."""
    clock = FakeClock()
    store = open_store(database_url, clock=clock)
    await store.open()
    yield World(store, clock)
    await store.close()
