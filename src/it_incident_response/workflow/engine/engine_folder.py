"""The embedded server's folder: whose it is, what is noted about its file, and bad files."""

import contextlib
import fcntl
import os
import signal
import sqlite3
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import IO, Self

from pydantic import ValidationError

from it_incident_response.domain.model import Value
from it_incident_response.errors import ConfigError

_DATABASE = "temporal.db"
_SIDES = ("", "-wal", "-shm", "-journal")
_LOCK = "engine.lock"
_NOTE = "engine.json"
_ASIDE = ".set-aside"
_BYTES_MAX = 65_536
_BUSY_S = 3.0
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")


class EngineNote(Value):
    """What the next start has to know about the database file."""

    server: str
    """Version that made the file."""
    is_rebuilt: bool = False
    """False until everything open was told to the new file: a crash in between must not hide it."""
    port: int | None = None
    pid: int | None = None
    """Of the server while it runs; after a clean end None."""
    boot: str | None = None
    """Of the machine that it ran on last."""

    def lost_power(self) -> bool:
        """True if the machine may have gone down under the server.

        The file is sound then, but with SQLite's `synchronous=NORMAL` the last transactions that
        the server had confirmed may be missing.
        """
        return self.pid is not None and (self.boot is None or self.boot != boot_id())


class FileState(StrEnum):
    """What a look at the database file found."""

    MISSING = "missing"
    GOOD = "good"
    BAD = "bad"
    LOCKED = "locked"


class EngineFolder:
    """A folder that one process owns while it holds the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / _DATABASE
        self._lock: IO[str] | None = None

    def take(self) -> Self:
        """Make the folder and lock it; raises `ConfigError` with the pid of who has it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = (self.path / _LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            what = f"temporal: the folder {self.path} cannot be used: {error.strerror}"
            raise ConfigError(what, hint="set data_dir to a folder of our own") from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            owner = stream.read(20).strip() or "unknown"
            stream.close()
            raise ConfigError(
                f"temporal: the embedded server of {self.path} is run by another process, "
                f"pid {owner}",
                hint="one `iir serve` a data_dir; give this one its own, or set temporal.address",
            ) from error
        stream.seek(0)
        stream.truncate()
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        self._lock = stream
        return self

    def release(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def note(self) -> EngineNote | None:
        """Return what was noted, or None if nothing usable is."""
        return read_note(self.path)

    def write_note(self, note: EngineNote) -> None:
        """Replace the note in one step."""
        place = self.path / _NOTE
        fresh = place.with_suffix(".new")
        fresh.write_text(note.model_dump_json() + "\n", encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(place)

    def identity(self) -> tuple[int, int] | None:
        """Return device and inode of the database file, None if there is none."""
        try:
            status = self.database.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def look(self) -> FileState:
        """Say whether the file can be served; call it while no server of ours has it open."""
        if not self.database.exists():
            return FileState.MISSING
        try:
            with contextlib.closing(sqlite3.connect(self.database, timeout=_BUSY_S)) as database:
                database.execute("BEGIN IMMEDIATE")
                tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
                database.execute("ROLLBACK")
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith("SQLITE_BUSY"):
                return FileState.LOCKED
            # Of anything else, such as a full disk, the server itself may complain.
            return FileState.BAD if name.startswith(_DAMAGED) else FileState.GOOD
        return FileState.GOOD if tables[0] else FileState.BAD

    def set_aside(self) -> Path:
        """Move the file away, over the one set aside before; returns where it is now."""
        for side in _SIDES:
            source = self.database.with_name(_DATABASE + side)
            target = self.database.with_name(_DATABASE + _ASIDE + side)
            target.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                source.replace(target)
        return self.database.with_name(_DATABASE + _ASIDE)

    def end_survivor(self) -> int | None:
        """Kill a server that outlived its `iir serve`; returns its pid.

        Only where the kernel did not (see `ServerProcess.start`), and only if that process serves
        the very file.
        """
        note = self.note()
        if note is None or note.pid is None or str(self.database) not in _command(note.pid):
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(note.pid, signal.SIGKILL)
        return note.pid


def boot_id() -> str | None:
    """Return what names this run of the machine's kernel; None where there is no such name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def read_note(folder: Path) -> EngineNote | None:
    """Return the note in a folder, or None if there is none that can be read."""
    try:
        with (folder / _NOTE).open("rb") as stream:
            return EngineNote.model_validate_json(stream.read(_BYTES_MAX))
    except (OSError, ValidationError):
        return None


def _command(pid: int) -> str:
    """Return a process's command line, empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        pass
    try:
        shown = ["/bin/ps", "-p", str(pid), "-o", "command="]
        return subprocess.run(shown, capture_output=True, text=True, check=False, timeout=5).stdout  # noqa: S603 - a fixed command and a number
    except (OSError, subprocess.SubprocessError):
        return ""
