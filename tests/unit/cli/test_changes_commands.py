"""`iir changes`: what is entered is listed, by people and programs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from it_incident_response.cli.changes_commands import changes
from it_incident_response.errors import InputRejected


def _run(folder: Path, *arguments: str) -> Result:
    (folder / "iir.yaml").write_text(f"data_dir: {folder / 'data'}\n")
    options: Any = SimpleNamespace(config_file=folder / "iir.yaml", overrides={}, profile=None)
    return CliRunner().invoke(changes, arguments, obj=options)


def test_an_entered_change_is_listed(tmp_path: Path) -> None:
    assert "No changes yet" in _run(tmp_path, "list").output
    entry = ("add", "checkout 1.4.2", "--service", "checkout", "--version", "1.4.2")
    entered = _run(tmp_path, *entry, "--at", "2026-01-31T12:00:00Z")
    assert entered.exit_code == 0, entered.output
    assert "entered: checkout 1.4.2" in entered.output
    listed = json.loads(_run(tmp_path, "list", "--json").output)
    assert [(c["what"], c["version"], c["source"]) for c in listed] == [("deploy", "1.4.2", "cli")]
    assert "checkout 1.4.2" in _run(tmp_path, "list").output
    again = _run(tmp_path, *entry, "--at", "2026-01-31T12:00:00Z")
    assert again.exit_code == 0
    assert len(json.loads(_run(tmp_path, "list", "--json").output)) == 1, "the same is one"


@pytest.mark.parametrize("at", ["yesterday", "2026-01-31T12:00:00", "2999-01-01T00:00:00Z"])
def test_a_time_that_makes_no_sense_is_refused(tmp_path: Path, at: str) -> None:
    refused = _run(tmp_path, "add", "x", "--at", at)
    assert isinstance(refused.exception, InputRejected)
