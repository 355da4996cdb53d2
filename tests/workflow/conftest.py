"""Theatres: each test gets a world and a migrated database of its own, by copying."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.simulation import VirtualClock
from it_incident_response.storage import open_store
from tests.workflow.theatre import Theatre


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with today's schema: making one takes longer than copying it."""
    path = tmp_path_factory.mktemp("migrated") / "iir.db"

    async def make() -> None:
        store = open_store(f"sqlite:///{path}", clock=VirtualClock())
        await store.open()
        await store.close()

    asyncio.run(make())
    return path


@pytest.fixture
def theatre(tmp_path: Path, migrated: Path) -> Callable[..., Theatre]:
    """`theatre(seed=7, past_s=..., **settings)`."""
    count = 0

    def make(**given: Any) -> Theatre:
        nonlocal count
        count += 1
        folder = tmp_path / f"theatre{count}"
        folder.mkdir()
        shutil.copy(migrated, folder / "iir.db")
        return Theatre(folder, **given)

    return make
