"""A private PostgreSQL server: its own folder, port and password; never the machine's."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.stack.process import LOOPBACK, Server, free_port, require_binary

_FAST_BUT_FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass(kw_only=True)
class Postgres:
    """A running server; every test takes a database of its own from it."""

    server: Server
    port: int
    password: str

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, as an operator would write it."""
        return f"postgresql://iir:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self._run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, ending the connections to it."""
        self._run(f'DROP DATABASE "{url.rsplit("/", 1)[1]}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        import psycopg  # here, since most test runs need no PostgreSQL

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


def _binaries() -> Path:
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: float(path.parent.parent.name), default=None)
    if newest is not None:
        return newest.parent
    if found := shutil.which("initdb"):
        return Path(found).parent
    pytest.skip("PostgreSQL is not installed: apt-get install postgresql")


def _initialise(binaries: Path, directory: Path, user: str | None, password: str) -> None:
    """Make the cluster; initdb refuses root, so root hands over to `user`."""
    password_file = directory / "password"
    password_file.write_text(password)
    password_file.chmod(0o600)
    become = []
    if user is not None:
        shutil.chown(directory, user)
        shutil.chown(password_file, user)
        setpriv = require_binary("setpriv", package="util-linux")
        become = [setpriv, "--reuid", user, "--regid", user, "--init-groups", "--"]
    initdb = [str(binaries / "initdb"), "--pgdata", str(directory / "cluster"), "--username=iir"]
    options = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--no-sync"]
    done = subprocess.run(
        [*become, *initdb, *options, "--locale=C.UTF-8"], capture_output=True, text=True, cwd="/"
    )
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")


@contextmanager
def running_postgres(log: Path, *, is_durable: bool = False) -> Iterator[Postgres]:
    """Run a server in a temporary folder until the block ends.

    `is_durable` keeps fsync on, for benchmarks and for tests that kill the server itself.
    """
    binaries = _binaries()
    user = "postgres" if os.geteuid() == 0 else None
    port, password = free_port(), secrets.token_urlsafe(16)
    directory = Path(tempfile.mkdtemp(prefix="iir-postgres-"))
    try:
        _initialise(binaries, directory, user, password)
        settings = [f"port={port}", f"listen_addresses={LOOPBACK}", "max_connections=200"]
        settings += [f"unix_socket_directories={directory}"]
        settings += [] if is_durable else _FAST_BUT_FORGETFUL
        argv = [str(binaries / "postgres"), "-D", str(directory / "cluster")]
        for setting in settings:
            argv += ["-c", setting]
        postgres = Postgres(
            server=Server(
                name="postgres", argv=argv, log=log, run_as=user, stop_signal=signal.SIGINT
            ),
            port=port,
            password=password,
        )
        postgres.server.ready = lambda: _answers(postgres.url())
        with postgres.server:
            yield postgres
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _answers(url: str) -> bool:
    import psycopg

    with psycopg.connect(url, connect_timeout=2) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
