"""Server processes of the real tests: started, waited for, stopped for certain, logs kept."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.real.stack.waiting import wait_until

LOOPBACK = "127.0.0.1"
LIVE: list["Server"] = []
"""Servers that run now; a failing test's report shows the end of their logs."""


class ServerFailed(RuntimeError):
    """A server of the test stack ended or did not become ready; carries the end of its log."""


def require_binary(*names: str, package: str) -> str:
    """Return the path of the first installed binary; skip the test, naming the package, if none."""
    for name in names:
        if path := shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin"):
            return path
    pytest.skip(f"{names[0]} is not installed: apt-get install {package}")


def require_root(what: str) -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip(f"{what} needs root")


def free_port(address: str = LOOPBACK) -> int:
    """Return a TCP port of `address` that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int, address: str = LOOPBACK) -> bool:
    """Tell whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


@dataclass(kw_only=True)
class Server:
    """One server process in a process group of its own, which dies with the test process.

    `ready` is asked after the start until it returns something truthy. A server can be stopped (or
    killed) and started again: its arguments, so its ports and folders, stay the same. Start it on
    the main thread: the kernel ends it when the thread that started it ends.
    """

    name: str
    argv: Sequence[str]
    log: Path
    ready: Callable[[], object] = lambda: True
    environment: Mapping[str, str] = field(default_factory=dict)
    run_as: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_deadline_s: float = 20.0
    stop_deadline_s: float = 10.0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> Self:
        """Start it and return when it is ready; raises `ServerFailed`."""
        if self.process is not None:
            raise RuntimeError(f"{self.name} runs already")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._setpriv(), *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
                | dict(self.environment),
                cwd="/",
                start_new_session=True,
            )
        LIVE.append(self)
        try:
            wait_until(self._ready_or_dead, self.start_deadline_s, f"{self.name} to be ready")
        except BaseException as error:
            self.kill()
            raise ServerFailed(f"{self.name}: {error}\n{self.log_tail()}") from error
        if not self.is_running:
            status = self.process.returncode
            self.kill()
            raise ServerFailed(f"{self.name} ended with status {status}\n{self.log_tail()}")
        return self

    def _setpriv(self) -> list[str]:
        setpriv = [require_binary("setpriv", package="util-linux"), "--pdeathsig", "KILL"]
        if self.run_as is not None:
            setpriv += ["--reuid", self.run_as, "--regid", self.run_as, "--init-groups"]
        return [*setpriv, "--"]

    def _ready_or_dead(self) -> object:
        return not self.is_running or self.ready()

    @property
    def is_running(self) -> bool:
        """True while the process exists."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Process id; raises `RuntimeError` when it does not run."""
        if self.process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self.process.pid

    def stop(self) -> None:
        """Stop it in its own way, by force after `stop_deadline_s`; no error if it has ended."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.stop_deadline_s)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(self.stop_deadline_s)
        LIVE.remove(self)

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
