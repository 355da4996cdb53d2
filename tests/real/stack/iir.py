"""`iir` as an installed program: a configuration file, `iir serve` as a process, and commands."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.real.stack.process import LOOPBACK, Server, free_port, is_listening


class CommandFailed(AssertionError):
    """An `iir` command ended with a status other than 0."""


@dataclass(kw_only=True)
class Iir:
    """An installation in a folder of its own: configuration, data, home."""

    folder: Path
    port: int
    bearer: str
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "iir.yaml"

    @property
    def webhook_url(self) -> str:
        """Where Alertmanager has to post."""
        return f"http://{LOOPBACK}:{self.port}/webhooks/alertmanager"

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration: these settings and the receiver's own."""
        own = {
            "data_dir": str(self.folder / "data"),
            "server": {
                "host": LOOPBACK,
                "port": self.port,
                "authorization": {"credentials": self.bearer},
            },
        }
        self.config.write_text(yaml.safe_dump({**own, **settings}, sort_keys=False))
        self.config.chmod(0o600)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "USER": "alice",
            "LOGNAME": "alice",
            "COLUMNS": "200",
        }

    def _argv(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "it_incident_response"),
            *("--config", str(self.config), *arguments),
        ]

    def serve(self, log_name: str = "serve") -> Server:
        """Return `iir serve` as a server, not started; several may share one database."""
        return Server(
            name=f"iir {log_name}",
            argv=self._argv("serve"),
            log=self.folder / f"{log_name}.log",
            environment=self._environment,
            ready=lambda: is_listening(self.port),
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command; it need not succeed."""
        return subprocess.run(
            self._argv(*arguments),
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin a command and do not wait for it."""
        with (self.folder / "begun.log").open("ab") as log:
            return subprocess.Popen(
                self._argv(*arguments),
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def command(self, *arguments: str) -> str:
        """Run a command that has to succeed and return what it printed."""
        done = self.run(*arguments)
        if done.returncode != 0:
            shown = f"{done.stdout}{done.stderr}"
            raise CommandFailed(f"iir {' '.join(arguments)}: status {done.returncode}\n{shown}")
        return done.stdout

    def read(self, *arguments: str) -> Any:
        """Run a command with `--json` and return the document it prints."""
        return json.loads(self.command(*arguments, "--json"))


def new_installation(folder: Path, *, bearer: str) -> Iir:
    """Return an installation with a free port, not configured yet."""
    return Iir(folder=folder, port=free_port(), bearer=bearer)
