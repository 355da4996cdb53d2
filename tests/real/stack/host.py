"""Real hosts: systemd as init, sshd, a user with narrow sudo, and services to break."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.real.stack.filesystem import Filesystem
from tests.real.stack.host_files import HostPlan, write_host_files
from tests.real.stack.process import Server, is_listening, require_binary, require_root
from tests.real.stack.waiting import wait_until

_HERE = Path(__file__).parent
_ADDRESSES = [f"127.0.0.{number}" for number in range(11, 100)]
_PREFIX = "iir-host-"
_BOOTING_S = 60
"""A younger cgroup without a process may belong to a host that is about to boot."""


@dataclass(kw_only=True)
class Host(Server):
    """A booted host that shares this machine's network under a loopback address of its own."""

    plan: HostPlan
    cgroup: Path
    folder: Path
    key: Path
    """Private key of `user`."""
    known_hosts: Path
    """File with this host's key, to be checked against."""
    host_key: Path
    """The host's own private key."""
    user: str = "deploy"

    @property
    def address(self) -> str:
        """Loopback address of the host."""
        return self.plan.address

    @property
    def port(self) -> int:
        """Port of its sshd."""
        return self.plan.ssh_port

    @property
    def filesystem(self) -> Filesystem:
        """Its small filesystem, mounted at `/srv/data`."""
        return Filesystem(path=self.path("/srv/data"), mount_point="/srv/data")

    @property
    def node_exporter(self) -> str:
        """`host:port` of the node_exporter that runs in the host."""
        return f"{self.address}:{self.plan.exporter_port}"

    def service_url(self, name: str = "checkout") -> str:
        """Return the health URL of a service, as the blackbox exporter probes it."""
        return f"http://{self.address}:{self.plan.services[name]}/health"

    @property
    def init_pid(self) -> int:
        """The host's systemd, as seen from here."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0])

    def path(self, inside: str) -> Path:
        """Return a path of the host as it can be read and written from here."""
        return Path(f"/proc/{self.init_pid}/root{inside}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the host as its root, by the back door; it need not succeed."""
        enter = ["nsenter", "-t", str(self.init_pid), "-m", "-u", "-i", "-p", "-C", "-r", "-w"]
        return subprocess.run([*enter, "--", *command], capture_output=True, text=True, timeout=30)

    def ssh(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH as `user`, checking the host key; it need not succeed."""
        options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-F", "/dev/null"]
        options += ["-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "IdentitiesOnly=yes"]
        options += ["-i", str(self.key), "-p", str(self.port)]
        return subprocess.run(
            ["ssh", *options, f"{self.user}@{self.address}", *command],
            capture_output=True,
            text=True,
            timeout=30,
        )

    def unit_state(self, name: str = "checkout") -> str:
        """Return systemd's ActiveState of a service: active, failed, inactive..."""
        return self.run("systemctl", "show", "-P", "ActiveState", f"{name}.service").stdout.strip()

    def kill_service(self, name: str = "checkout") -> None:
        """Kill a service as a crash would; nothing restarts it."""
        self.run("systemctl", "kill", "--signal=KILL", f"{name}.service")
        wait_until(lambda: self.unit_state(name) == "failed", 5, f"{name} to be dead")

    def restart_service(self, name: str = "checkout") -> None:
        """Start a service afresh and wait until it is well."""
        self.run("systemctl", "restart", f"{name}.service")
        wait_until(lambda: self.is_well(name), 10, f"{name} to be well")

    def is_well(self, name: str = "checkout") -> bool:
        """Tell whether the service says it is well."""
        return httpx.get(self.service_url(name), timeout=1).is_success

    def leave_cause(self, name: str = "checkout", *, cause: str = "exit") -> None:
        """Leave trouble: `exit` ends the service at its start, `unhealthy` spoils its health."""
        self.path(f"/etc/toy/{name}.cause").write_text(cause)

    def remove_cause(self, name: str = "checkout") -> None:
        """Take the trouble away; a dead service stays dead until it is restarted."""
        self.path(f"/etc/toy/{name}.cause").unlink(missing_ok=True)

    def journal(self, lines: int = 60) -> str:
        """Return the end of the host's journal."""
        return self.run("journalctl", "--no-pager", "-n", str(lines)).stdout

    def log_tail(self, lines: int = 40) -> str:
        """Return the boot log and, while it runs, the journal."""
        boot = super().log_tail(lines)
        return f"{boot}\n{self.journal(lines)}" if self.is_running else boot

    def kill(self) -> None:
        """End the host and wait until nothing of it is left."""
        super().kill()
        _remove_cgroup(self.cgroup)

    def stop(self) -> None:
        """End the host; its state is thrown away, so it is not shut down first."""
        self.kill()

    def start(self) -> "Host":
        """Boot and return when sshd, its services and its node_exporter answer."""
        self.cgroup.mkdir()
        super().start()
        return self

    def is_ready(self) -> bool:
        """Tell whether everything that the host serves answers."""
        ports = (self.port, self.plan.exporter_port, *self.plan.services.values())
        return all(is_listening(port, self.address) for port in ports)


def require_host_support() -> None:
    """Skip the test where a host cannot be booted, saying why."""
    require_root("booting a systemd host")
    for binary, package in (
        ("unshare", "util-linux"),
        ("sshd", "openssh-server"),
        ("ssh", "openssh-client"),
        ("sudo", "sudo"),
        ("mkfs.ext4", "e2fsprogs"),
        ("prometheus-node-exporter", "prometheus-node-exporter"),
    ):
        require_binary(binary, package=package)
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is not installed: apt-get install systemd")
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "true"],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        pytest.skip(f"namespaces are not available here: {tried.stderr.strip()}")
    if _cgroup_root() is None:
        pytest.skip("no writable cgroup2 file system is mounted under /sys/fs/cgroup")


