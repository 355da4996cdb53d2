"""Whether anybody uses a SQLite database: every open store shares a lock, a restore wants it alone.

`flock` on a file beside the database, given back even by `kill -9`.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from it_incident_response.errors import ConfigError, Conflict, StoreUnavailable


def use_file(database: Path) -> Path:
    """Return the lock file of a database."""
    return database.with_name(database.name + ".use")


class UseLock:
    """One store's share of the lock."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take a share; raises `StoreUnavailable` while the database is being restored."""
        if self._descriptor is not None:
            return
        descriptor = _opened(self._database)
        if not _locked(descriptor, fcntl.LOCK_SH):
            os.close(descriptor)
            raise StoreUnavailable(
                f"sqlite:///{self._database}: it is being restored from a backup",
                hint="start again when `iir restore` has ended",
            )
        self._descriptor = descriptor

    def give_back(self) -> None:
        """Give the share back, if there is one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def used_alone(database: Path) -> Iterator[None]:
    """Keep every store from opening the database; raises `Conflict` if one has it open."""
    descriptor = _opened(database)
    try:
        if not _locked(descriptor, fcntl.LOCK_EX):
            raise in_use(database)
        yield
    finally:
        os.close(descriptor)


def in_use(database: Path) -> Conflict:
    """Return the refusal to replace a database that somebody has open."""
    return Conflict(
        f"sqlite:///{database} is in use by another process: nothing was changed",
        hint=f"stop `iir serve` and whatever else uses it (fuser {database}), then restore again",
    )


def _opened(database: Path) -> int:
    path = use_file(database)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot write {str(path)!r}: {error.strerror}",
            hint="SQLite needs a folder that the user who runs iir may write to",
        ) from error


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
