"""Opens SSH connections with checked host keys, and keeps one for each host."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from it_incident_response.domain.inventory import HostEntry
from it_incident_response.errors import (
    ConfigError,
    ConnectorError,
    ConnectorRejected,
    ConnectorUnavailable,
)
from it_incident_response.executors.ssh_keys import Identity, has_keys, read_known_hosts
from it_incident_response.executors.ssh_settings import SshSettings

CONNECTOR = "ssh"
_MAX_HOPS = 4
_NO_COMMON_KEY_TYPE = (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionResetError)
"""How it shows that the host has no key of a known type: either side may hang up first."""


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

    def __post_init__(self) -> None:
        """Prepare the identity; its key is opened at the first login."""
        self._identity = Identity(self.settings)

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
        try:
            async with (
                asyncio.timeout(self.settings.connect_timeout_s),
                self._identity.keys() as keys,
            ):
                options = self._options(host) | {
                    "client_keys": keys,
                    "client_factory": lambda: witness,
                    "tunnel": tunnel or (),
                }
                return await self._log_in(host, options)
        except (asyncssh.Error, OSError) as error:
            raise self._translated(error, host, witness) from None

    async def _log_in(
        self, host: HostEntry, options: dict[str, Any]
    ) -> asyncssh.SSHClientConnection:
        known = read_known_hosts(self.settings.known_hosts)
        options = options | {"host": host.address, "port": host.port, "known_hosts": known}
        try:
            return await asyncssh.connect(**options)
        except _NO_COMMON_KEY_TYPE:
            if not has_keys(known, host):
                raise
        # asyncssh asks for keys of the known types only. Ask for any, to see which key is offered;
        # one that is not known is refused all the same.
        return await asyncssh.connect(**options, server_host_key_algs="default")

    def _options(self, host: HostEntry) -> dict[str, Any]:
        """Return what asyncssh is told; nothing is left to ~/.ssh or to the environment."""
        return {
            "config": None,
            "username": self.user(host),
            "agent_path": None,
            "preferred_auth": "publickey",
            "gss_host": None,
            "x509_trusted_certs": None,
            "keepalive_interval": self.settings.keepalive_s,
            "keepalive_count_max": 3,
            "login_timeout": self.settings.connect_timeout_s,
            "compression_algs": None,
        }

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
            return ConnectorRejected(CONNECTOR, f"{where}: no agreement on how to talk: {error}")
        reason = _reason(error, self.settings.connect_timeout_s)
        return ConnectorUnavailable(CONNECTOR, f"cannot connect to {where}: {reason}")

    def _host_key_refused(
        self, where: str, host: HostEntry, key: asyncssh.SSHKey | None, reason: str
    ) -> ConnectorRejected:
        if key is None:
            return ConnectorRejected(CONNECTOR, f"{where}: {reason}")
        offered = f"{key.get_algorithm()} {key.get_fingerprint()}"
        path = self.settings.known_hosts
        if has_keys(read_known_hosts(path), host):
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
