"""What is put into a host before it boots: users, keys, sudoers, sshd, units, a filesystem."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
FILESYSTEM_MB = 64


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """How a host is to be: its address, its services with their ports, who may do what."""

    name: str
    address: str
    services: Mapping[str, int]
    sudo_commands: tuple[tuple[str, ...], ...] = ()
    """Argument vectors that `deploy` may run as root, beside restarting the services."""
    ssh_port: int = 22
    exporter_port: int = 9100

    @property
    def known_name(self) -> str:
        """The host as a known_hosts file names it."""
        return self.address if self.ssh_port == 22 else f"[{self.address}]:{self.ssh_port}"


def sudoers(plan: HostPlan) -> str:
    """Return the narrow rights of `deploy`: exact commands, nothing with a wildcard."""
    defaults = [f"systemctl restart -- {name}.service".split() for name in plan.services]
    rights = [_sudo_right(command) for command in (*defaults, *plan.sudo_commands)]
    return "".join(f"deploy ALL=(root) NOPASSWD: {right}\n" for right in rights)


def _sudo_right(command: Sequence[str]) -> str:
    """Return a command as sudoers(5) wants it: full path, its special characters escaped."""
    program = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise ValueError(f"there is no {command[0]} to grant")
    escaped = [re.sub(r"([,:=\\*?\[\]!\s])", r"\\\1", argument) for argument in command[1:]]
    return " ".join([program, *escaped])


def write_host_files(folder: Path, plan: HostPlan, *, host_key: Path, authorized: Path) -> None:
    """Write `files/` and `setup` into the folder that `systemd_host` boots from."""
    files = folder / "files"
    _write(files / "etc/sudoers.d/deploy", sudoers(plan), 0o440)
    _write(files / "etc/ssh/sshd_config", _sshd_config(plan))
    _write(files / "etc/ssh/host_key", host_key.read_text(), 0o600)
    _write(files / "home/deploy/.ssh/authorized_keys", authorized.read_text(), 0o600)
    _write(files / "opt/toy/toy_service.py", (_HERE / "toy_service.py").read_text())
    (files / "etc/toy").mkdir(parents=True)
    units = {f"{name}.service": _toy_unit(plan, name) for name in plan.services}
    units |= {"ssh.service": _SSH_UNIT, "node-exporter.service": _exporter_unit(plan)}
    for name, text in units.items():
        _write(files / "etc/systemd/system" / name, text)
    _write(folder / "setup", _setup(tuple(units)), 0o755)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _setup(units: tuple[str, ...]) -> str:
    """Return the script that runs with the host's root folder as $1, inside its mounts."""
    enable = "\n".join(
        f'ln -s ../{unit} "$root/etc/systemd/system/multi-user.target.wants/{unit}"'
        for unit in units
    )
    return f"""#!/bin/bash
set -euo pipefail
root=$1
for file in passwd shadow group gshadow; do rm -f "$root/etc/$file.lock"; done
chroot "$root" userdel --force deploy >/dev/null 2>&1 || true
chroot "$root" useradd --shell /bin/bash --no-create-home --home-dir /home/deploy deploy
chroot "$root" usermod --password '*' --append --groups systemd-journal deploy
chroot "$root" chown -R deploy:deploy /home/deploy
chmod 700 "$root/home/deploy" "$root/home/deploy/.ssh"
chroot "$root" useradd --system --no-create-home toy
# The small filesystem: ext4 in a file where loop devices exist, else tmpfs of the same size.
image=$(dirname "$root")/data.img
truncate -s {FILESYSTEM_MB}M "$image"
mkfs.ext4 -q -m 0 "$image"
mkdir -p "$root/srv/data"
mount -o loop "$image" "$root/srv/data" ||
  mount -t tmpfs -o size={FILESYSTEM_MB}m tmpfs "$root/srv/data"
chmod 755 "$root/srv/data"
{enable}
"""


def _sshd_config(plan: HostPlan) -> str:
    return f"""ListenAddress {plan.address}:{plan.ssh_port}
HostKey /etc/ssh/host_key
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers deploy
AcceptEnv IIR_*
Subsystem sftp internal-sftp
"""


_SSH_UNIT = """[Unit]
Description=OpenSSH server

[Service]
Type=notify
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755
ExecStart=/usr/sbin/sshd -D
KillMode=process
"""


def _exporter_unit(plan: HostPlan) -> str:
    program = shutil.which("prometheus-node-exporter") or "/usr/bin/prometheus-node-exporter"
    collectors = " ".join(
        f"--collector.{name}" for name in ("filesystem", "cpu", "meminfo", "loadavg", "netdev")
    )
    return f"""[Unit]
Description=Prometheus node_exporter

[Service]
User=nobody
ExecStart={program} --web.listen-address={plan.address}:{plan.exporter_port} \\
  --collector.disable-defaults {collectors}
"""


def _toy_unit(plan: HostPlan, name: str) -> str:
    return f"""[Unit]
Description=The {name} service
StartLimitIntervalSec=0

[Service]
User=toy
ExecStart=/usr/bin/python3 -I /opt/toy/toy_service.py --address {plan.address} \\
  --port {plan.services[name]} --cause /etc/toy/{name}.cause
"""
