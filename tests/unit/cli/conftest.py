"""`iir` on real SQLite and the real composition; the record of a demo to look at."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from it_incident_response.cli import cli


class Shell:
    """Runs commands on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "iir.db"

    def run(self, *arguments: str, typed: str | bytes | None = None) -> Result:
        given = ["--set", f"data_dir={self.folder}", *arguments]
        return CliRunner().invoke(cli, given, input=typed, env={"COLUMNS": "200"})

    def ok(self, *arguments: str, typed: str | bytes | None = None) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = self.run(*arguments, typed=typed)
        assert done.exit_code == 0, f"{arguments}: {done.output}"
        return done.stdout

    def json(self, *arguments: str, typed: str | bytes | None = None) -> Any:
        return json.loads(self.ok(*arguments, "--json", typed=typed))

    def refused(self, exit_code: int, *arguments: str, typed: str | bytes | None = None) -> str:
        """Run a command that must fail that way, without a traceback; return its message."""
        done = self.run(*arguments, typed=typed)
        assert done.exit_code == exit_code, f"{arguments}: {done.exit_code}: {done.output}"
        assert "Traceback" not in done.output
        assert isinstance(done.exception, SystemExit), repr(done.exception)
        return done.stderr


@pytest.fixture(scope="session")
def demo_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `iir demo --yes --fast --json` left: one incident, resolved."""
    folder = tmp_path_factory.mktemp("demo")
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(cli, ["demo", "--yes", "--fast", "--json"])
    finally:
        os.chdir(before)
    assert done.exit_code == 0, done.output
    (folder / "printed.json").write_text(done.stdout)
    return folder / "iir-demo"


@pytest.fixture(scope="session")
def demo_shell(demo_record: Path) -> Shell:
    """The record of a demo, only to look at."""
    return Shell(demo_record)


@pytest.fixture
def copied(demo_record: Path, tmp_path: Path) -> Shell:
    """The record of a demo, to change."""
    folder = tmp_path / "copied"
    folder.mkdir()
    shutil.copy(demo_record / "iir.db", folder)
    return Shell(folder)


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated database."""
    folder = tmp_path_factory.mktemp("blank")
    Shell(folder).ok("db", "stats")
    return folder / "iir.db"


@pytest.fixture
def shell(blank: Path, tmp_path: Path) -> Shell:
    """An empty record."""
    folder = tmp_path / "empty"
    folder.mkdir()
    shutil.copy(blank, folder)
    return Shell(folder)


@pytest.fixture
def ingest() -> Callable[..., Any]:
    """`ingest(shell, alert, ...)`: take alerts in, as JSON on standard input."""

    def run(shell: Shell, *alerts: Any) -> Any:
        return shell.json("alerts", "ingest", "-", typed=json.dumps(list(alerts)))

    return run
