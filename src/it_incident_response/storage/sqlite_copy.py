"""A consistent copy of a SQLite database that is in use, and a look at one from outside.

Plain `sqlite3`, in a thread: no schema is brought forward, no connection of the store is held up.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from it_incident_response.errors import InputRejected
from it_incident_response.storage.backup_archive import Report
from it_incident_response.storage.failures import unavailable
from it_incident_response.storage.schema import VERSION_TABLE, known_revisions
from it_incident_response.storage.tables import metadata

BUSY_TIMEOUT_S = 10.0
_PAGES_AT_ONCE = 1_000
"""Pages between two reports: 4 MB."""
_OURS = frozenset(metadata.tables) | {VERSION_TABLE, "sqlite_sequence"}


class Facts(NamedTuple):
    """What a copy says of itself."""

    revision: str
    counts: dict[str, int]
    audit_events: int
    audit_head: str


def connected(path: Path) -> sqlite3.Connection:
    """Open a database that exists, without a transaction."""
    url = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(url, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


@contextmanager
def readable(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database; what SQLite says against it becomes an error of ours."""
    try:
        with closing(connected(path)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise unavailable(f"sqlite:///{path}", error) from error


def copy_live(source: Path, target: Path, report: Report) -> None:
    """Copy a database as it is at one moment, while others go on writing to it."""

    def reported(_status: int, remaining: int, total: int) -> None:
        report("copying", total - remaining, total)

    with readable(source) as live, readable(target) as copy:
        # A snapshot of our own: without it every write of another process would begin it anew.
        live.execute("BEGIN")
        live.execute("SELECT count(*) FROM sqlite_master").fetchone()
        copy.execute("PRAGMA synchronous=OFF")
        live.backup(copy, pages=_PAGES_AT_ONCE, progress=reported)
        live.execute("ROLLBACK")
    with readable(target) as copy:
        into_one_file(copy)


def into_one_file(connection: sqlite3.Connection) -> None:
    """Take the write-ahead log into the file; raises `sqlite3.OperationalError` if it is in use."""
    connection.execute("PRAGMA journal_mode=DELETE").fetchone()


def sync(path: Path) -> None:
    """Have a file or a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def facts_of(path: Path) -> Facts:
    """Check a database and return what it says of itself.

    Raises `InputRejected` if it is damaged, or holds what none of ours holds: views and triggers
    would run statements of whoever made it.
    """
    try:
        with closing(connected(path)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            _require_sound(connection)
            _require_ours(connection)
            return _facts(connection)
    except sqlite3.Error as error:
        raise InputRejected(
            f"the database in the backup is damaged or not ours: {str(error)[:200]}",
            hint="nothing was changed; take another backup",
        ) from error


def _require_sound(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"integrity check: {found}")


def _require_ours(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    for kind, name, table, statement in rows:
        is_plain = kind in ("table", "index") and table in _OURS
        if not is_plain or "VIRTUAL" in str(statement).upper().split()[:3]:
            raise sqlite3.DatabaseError(f"it holds a {kind} that is not ours: {str(name)[:60]!r}")


def _facts(connection: sqlite3.Connection) -> Facts:
    revisions = [str(row[0]) for row in connection.execute(f"SELECT * FROM {VERSION_TABLE}")]  # noqa: S608
    if len(revisions) != 1 or revisions[0] not in known_revisions():
        raise InputRejected(
            "the database in the backup was made by a newer version of iir "
            f"(schema {', '.join(revisions)[:100] or 'unknown'})",
            hint="install that version and restore with it",
        )
    present = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    counts = {
        name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608
        for name in sorted(present & set(metadata.tables))
    }
    head = connection.execute("SELECT events, hash FROM audit_head WHERE id = 1").fetchone()
    if head is None:
        raise sqlite3.DatabaseError("the audit trail has no head")
    return Facts(revisions[0], counts, int(head[0]), str(head[1]))
