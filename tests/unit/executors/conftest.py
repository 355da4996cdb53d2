"""The loopback host and an executor for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from it_incident_response.executors.ssh import SshExecutor
from tests.unit.executors.loopback_host import LoopbackHost, loopback_host


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[LoopbackHost]:
    """A host `web-1` with the unit `checkout.service`."""
    async with loopback_host(tmp_path / "web-1") as host:
        yield host


@pytest.fixture
async def executor(web: LoopbackHost) -> AsyncIterator[SshExecutor]:
    """An executor that knows the host."""
    executor = web.executor()
    yield executor
    await executor.close()