def _cgroup_root() -> Path | None:
    for candidate in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (candidate / "cgroup.procs").exists() and os.access(candidate, os.W_OK):
            return candidate
    return None


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a host's cgroup tree once its last process is gone."""
    if not cgroup.exists():
        return
    wait_until(
        lambda: "populated 0" in (cgroup / "cgroup.events").read_text(), 10, "the host to end"
    )
    for folder in sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    cgroup.rmdir()


def _sweep(root: Path) -> None:
    """Remove what killed test runs left behind: old cgroups without a process, their folders."""
    for left in root.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another run may be sweeping too
            age_s = time.time() - left.stat().st_mtime
            if age_s > _BOOTING_S and "populated 0" in (left / "cgroup.events").read_text():
                _remove_cgroup(left)
                shutil.rmtree(Path(tempfile.gettempdir()) / left.name, ignore_errors=True)


def _claim_address(ports: Sequence[int], stack: ExitStack) -> str | None:
    """Return a loopback address whose ports are all free, claimed until the stack is closed.

    The claim is a bound UDP socket: no other test run can hold it, and it goes with the process.
    """
    for address in _ADDRESSES:
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((address, ports[0]))
            for port in ports:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
        except OSError:
            claim.close()
            continue
        stack.callback(claim.close)
        return address
    return None


def _make_plan(
    name: str,
    services: Sequence[str],
    sudo_commands: Sequence[tuple[str, ...]],
    stack: ExitStack,
) -> HostPlan:
    """Place a host on the usual ports, or on others where this machine takes those everywhere."""
    for ssh_port, exporter_port, first in ((22, 9100, 8080), (2222, 19100, 18080)):
        ports = {service: first + index for index, service in enumerate(services)}
        if address := _claim_address([ssh_port, exporter_port, *ports.values()], stack):
            return HostPlan(
                name=name,
                address=address,
                services=ports,
                sudo_commands=tuple(sudo_commands),
                ssh_port=ssh_port,
                exporter_port=exporter_port,
            )
    pytest.skip("no loopback address has the ports of a host free")


@contextmanager
def booted_host(
    name: str = "web-1",
    *,
    services: Sequence[str] = ("checkout",),
    sudo_commands: Sequence[tuple[str, ...]] = (),
) -> Iterator[Host]:
    """Boot a host until the block ends.

    Each of `services` is a systemd unit of that name with a health page, which the user may
    restart through sudo; `sudo_commands` are the further commands, each an argument vector,
    that sudo allows.
    """
    require_host_support()
    cgroup_root = _cgroup_root()
    assert cgroup_root is not None
    _sweep(cgroup_root)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        plan = _make_plan(name, services, sudo_commands, stack)
        host = _host(plan, folder, cgroup_root / folder.name)
        stack.enter_context(host)
        yield host


def _host(plan: HostPlan, folder: Path, cgroup: Path) -> Host:
    key, host_key, known_hosts = folder / "id_ed25519", folder / "host_key", folder / "known_hosts"
    for path in (key, host_key):
        _make_key(path)
    host_type, host_public = host_key.with_suffix(".pub").read_text().split()[:2]
    known_hosts.write_text(f"{plan.known_name} {host_type} {host_public}\n")
    write_host_files(folder, plan, host_key=host_key, authorized=key.with_suffix(".pub"))
    host = Host(
        name=f"host {plan.name}",
        plan=plan,
        folder=folder,
        cgroup=cgroup,
        key=key,
        known_hosts=known_hosts,
        host_key=host_key,
        log=folder / "boot.log",
        argv=["bash", str(_HERE / "systemd_host"), "boot", plan.name, str(cgroup), str(folder)],
        stop_signal=signal.SIGKILL,
    )
    host.ready = host.is_ready
    return host


def _make_key(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
