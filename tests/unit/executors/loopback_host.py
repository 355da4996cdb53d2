"""A host for fast tests: a real SSH server in this process, real shells, a make-believe systemd.

Commands run in `sh -c` as sshd runs them, with `bin/` first on PATH: its `sudo` grants what
the file `sudoers` lists, its `systemctl` keeps one unit's state in files.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.executors.ssh import SshExecutor, SshSettings

UNIT = "checkout.service"
USER = "deploy"

_SUDO = """#!/bin/sh
shift  # -n
list=no; [ "$1" = -l ] && { list=yes; shift; }
[ "$1" = -- ] && shift
grep -qxF -e "$*" "$HOST_DIR/sudoers" || { echo "sudo: a password is required" >&2; exit 1; }
[ $list = yes ] && exit 0
exec "$@"
"""

_SYSTEMCTL = """#!/bin/sh
cd "$HOST_DIR"
case "$1 $(cat mode)" in
  "show "*) printf 'LoadState=loaded\\nActiveState=%s\\nSubState=running\\nInvocationID=%032d\\n' \\
      "$(cat active)" "$(wc -l <restarts)" ;;
  "restart fail") echo "Job for $3 failed." >&2; echo failed >active; exit 1 ;;
  "restart hang") echo $$ >pid; exec sleep 600 ;;
  "restart stubborn") trap '' TERM; echo $$ >pid; while :; do sleep 1; done ;;
  "restart flood") yes "a line of output" | head -c 3000000; echo x >>restarts ;;
  "restart "*) echo x >>restarts; echo active >active ;;
esac
"""


@dataclass
class LoopbackHost:
    """The host, what was done on it, and how to spoil it."""

    folder: Path
    port: int = 0
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    logins: int = 0
    refusal: Callable[[], Any] | None = None
    """What answers a request for a session in place of the shell."""

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def entry(self, name: str = "web-1", **changes: object) -> HostEntry:
        services = (ServiceEntry(name="checkout", unit=UNIT),)
        values: dict[str, object] = {"port": self.port, "services": services} | changes
        return HostEntry(name=name, address="127.0.0.1", **values)  # type: ignore[arg-type]

    def settings(self, **changes: object) -> SshSettings:
        values = {"username": USER, "private_key": self.key, "known_hosts": self.known_hosts}
        return SshSettings.model_validate({**values, **changes})

    def executor(self, *entries: HostEntry, **changes: object) -> SshExecutor:
        return SshExecutor(Inventory(hosts=entries or (self.entry(),)), self.settings(**changes))

    def set_mode(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    def grant(self, *commands: str) -> None:
        (self.folder / "sudoers").write_text("".join(f"{command}\n" for command in commands))

    def write_program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    @property
    def restarts(self) -> int:
        return len((self.folder / "restarts").read_text().splitlines())

    @property
    def running_pid(self) -> int | None:
        """Process of the command that hangs, once it runs."""
        path = self.folder / "pid"
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text else None

    def cut_connections(self) -> None:
        for connection in self.connections:
            connection.abort()
        self.connections.clear()


def is_alive(pid: int) -> bool:
    """Tell whether the process exists and is no zombie."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _lay_out(folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    host = LoopbackHost(folder)
    host.write_program("sudo", _SUDO)
    host.write_program("systemctl", _SYSTEMCTL)
    for name, text in (("mode", "well"), ("active", "active"), ("restarts", ""), ("sudoers", "")):
        (folder / name).write_text(text)
    host.grant(f"systemctl restart -- {UNIT}")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(host.key))
    host.key.chmod(0o600)
    (folder / "authorized_keys").write_bytes(key.export_public_key())


@asynccontextmanager
async def loopback_host(folder: Path) -> AsyncIterator[LoopbackHost]:
    """Serve a host until the block ends; processes it left behind are killed."""
    _lay_out(folder)
    host = LoopbackHost(folder)
    children: set[asyncio.subprocess.Process] = set()

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            host.connections.append(conn)

        def auth_completed(self) -> None:
            host.logins += 1

        def session_requested(self) -> Any:
            if host.refusal is not None:
                return host.refusal()
            return asyncssh.SSHServerProcess(serve, None, 0, False)

        def connection_requested(self, *_: object) -> bool:
            return True  # a jump host passes connections on

    async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
        await _serve(process, folder, children)

    host_key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[host_key],
        authorized_client_keys=str(folder / "authorized_keys"),
        encoding=None,
        line_editor=False,
    )
    host.port = server.get_port()
    public = host_key.export_public_key().decode()
    host.known_hosts.write_text(f"[127.0.0.1]:{host.port} {public}")
    try:
        yield host
    finally:
        server.close()
        host.cut_connections()
        await server.wait_closed()
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        await asyncio.gather(*(child.wait() for child in children))


async def _serve(
    process: "asyncssh.SSHServerProcess[bytes]",
    folder: Path,
    children: set[asyncio.subprocess.Process],
) -> None:
    """Run the command as OpenSSH does: a session of its own, signals to its process group."""
    child = await asyncio.create_subprocess_exec(
        *("sh", "-c", process.command or "exit"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={"PATH": f"{folder}/bin:/usr/bin:/bin", "HOST_DIR": str(folder)},
    )
    children.add(child)
    assert child.stdout is not None
    assert child.stderr is not None

    def relay(name: str) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.Signals[f"SIG{name}"])

    process.signal_received = relay  # type: ignore[method-assign]
    try:
        await asyncio.gather(
            _pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr)
        )
        status = await child.wait()
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)
    except (OSError, asyncssh.Error):
        pass  # the client is gone; what it started goes on, as with OpenSSH


async def _pump(source: asyncio.StreamReader, sink: "asyncssh.SSHWriter[bytes]") -> None:
    while chunk := await source.read(65536):
        sink.write(chunk)
        await sink.drain()
