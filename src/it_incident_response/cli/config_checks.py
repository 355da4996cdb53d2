"""What `iir config check` looks at: every configured system, file and the database."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from it_incident_response.config import Settings
from it_incident_response.config.connections import HttpSystem
from it_incident_response.config.display import mask_url
from it_incident_response.config.secret_files import check_private
from it_incident_response.errors import ConfigError, StoreUnavailable
from it_incident_response.integrations.reachability import (
    Reading,
    check_http,
    check_ssh,
    measured,
)
from it_incident_response.ports import Health

_SSH_AT_ONCE = 50
_ENGINE_S = 10.0


class Checked(NamedTuple):
    """One row of the table."""

    system: str
    where: str
    used_for: str
    """Empty if nothing uses it."""
    reading: Reading

    @property
    def is_failure(self) -> bool:
        """True if something that is used does not work."""
        return bool(self.used_for) and not self.reading.is_working


@dataclass(frozen=True)
class _Check:
    system: str
    where: str
    used_for: str
    run: Callable[[], Awaitable[Health]]


async def check_all(settings: Settings, budget_s: float) -> list[Checked]:
    """Check everything that is configured, all at once, each within `budget_s`."""
    checks = [
        *_systems(settings),
        *_hosts(settings),
        *_files(settings),
        _database(settings),
        _engine(settings),
    ]
    readings = await asyncio.gather(*(measured(check.run, budget_s=budget_s) for check in checks))
    return [
        Checked(check.system, check.where, check.used_for, reading)
        for check, reading in zip(checks, readings, strict=True)
    ]


def _systems(settings: Settings) -> Iterator[_Check]:
    infrastructure = settings.infrastructure
    systems: dict[str, HttpSystem] = {
        "prometheus": settings.prometheus,
        "alertmanager": settings.alertmanager,
        "elasticsearch": infrastructure.logging.elasticsearch,
        "splunk": infrastructure.logging.splunk,
        "grafana": infrastructure.visualization.grafana,
        "jaeger": infrastructure.tracing.jaeger,
        "tempo": infrastructure.tracing.tempo,
        "jira": settings.ticketing.jira,
    }
    ports = settings.ports.model_dump()
    for kind, system in systems.items():
        if system.url is None:
            continue
        used = [port for port, choice in ports.items() if choice == kind]
        used += ["logs"] if kind in settings.log_systems and "logs" not in used else []
        used_for = ", ".join(used)
        fields = system.connector_fields() | {"attempts": 1}
        yield _Check(kind, system.url, used_for, partial(check_http, kind, fields))


def _engine(settings: Settings) -> _Check:
    async def check() -> Health:
        from it_incident_response.workflow.engine.connection import connect, until_ready
        from it_incident_response.workflow.engine.server_binary import find_binary, server_version

        if engine.is_embedded:
            binary = await asyncio.to_thread(find_binary, engine.embedded_binary)
            return Health(version=await server_version(binary), detail="run by `iir serve`")
        await until_ready(await connect(engine), _ENGINE_S)
        return Health(detail="a workflow can be started")

    engine = settings.engine
    return _Check("temporal", engine.address or "embedded", "workflows", check)


def _hosts(settings: Settings) -> Iterator[_Check]:
    used_for = "execution" if settings.ports.execution == "ssh" else ""
    gate = asyncio.Semaphore(_SSH_AT_ONCE)

    async def check(address: str, port: int) -> Health:
        async with gate:
            return await check_ssh(address, port)

    for host in settings.inventory.hosts:
        if host.jump is None:  # Behind a jump host nothing can be told without logging in.
            where = f"{host.address}:{host.port}"
            yield _Check(
                f"ssh {host.name}", where, used_for, partial(check, host.address, host.port)
            )


def _files(settings: Settings) -> Iterator[_Check]:
    ssh, ansible = settings.ssh, settings.automation.deployment.ansible
    executes = "execution" if settings.ports.execution == "ssh" else ""
    rules_dirs = settings.diagnosis.rules_dirs
    key = "automation.remediation.ssh"
    found: list[tuple[str, Path | None, str, Callable[[Path], None]]] = [
        (f"{key}.private_key", ssh.private_key, executes, check_private),
        (f"{key}.known_hosts", ssh.known_hosts if executes else None, executes, _readable),
        ("policy", settings.policy, "plans", _readable),
        *(("diagnosis.rules_dirs", path, "diagnosis", _folder) for path in rules_dirs),
        ("automation.deployment.ansible.inventory_file", ansible.inventory_file, "", _readable),
        ("automation.deployment.ansible.playbook_dir", ansible.playbook_dir, "", _folder),
        *(
            ("automation.deployment.kubernetes.kubeconfig", path, "", check_private)
            for path in _kubeconfigs(settings)
        ),
    ]
    for setting, path, used_for, look in found:
        if path is not None:
            run = partial(_check_file, setting, path, look)
            yield _Check(setting.rpartition(".")[2], str(path), used_for, run)


def _kubeconfigs(settings: Settings) -> Iterator[Path]:
    for text in (settings.automation.deployment.kubernetes.kubeconfig or "").split(os.pathsep):
        if text:
            yield Path(os.path.expandvars(text)).expanduser()


async def _check_file(setting: str, path: Path, look: Callable[[Path], None]) -> Health:
    try:
        await asyncio.to_thread(look, path)
    except ValueError as error:
        raise ConfigError(str(error), hint=f"mend it, or change {setting}") from error
    return Health()


def _readable(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read by this user")


def _folder(path: Path) -> None:
    if not path.is_dir():
        raise ValueError(f"{path} is no folder")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ValueError(f"{path} cannot be read by this user")


def _database(settings: Settings) -> _Check:
    url = settings.database_url.get_secret_value()
    return _Check("database", mask_url(url), "everything", partial(_check_database, url))


async def _check_database(url: str) -> Health:
    """Connect and read; a SQLite file that is not there yet is not made, nothing is migrated."""
    scheme, _, path = url.partition(":///")
    if scheme.partition("+")[0] == "sqlite":
        found = await asyncio.to_thread(_not_made_yet, Path(path))
        if found is not None:
            return found
    from it_incident_response.storage.location import database_at

    database = database_at(url)
    try:
        await database.connect()
        async with database.read() as connection:
            version = connection.dialect.server_version_info or ()
    finally:
        await database.close()
    return Health(version=".".join(str(part) for part in version) or None)


def _not_made_yet(path: Path) -> Health | None:
    """Return None if the file exists, raise if it could not be made."""
    if path.exists():
        return None
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    mode = folder.stat().st_mode
    if not stat.S_ISDIR(mode) or not os.access(folder, os.W_OK | os.X_OK):
        raise StoreUnavailable(
            f"{path} does not exist and cannot be made: {folder} is not writable for this user",
            hint="set data_dir or store.url to a place that is",
        )
    return Health(detail="will be created")
