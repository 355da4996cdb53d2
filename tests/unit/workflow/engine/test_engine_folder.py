"""The folder has one owner, and says of its file whether it can be served."""

import json
import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.workflow.engine import engine_folder as module
from it_incident_response.workflow.engine.engine_folder import (
    EngineFolder,
    EngineNote,
    FileState,
    boot_id,
    read_note,
)


@pytest.fixture
def folder(tmp_path):
    taken = EngineFolder(tmp_path / "engine").take()
    yield taken
    taken.release()


def make_database(folder: EngineFolder) -> None:
    database = sqlite3.connect(folder.database)
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE t (a)")
    database.commit()
    database.close()


def test_it_is_ours_alone(folder):
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match=f"another process, pid {os.getpid()}"):
        EngineFolder(folder.path).take()
    folder.release()
    EngineFolder(folder.path).take().release()


def test_another_process_is_named(tmp_path):
    code = (
        "import pathlib, sys; from it_incident_response.workflow.engine.engine_folder import "
        "EngineFolder; f = EngineFolder(pathlib.Path(sys.argv[1])).take(); print(flush=True); "
        "sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        owner.stdout.readline()
        with pytest.raises(ConfigError, match=f"pid {owner.pid}"):
            EngineFolder(tmp_path).take()
    finally:
        owner.kill()
        owner.communicate()
    EngineFolder(tmp_path).take().release()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used") as refused:
        EngineFolder(tmp_path / "file" / "engine").take()
    assert "set data_dir" in str(refused.value)


def test_the_note_comes_back_and_is_private(folder):
    assert folder.note() is None
    note = EngineNote(server="1/2", is_rebuilt=True, port=20_001, pid=5, boot="b")
    folder.write_note(note)
    assert folder.note() == note == read_note(folder.path)
    assert stat.S_IMODE((folder.path / "engine.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"server": 1}', '{"server": "a", "x": 1}'])
def test_a_broken_note_is_none(folder, text):
    (folder.path / "engine.json").write_text(text)
    assert folder.note() is None


def test_states(folder):
    assert folder.look() is FileState.MISSING
    assert folder.identity() is None
    make_database(folder)
    assert folder.look() is FileState.GOOD
    assert folder.identity() is not None
    folder.database.write_bytes(b"garbage" * 1000)
    assert folder.look() is FileState.BAD
    folder.database.write_bytes(b"")
    assert folder.look() is FileState.BAD


def test_a_folder_in_the_place_of_the_file_is_bad(folder):
    folder.database.mkdir()
    assert folder.look() is FileState.BAD


def test_a_locked_file_is_told_from_a_bad_one(folder, monkeypatch):
    monkeypatch.setattr(module, "_BUSY_S", 0.05)
    make_database(folder)
    holder = sqlite3.connect(folder.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert folder.look() is FileState.LOCKED
    holder.close()
    assert folder.look() is FileState.GOOD


def test_a_full_disk_does_not_make_a_file_bad(folder, monkeypatch):
    make_database(folder)

    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    monkeypatch.setattr(module.sqlite3, "connect", full)
    assert folder.look() is FileState.GOOD


def test_one_file_is_kept_aside_with_its_log(folder):
    for content in (b"first", b"second"):
        folder.database.write_bytes(content)
        folder.database.with_name("temporal.db-wal").write_bytes(content)
        aside = folder.set_aside()
        assert not folder.database.exists()
        assert not folder.database.with_name("temporal.db-wal").exists()
        assert aside.read_bytes() == content
        assert aside.with_name("temporal.db.set-aside-wal").read_bytes() == content


def test_a_log_without_its_file_is_not_left_for_the_next_one(folder):
    """SQLite would replay it into the new file."""
    folder.database.with_name("temporal.db-wal").write_bytes(b"old")
    folder.set_aside()
    assert list(folder.path.glob("temporal.db-wal")) == []


def test_power_loss():
    here = boot_id()
    assert here is not None
    assert not EngineNote(server="v", pid=1, boot=here).lost_power()
    assert EngineNote(server="v", pid=1, boot="another").lost_power()
    assert EngineNote(server="v", pid=1, boot=None).lost_power()
    assert not EngineNote(server="v", pid=None, boot="another").lost_power()


def test_a_survivor_is_one_that_serves_this_file(folder):
    assert folder.end_survivor() is None
    process = subprocess.Popen([sys.executable, "-c", "input()", str(folder.database)], stdin=-1)
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
    try:
        folder.write_note(EngineNote(server="v", pid=bystander.pid))
        assert folder.end_survivor() is None
        folder.write_note(EngineNote(server="v", pid=process.pid))
        assert folder.end_survivor() == process.pid
        assert process.wait(5) == -9
        assert bystander.poll() is None
    finally:
        for each in (process, bystander):
            each.kill()
            each.communicate()


def test_the_note_holds_no_surprise(folder):
    folder.write_note(EngineNote(server="v"))
    text = (folder.path / "engine.json").read_text()
    assert set(json.loads(text)) == {"server", "is_rebuilt", "port", "pid", "boot"}
