"""Starts the servers that are compared, on free loopback ports, and stops them again."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_WITHIN_S = 30.0
HANDLED_WITHIN_S = 120.0
IDLE_WITHIN_S = 4.0


class Missing(RuntimeError):
    """A program that the benchmark needs is not installed."""


@dataclass
class Server:
    """A running process and its address."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def rss_peak_mb(self) -> float:
        """Highest resident memory so far, in MB (10^6 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(match[1]) * 1024 / 1e6 if match else float("nan")

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def program(name: str, package: str) -> str:
    """Return the path of a program; raises `Missing` naming the Debian package that has it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin")
    if found is None:
        raise Missing(f"{name} is not installed (Debian package {package})")
    return found


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], log: Path, ready_url: str, **options: object) -> Iterator[Server]:
    """Run a server until the block ends; entered once `ready_url` answers 200."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        _wait_ready(process, ready_url, log)
        yield Server(process, ready_url.rsplit("/-/", 1)[0].rsplit("/readyz", 1)[0], log)
    finally:
        with suppress(ProcessLookupError):  # it ended by itself, and that was said already
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended at once:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not get ready:\n{log.read_text()[-2000:]}")


@contextmanager
def alertmanager(folder: Path, webhook: str | None = None) -> Iterator[Server]:
    """Run a real Alertmanager; `webhook` receives what it sends."""
    binary = program("prometheus-alertmanager", "prometheus-alertmanager")
    receiver = f"\n    webhook_configs: [{{url: '{webhook}'}}]" if webhook else ""
    config = folder / "alertmanager.yml"
    config.write_text(
        "route: {receiver: main, group_by: [alertname], group_wait: 0s, group_interval: 1s}\n"
        f"receivers:\n  - name: main{receiver}\n"
    )
    port = free_port()
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    url = f"http://127.0.0.1:{port}/-/ready"
    with running(command, folder / "alertmanager.log", url) as server:
        yield server


@contextmanager
def responder(
    folder: Path, settings: Mapping[str, str], *arguments: str, name: str = "iir"
) -> Iterator[Server]:
    """Run `iir serve` with these settings."""
    port = free_port()
    chosen = {"data_dir": str(folder / name), "server.port": str(port), **settings}
    command = [sys.executable, "-m", "it_incident_response"]
    for key, value in chosen.items():
        command += ["--set", f"{key}={value}"]
    command += ["serve", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IIR_")}
    url = f"http://127.0.0.1:{port}/readyz"
    log = folder / f"{name}.log"
    with running(command, log, url, cwd=folder, env=environment) as server:
        yield server


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a temporary PostgreSQL with its normal durability and yield its URL."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise Missing("PostgreSQL is not installed (Debian package postgresql)")
    port, data = free_port(), folder / "postgresql"
    data.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        for parent in (folder, *folder.parents):
            if parent != Path("/") and str(parent) != "/tmp":
                parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["runuser", "-u", "postgres", "--"]
    create = [*as_user, str(binaries[-1] / "initdb"), "-A", "trust", "-U", "iir", "-D", str(data)]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={data}"
    serve = [*as_user, str(binaries[-1] / "postgres"), "-D", str(data), *options.split()]
    log = folder / "postgresql.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            serve, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    try:
        _wait_listening(port, process, log)
        yield f"postgresql://iir@127.0.0.1:{port}/postgres"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(15)


def _wait_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL on port {port} did not start:\n{log.read_text()[-2000:]}")


def post(url: str, body: bytes) -> None:
    """Post JSON and wait for a 2xx answer; raises `HTTPError` for another one."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def wait_idle(server: Server) -> None:
    """Wait until the inbox of `iir serve` is empty and it uses less than half a core.

    Goes on after `IDLE_WITHIN_S` in any case: the simulated world is never quite idle.
    """
    wait_handled(server)
    deadline = time.monotonic() + IDLE_WITHIN_S
    is_idle = False
    while not is_idle and time.monotonic() < deadline:
        before = server.cpu_s()
        time.sleep(1)
        is_idle = server.cpu_s() - before < 0.5


def wait_handled(server: Server) -> None:
    """Wait until the inbox of `iir serve` is empty; raises `RuntimeError` if it does not get so."""
    deadline = time.monotonic() + HANDLED_WITHIN_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(server.url + "/readyz", timeout=30) as answer:
            if json.load(answer)["inbox_depth"] == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the inbox was not empty after {HANDLED_WITHIN_S:g} s")
