"""`iir backup` and `iir restore`, as a person calls them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from it_incident_response.cli import RootOptions
from it_incident_response.cli.backup_command import backup, restore
from it_incident_response.storage import open_store
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import FixedClock


def _run(command: object, url: str, *arguments: str) -> Result:
    options = RootOptions(overrides={"store.url": url})
    return CliRunner().invoke(command, list(arguments), obj=options)  # type: ignore[arg-type]


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """URL of a database with one open incident."""
    url = f"sqlite:///{tmp_path}/iir.db"
    store = open_store(url, clock=FixedClock())
    await store.open()
    of = await store.create_incident(make.incident(1), [make.event()])
    plan = make.plan(of)
    await store.add_plan(plan, make.approval(plan), [make.event()])
    await store.close()
    return url


def test_saved_and_restored(url: str, tmp_path: Path) -> None:
    file = tmp_path / "saved.iir"
    saved = _run(backup, url, str(file))
    assert saved.exit_code == 0, saved.output
    assert "saved 1 incidents and 2 audit events" in saved.output
    assert "not in it: the configuration, secrets, and the engine's file" in saved.output
    done = _run(restore, url, str(file), "--by", "alice")
    assert done.exit_code == 0, done.output
    assert "what was there before is kept: " in done.output
    assert "1 approvals voided, 0 steps in doubt, 1 open incidents handed to a human" in done.output


def test_json_for_programs(url: str, tmp_path: Path) -> None:
    file = tmp_path / "saved.iir"
    saved = json.loads(_run(backup, url, str(file), "--json").output)
    assert (saved["file"], saved["counts"]["incidents"]) == (str(file), 1)
    assert len(saved["audit_head"]) == 64
    done = json.loads(_run(restore, url, str(file), "--json").output)
    assert done["marked"]["incidents_handed_over"] == 1
    assert Path(done["replaced"]).is_file()
    again = json.loads(_run(restore, url, "--mark-only", "--json").output)
    assert again["marked"]["approvals_voided"] == 0


def test_the_time_of_a_backup_by_other_means_is_told(url: str) -> None:
    done = _run(restore, url, "--mark-only", "--backup-time", "2026-03-14T12:00:00Z")
    assert done.exit_code == 0, done.output
    assert "the record is as of 2026-03-14 12:00:00Z" in done.output


@pytest.mark.parametrize(
    "arguments",
    [(), ("a.iir", "--mark-only"), ("a.iir", "--backup-time", "2026-03-14T12:00:00Z")],
)
def test_either_a_file_or_marking_only(url: str, arguments: tuple[str, ...]) -> None:
    done = _run(restore, url, *arguments)
    assert done.exit_code == 2
    assert "give a FILE to restore from, or --mark-only" in done.output
