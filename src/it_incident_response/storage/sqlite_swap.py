"""Puts a restored database into its place, and what was there aside."""

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from it_incident_response.storage.sqlite_copy import connected, into_one_file, readable, sync
from it_incident_response.storage.tables import microseconds
from it_incident_response.storage.use_lock import in_use

_MAGIC = b"SQLite format 3\0"
_SIDE_FILES = ("-wal", "-shm", "-journal")


class Carried(NamedTuple):
    """Numbers that were given out by the database that goes: none of them may be given again."""

    counters: dict[str, int]
    leases: dict[str, int]


def taken_apart(database: Path) -> Carried:
    """Take the log of a database that goes into its file, and read the numbers it gave out.

    Raises `Conflict` if any program has it open. A damaged one, or none, gave no numbers.
    """
    nothing = Carried({}, {})
    if not database.is_file() or not _looks_sound(database):
        return nothing
    try:
        with closing(connected(database)) as connection:
            connection.execute("PRAGMA busy_timeout=0")
            into_one_file(connection)
            return Carried(
                dict(connection.execute("SELECT name, value FROM counters").fetchall()),
                _lease_tokens(connection),
            )
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise in_use(database) from error
        return nothing
    except sqlite3.DatabaseError:
        # It is damaged: that may be why it is replaced.
        return nothing


def _looks_sound(database: Path) -> bool:
    """Tell whether SQLite would take the file for its own; else it throws the file's log away."""
    with database.open("rb") as file:
        return file.read(len(_MAGIC)) in (_MAGIC, b"")


def _lease_tokens(connection: sqlite3.Connection) -> dict[str, int]:
    query = "SELECT name FROM sqlite_master WHERE name = 'leases'"
    if connection.execute(query).fetchone() is None:
        return {}
    return dict(connection.execute("SELECT name, token FROM leases").fetchall())


def carry_over(copy: Path, carried: Carried, now: datetime) -> None:
    """Let a restored database go on where numbering was, and free what dead processes hold."""
    with readable(copy) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for name, value in carried.counters.items():
            connection.execute(
                "UPDATE counters SET value = max(value, ?) WHERE name = ?", (value, name)
            )
        connection.execute(
            "UPDATE work SET worker = NULL, leased_until = NULL, due_at = coalesce(due_at, ?)",
            (microseconds(now),),
        )
        if _lease_tokens(connection):
            connection.execute("UPDATE leases SET holder = NULL, until = 0, detail = ''")
            for name, token in carried.leases.items():
                connection.execute(
                    "UPDATE leases SET token = max(token, ?) WHERE name = ?", (token, name)
                )
        connection.execute("COMMIT")


def put_in_place(copy: Path, database: Path, now: datetime) -> Path | None:
    """Put `copy` in the place of `database`; return where that is kept now, if there was one.

    There is a database under the name at every moment: a crash never leaves an empty start.
    """
    with readable(copy) as connection:
        into_one_file(connection)
    copy.chmod(0o600)
    sync(copy)
    aside = _free_name(database, now) if database.exists() else None
    if aside is not None:
        # A log left beside another database would be taken for its own.
        for side in _SIDE_FILES:
            file = database.with_name(database.name + side)
            if file.exists():
                file.rename(aside.with_name(aside.name + side))
        _keep(database, aside)
    copy.replace(database)
    sync(database.parent)
    return aside


def _keep(database: Path, aside: Path) -> None:
    try:
        os.link(database, aside)
    except OSError:
        database.rename(aside)  # no hard links on that filesystem


def _free_name(database: Path, now: datetime) -> Path:
    name = f"{database.name}.replaced-{now:%Y%m%dT%H%M%SZ}"
    path, number = database.with_name(name), 1
    while path.exists():
        number += 1
        path = database.with_name(f"{name}-{number}")
    return path
