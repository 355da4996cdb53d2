"""One run of `temporal server start-dev`: a process group that cannot outlive us."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from it_incident_response.workflow.engine.server_log import LogPump

LOOPBACK = "127.0.0.1"
_STOP_S = 10.0
# Runs between us and the server: the kernel is asked to kill the server when we die, then this
# becomes the server. A function run between fork and exec could do it too, but may deadlock
# where other threads run, as the engine's SDK has them.
_LAUNCH_LINUX = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1: PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execve(sys.argv[2], sys.argv[2:], {})
"""


def arguments(binary: Path, database: Path, port: int, namespace: str) -> list[str]:
    """Return the command that serves a database file on a port of the loopback address.

    WAL and one partition for each task queue give two to three times the throughput (measured in
    docs/durability.md). The web interface is off; metrics and HTTP take free loopback ports.
    """
    options = {
        "--ip": LOOPBACK,
        "--port": str(port),
        "--db-filename": str(database),
        "--namespace": namespace,
        "--log-format": "json",
        "--log-level": "warn",
        "--color": "never",
    }
    repeated = [
        ("--sqlite-pragma", "journal_mode=wal"),
        ("--sqlite-pragma", "synchronous=1"),
        ("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
        ("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
    ]
    command = [str(binary), "server", "start-dev", "--headless"]
    command += ["--disable-config-file", "--disable-config-env"]
    for name, value in [*options.items(), *repeated]:
        command += [name, value]
    return command


class ServerProcess:
    """A started server; `stop` or `kill` must be called."""

    def __init__(self, process: asyncio.subprocess.Process, pump: LogPump) -> None:
        self._process = process
        self._pump = pump
        assert process.stdout is not None  # noqa: S101 - asked for in `start`
        self._reading = asyncio.create_task(pump.run(process.stdout))

    @classmethod
    async def start(cls, command: Sequence[str], pump: LogPump) -> Self:
        """Start the command in a session of its own, with an empty environment.

        On Linux the kernel kills it when the thread that called this ends, however that happens;
        elsewhere a server that survived us is found and ended by the next start.
        """
        launch = list(command)
        if sys.platform == "linux":
            launch = [sys.executable, "-I", "-S", "-c", _LAUNCH_LINUX, str(os.getpid()), *command]
        process = await asyncio.create_subprocess_exec(
            *launch,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={},
        )
        return cls(process, pump)

    @property
    def pid(self) -> int:
        """Process id, which is the id of its group too."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Return its exit status once it has ended."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and kill it if it has not within 10 s or if we are cancelled."""
        self._pump.is_quiet = True
        try:
            if self.is_running:
                self._signal(signal.SIGTERM)
                async with asyncio.timeout(_STOP_S):
                    await self._process.wait()
        except TimeoutError:
            pass
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End it at once, and everything it may have started."""
        self._pump.is_quiet = True
        self._signal(signal.SIGKILL)
        try:
            await asyncio.shield(self._gone())
        finally:
            self._reading.cancel()

    async def _gone(self) -> None:
        await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.wait([self._reading])

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
