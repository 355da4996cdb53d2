"""From command-line options to a running composition, and from async code to a command."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from it_incident_response.config import LoadedConfig
    from it_incident_response.system import Runtime

P = ParamSpec("P")
T = TypeVar("T")


def load_config(ctx: click.Context) -> "LoadedConfig":
    """Load the configuration that the root options, the environment and the files give."""
    from it_incident_response.config import load

    options = ctx.obj
    return load(
        file=getattr(options, "config_file", None),
        environ=os.environ,
        overrides=getattr(options, "overrides", {}),
        profile=getattr(options, "profile", None),
        cwd=Path.cwd(),
    )


@asynccontextmanager
async def open_runtime(ctx: click.Context) -> "AsyncIterator[Runtime]":
    """Open store and services as configured; closes them at the end."""
    from it_incident_response.system import Runtime, open_configured

    if isinstance(ctx.obj, Runtime):
        yield ctx.obj
        return
    async with open_configured(load_config(ctx).settings) as runtime:
        yield runtime


def run_async(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make an async function a command body."""

    @wraps(function)
    def body(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(function(*args, **kwargs))

    return body


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """Return uvloop's, which takes in about twice as many webhooks; None where there is none."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
