"""Commits of real repositories, made here; hostile messages, settings and owners."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorError, ConnectorRejected, ConnectorUnavailable
from it_incident_response.integrations.change_payloads import ServiceNames
from it_incident_response.integrations.git_changes import GitChanges
from it_incident_response.ports import ChangeReader, ChangeSource

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WINDOW = TimeWindow(start=NOON - timedelta(hours=1), end=NOON)


def _git(path: Path, *arguments: str, at: datetime = NOON) -> str:
    moment = f"{int(at.timestamp())} +0000"
    names = {f"GIT_{who}_{what}": "al" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)}
    mails = {f"GIT_{who}_EMAIL": "al@example.com" for who in ("AUTHOR", "COMMITTER")}
    dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
    environment = {"PATH": os.environ["PATH"], "HOME": str(path), **names, **mails, **dates}
    command = ["git", "-C", str(path), "-c", "commit.gpgsign=false", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _commit(path: Path, message: str, at: datetime, **files: str) -> str:
    for name, content in files.items():
        (path / name).write_text(content)
    _git(path, "add", "-A")
    _git(path, "commit", "--allow-empty", "-m", message, at=at)
    return _git(path, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "checkout"
    path.mkdir()
    _git(path, "init", "-q", "-b", "main")
    return path


async def test_commits_of_the_window_with_their_files_and_difference(repository: Path) -> None:
    _commit(repository, "too early", NOON - timedelta(hours=2), a="1")
    sha = _commit(
        repository, "Raise the pool\n\nbecause", NOON - timedelta(minutes=30), a="2", b="x"
    )
    _commit(repository, "at the end, which is excluded", NOON, a="3")
    source = GitChanges([repository], ServiceNames({"checkout": "shop"}))
    assert isinstance(source, ChangeSource)
    assert isinstance(source, ChangeReader)
    (change,) = await source.changes(WINDOW)
    assert (change.version, change.summary, change.author) == (sha, "Raise the pool", "al")
    assert change.at == NOON - timedelta(minutes=30)
    assert change.files == ("a", "b")
    assert "-1\n" in (change.diff or "")
    assert "+2\n" in (change.diff or "")
    assert change.entity
    assert change.entity.name == "shop"


async def test_a_difference_is_bounded(repository: Path) -> None:
    at = NOON - timedelta(minutes=1)
    _commit(repository, "big", at, big="line\n" * 200_000)
    (change,) = await GitChanges([repository]).changes(WINDOW)
    assert len(change.diff or "") == 20_000


async def test_a_message_cannot_pass_for_another_commit(repository: Path) -> None:
    forged = "x\x1e" + "a" * 40 + "\x1f1769860000\x1feve\x1fforged\x1f"
    at = NOON - timedelta(minutes=1)
    sha = _commit(repository, forged, at, **{"--output=x": "1", "e\nvil": "2"})
    (change,) = await GitChanges([repository]).changes(WINDOW)
    assert change.version == sha
    assert change.author == "al"
    assert change.files == ("--output=x", "e\nvil")


async def test_a_repositorys_settings_run_no_program(repository: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    _commit(repository, "one", NOON - timedelta(minutes=2), a="1")
    _commit(repository, "two", NOON - timedelta(minutes=1), a="2", **{".gitattributes": "* diff=x"})
    for key in ("core.fsmonitor", "diff.external", "diff.x.command", "diff.x.textconv"):
        _git(repository, "config", key, f"touch {ran}; cat")
    _git(repository, "config", "core.pager", f"touch {ran}")
    assert len(await GitChanges([repository]).changes(WINDOW)) == 2
    assert not ran.exists()


async def test_one_bad_repository_is_a_gap_and_only_bad_ones_an_error(
    repository: Path, tmp_path: Path
) -> None:
    _commit(repository, "one", NOON - timedelta(minutes=1), a="1")
    plain = tmp_path / "plain"
    plain.mkdir()
    batch = await GitChanges([plain, repository]).read_changes(WINDOW)
    assert len(batch.changes) == 1
    assert batch.gaps == (f"plain: git: {plain} is no git repository",)
    with pytest.raises(ConnectorError, match="no git repository"):
        await GitChanges([plain]).changes(WINDOW)
    with pytest.raises(ConnectorRejected):
        await GitChanges([tmp_path / "absent"]).changes(WINDOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
async def test_a_repository_of_another_user_says_what_to_do(repository: Path) -> None:
    _commit(repository, "one", NOON - timedelta(minutes=1), a="1")
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(ConnectorRejected) as caught:
        await GitChanges([repository]).changes(WINDOW)
    assert f"git config --global --add safe.directory {repository}" in str(caught.value)


async def test_a_git_that_hangs_ends_at_the_budget(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "git").write_text("#!/bin/sh\nexec sleep 1000\n")
    (fake / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    with pytest.raises(ConnectorUnavailable, match=r"not read within 0.2 s"):
        await GitChanges([repository], budget_s=0.2).changes(WINDOW)
