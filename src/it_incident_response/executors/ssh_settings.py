"""How the SSH executor logs in and what bounds it keeps; importing this loads no SSH library."""

from pathlib import Path

from pydantic import Field, SecretStr

from it_incident_response.domain.model import Value


class SshSettings(Value):
    """Settings of `SshExecutor`; hosts, their users and jump hosts are in the inventory."""

    username: str | None = None
    """Who logs in, unless the inventory names another user for a host."""
    private_key: Path | None = None
    """None: the keys of the running ssh-agent (`SSH_AUTH_SOCK`)."""
    passphrase: SecretStr | None = None
    """Of the private key."""
    known_hosts: Path = Path("~/.ssh/known_hosts")
    """Host keys that are accepted; no other ever is."""
    connect_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """To connect and log in, for each hop."""
    command_timeout_s: float | None = Field(default=None, gt=0, le=86400)
    """Upper bound of any command; None: the action's own `time_limit_s`."""
    max_output_bytes: int = Field(default=262_144, ge=1024, le=16_777_216)
    """Standard output kept of one command; of standard error an eighth of it."""
    sudo: bool = True
    """Run changing commands by `sudo -n`; False if the user may make the changes itself."""
    max_sessions: int = Field(default=6, ge=1, le=100)
    """Commands at once on one connection; OpenSSH's `MaxSessions` allows 10 by default."""
    keepalive_s: float = Field(default=15.0, gt=0, le=3600)
    """A silent connection is asked this often, and given up after three unanswered times."""
