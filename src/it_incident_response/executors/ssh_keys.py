"""Keys: ours, from a file or an agent; and those of the hosts we know."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from it_incident_response.domain.inventory import HostEntry
from it_incident_response.errors import ConfigError
from it_incident_response.executors.ssh_settings import SshSettings

_AGENT_HINT = "start ssh-agent and `ssh-add` a key, or set `automation.remediation.ssh.private_key`"


class Identity:
    """Who we are to the hosts: the keys to log in with."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._opened: tuple[int, asyncssh.SSHKey] | None = None

    @asynccontextmanager
    async def keys(self) -> AsyncIterator[Sequence[asyncssh.SSHKey | asyncssh.SSHKeyPair]]:
        """Lend the configured private key, or those of the agent; raises `ConfigError`."""
        path = self._settings.private_key
        if path is not None:
            yield [await self._key(path)]
            return
        async with _agent() as agent:
            keys = await agent.get_keys()
            if not keys:
                raise ConfigError("the ssh-agent has no keys", hint=_AGENT_HINT)
            yield keys

    async def _key(self, path: Path) -> asyncssh.SSHKey:
        changed = _require_private(path)
        if self._opened is None or self._opened[0] != changed:
            # Decryption is slow on purpose: once for each change of the file, and not in the loop.
            key = await asyncio.to_thread(self._read, path)
            self._opened = (changed, key)
        return self._opened[1]

    def _read(self, path: Path) -> asyncssh.SSHKey:
        secret = self._settings.passphrase
        passphrase = secret.get_secret_value() if secret else None
        try:
            return asyncssh.read_private_key(str(path.expanduser()), passphrase)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError):
            # The library's text is left out: it may quote the key.
            problem = "with the given passphrase" if secret else "without a passphrase"
            raise ConfigError(
                f"the private key {path} cannot be opened {problem}",
                hint="check that it is an OpenSSH or PEM private key and its passphrase is right",
            ) from None


def read_known_hosts(path: Path) -> asyncssh.SSHKnownHosts:
    """Return the accepted keys; none if there is no such file, so that every host is refused.

    Always an object: asyncssh takes None for "check nothing" and an empty text for the default.
    Raises `ConfigError` if the file cannot be understood.
    """
    file = path.expanduser()
    if not file.exists():
        return asyncssh.import_known_hosts("")
    try:
        return asyncssh.read_known_hosts(str(file))
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{path} cannot be read as a known_hosts file: {error}",
            hint="`ssh-keygen -l -f FILE` names the bad line",
        ) from None


def has_keys(known: asyncssh.SSHKnownHosts, host: HostEntry) -> bool:
    """Return whether any key or authority is known for the host."""
    port = host.port if host.port != 22 else None
    keys, authorities, *_ = known.match(host.address, "", port)
    return bool(keys or authorities)


@asynccontextmanager
async def _agent() -> AsyncIterator[asyncssh.SSHAgentClient]:
    """Lend the running ssh-agent; raises `ConfigError` if there is none that answers."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise ConfigError(
            "no SSH private key is configured and no ssh-agent runs", hint=_AGENT_HINT
        )
    try:
        agent = await asyncssh.connect_agent(path)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"the ssh-agent at {path} does not answer: {reason}", hint=_AGENT_HINT
        ) from None
    try:
        yield agent
    finally:
        agent.close()
        await agent.wait_closed()


def _require_private(path: Path) -> int:
    """Return when the key file was last changed (ns).

    Raises `ConfigError` if it is missing or others may read it.
    """
    try:
        status = path.expanduser().stat()
    except OSError as error:
        raise ConfigError(
            f"the private key {path} cannot be read: {error.strerror}",
            hint="set `automation.remediation.ssh.private_key` or SSH_KEY_PATH to a key file",
        ) from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"the private key {path} may be read by others (mode {oct(status.st_mode & 0o777)})",
            hint=f"run: chmod 600 {path}",
        )
    return status.st_mtime_ns
