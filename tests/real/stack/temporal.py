"""A Temporal server of a test's own: a cluster as far as the product can tell."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.workflow.engine.connection import connect, probe
from it_incident_response.workflow.engine.server_binary import find_binary
from it_incident_response.workflow.engine.server_process import arguments
from it_incident_response.workflow.engine.settings import EngineSettings
from tests.real.stack.process import LOOPBACK, Server, free_port

T = TypeVar("T")


@dataclass(kw_only=True)
class TemporalServer:
    """A running server; it can be ended and started again on the same port and file."""

    server: Server
    port: int
    folder: Path
    """Holds `temporal.db`."""
    namespace: str

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def settings(self) -> EngineSettings:
        """Settings that point to it as to a cluster."""
        return EngineSettings(address=self.address, namespace=self.namespace)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.server.kill()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.server.stop()

    def start(self) -> None:
        """Start it again; a workflow can be started when this returns."""
        self.server.start()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def lose_file(self) -> None:
        """Remove its database file; do it between `kill` and `start`."""
        for file in self.folder.glob("temporal.db*"):
            file.unlink()


@contextmanager
def running_temporal(
    folder: Path, namespace: str = "default", *, options: Sequence[str] = ()
) -> Iterator[TemporalServer]:
    """Run a server with its file and log in a folder until the block ends.

    `options` are added to its command line.
    """
    try:
        binary = find_binary(None)
    except ConfigError as error:
        pytest.skip(str(error))
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [*arguments(binary, folder / "temporal.db", port, namespace), *options]
    server = Server(name="temporal", argv=command, log=folder / "temporal.log")
    temporal = TemporalServer(server=server, port=port, folder=folder, namespace=namespace)
    server.ready = lambda: in_own_loop(_is_ready(temporal.settings))
    with server:
        yield temporal


async def _is_ready(settings: EngineSettings) -> bool:
    await probe(await connect(settings))
    return True


def in_own_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where the caller's thread runs a loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
