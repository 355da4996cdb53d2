"""Opens SSH connections with checked host keys, and keeps one for each host."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
from pydantic import SecretStr

from it_incident_response.domain.inventory import HostEntry
from it_incident_response.errors import (
    ConfigError,
    ConnectorError,
    ConnectorRejected,
    ConnectorUnavailable,
)
from it_incident_response.executors.ssh_settings import SshSettings

CONNECTOR = "ssh"
_MAX_HOPS = 4


class _KeyWitness(asyncssh.SSHClient):
    """Remembers the host key that was offered and not accepted; accepts none itself."""

    def __init__(self) -> None:
        self.refused: asyncssh.SSHKey | None = None

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        self.refused = key
        return False


@dataclass
class _Link:
    """The connection to one host."""

    opening: asyncio.Lock
    sessions: asyncio.Semaphore
    connection: asyncssh.SSHClientConnection | None = None


@dataclass
class SshConnections:
    """One connection a host, opened when first needed and again when it is gone."""

    hosts: Mapping[str, HostEntry]
    settings: SshSettings
    _links: dict[str, _Link] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None
    _key: tuple[int, asyncssh.SSHKey] | None = None
    """The private key, and when its file was last changed (ns)."""

    @asynccontextmanager
    async def use(self, host: HostEntry) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """Lend the host's connection, to at most `max_sessions` users at once.

        Raises `ConfigError`, `ConnectorRejected` (host key or login) and `ConnectorUnavailable`.
        """
        link = self._link(host)
        async with link.sessions:
            self._require_end(host)
            yield await self._open(host)

    def user(self, host: HostEntry) -> str:
        """Return who logs in there; raises `ConfigError` if nobody is named."""
        user = host.user or self.settings.username
        if not user:
            raise ConfigError(
                f"nobody is named to log in to {host.name} over SSH",
                hint="set `automation.remediation.ssh.username`, SSH_USER or the host's `user`",
            )
        return user

    async def close(self) -> None:
        """Close every connection; what still runs on them is not waited for."""
        links, self._links = list(self._links.values()), {}
        open_ones = [link.connection for link in links if link.connection is not None]
        for connection in reversed(open_ones):
            connection.abort()
        await asyncio.gather(*(each.wait_closed() for each in open_ones))

    def _link(self, host: HostEntry) -> _Link:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # connections die with the loop that opened them
            self._loop, self._links = loop, {}
        if host.name not in self._links:
            sessions = asyncio.Semaphore(self.settings.max_sessions)
            self._links[host.name] = _Link(opening=asyncio.Lock(), sessions=sessions)
        return self._links[host.name]

    def _require_end(self, host: HostEntry) -> None:
        """Raise `ConfigError` unless the way through jump hosts ends."""
        hop = host
        for _ in range(_MAX_HOPS + 1):
            if hop.jump is None:
                return
            hop = self.hosts[hop.jump]
        raise ConfigError(
            f"more than {_MAX_HOPS} jump hosts lead to {host.name}",
            hint="look for a circle in the `jump` entries of the inventory",
        )

    async def _open(self, host: HostEntry) -> asyncssh.SSHClientConnection:
        link = self._link(host)
        async with link.opening:
            if link.connection is None or link.connection.is_closed():
                link.connection = await self._connect(host)
            return link.connection

    async def _connect(self, host: HostEntry) -> asyncssh.SSHClientConnection:
        tunnel = None if host.jump is None else await self._open(self.hosts[host.jump])
        witness = _KeyWitness()
        options = await self._options(host)
        try:
            async with asyncio.timeout(self.settings.connect_timeout_s):
                return await asyncssh.connect(
                    host.address,
                    host.port,
                    tunnel=tunnel or (),
                    client_factory=lambda: witness,
                    **options,
                )
        except (asyncssh.Error, OSError) as error:
            raise self._translated(error, host, witness) from None

    async def _options(self, host: HostEntry) -> dict[str, Any]:
        """Return what asyncssh is told; nothing is left to ~/.ssh/config."""
        settings = self.settings
        key = (
            None if settings.private_key is None else await self._private_key(settings.private_key)
        )
        return {
            "config": None,
            "username": self.user(host),
            "client_keys": None if key is None else [key],
            "agent_path": os.environ.get("SSH_AUTH_SOCK") if key is None else None,
            "known_hosts": _read_known_hosts(settings.known_hosts),
            "preferred_auth": "publickey",
            "gss_host": None,
            "x509_trusted_certs": None,
            "keepalive_interval": settings.keepalive_s,
            "keepalive_count_max": 3,
            "login_timeout": settings.connect_timeout_s,
            "compression_algs": None,
        }

    async def _private_key(self, path: Path) -> asyncssh.SSHKey:
        """Return the key; opened again only if its file changed, since decryption is slow."""
        changed = _require_private(path)
        if self._key is None or self._key[0] != changed:
            key = await asyncio.to_thread(_read_key, path, self.settings.passphrase)
            self._key = (changed, key)
        return self._key[1]

    def _translated(
        self, error: Exception, host: HostEntry, witness: _KeyWitness
    ) -> ConnectorError:
        where = f"{host.name} ({host.address}:{host.port})"
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return self._host_key_refused(where, host, witness.refused, str(error))
        if isinstance(error, asyncssh.PermissionDenied):
            return ConnectorRejected(
                CONNECTOR,
                f"{where} refused the login of {self.user(host)!r}",
                hint="is the public key in that user's ~/.ssh/authorized_keys there?",
            )
        if isinstance(error, asyncssh.KeyExchangeFailed | asyncssh.ProtocolNotSupported):
            return ConnectorRejected(
                CONNECTOR,
                f"{where}: no agreement on how to talk: {error}",
                hint=f"has {self.settings.known_hosts} a key of a type that the host still offers?",
            )
        reason = _reason(error, self.settings.connect_timeout_s)
        return ConnectorUnavailable(CONNECTOR, f"cannot connect to {where}: {reason}")

    def _host_key_refused(
        self, where: str, host: HostEntry, key: asyncssh.SSHKey | None, reason: str
    ) -> ConnectorRejected:
        if key is None:
            return ConnectorRejected(CONNECTOR, f"{where}: {reason}")
        offered = f"{key.get_algorithm()} {key.get_fingerprint()}"
        path = self.settings.known_hosts
        if _has_keys(_read_known_hosts(path), host):
            return ConnectorRejected(
                CONNECTOR,
                f"{where} shows another host key ({offered}) than {path} has for it",
                hint="either the host was set up anew or somebody sits in between: ask its owner "
                f"for the fingerprint before you change {path}",
            )
        return ConnectorRejected(
            CONNECTOR,
            f"{where} is not in {path}; it shows the host key {offered}",
            hint=f"get the key with `ssh-keyscan -p {host.port} {host.address}`, compare its "
            f"fingerprint with what the host's owner tells you, then add the line to {path}",
        )


def _reason(error: Exception, limit_s: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {limit_s:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _read_known_hosts(path: Path) -> asyncssh.SSHKnownHosts:
    """Return the accepted keys; none if there is no such file, so that every host is refused.

    Always an object: asyncssh takes None for "check nothing" and an empty text for the default.
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


def _has_keys(known: asyncssh.SSHKnownHosts, host: HostEntry) -> bool:
    port = host.port if host.port != 22 else None
    keys, authorities, *_ = known.match(host.address, "", port)
    return bool(keys or authorities)


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


def _read_key(path: Path, passphrase: SecretStr | None) -> asyncssh.SSHKey:
    secret = passphrase.get_secret_value() if passphrase else None
    try:
        return asyncssh.read_private_key(str(path.expanduser()), secret)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError):
        # The library's text is left out: it may quote the key.
        problem = "with the given passphrase" if passphrase else "without a passphrase"
        raise ConfigError(
            f"the private key {path} cannot be opened {problem}",
            hint="check that it is an OpenSSH or PEM private key and that its passphrase is right",
        ) from None
