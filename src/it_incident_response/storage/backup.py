"""Backup of the embedded database while it is in use, and its restoration while it is not."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.errors import ConfigError, Conflict, InputRejected, StoreUnavailable
from it_incident_response.ports.clock import Clock
from it_incident_response.storage.after_restore import AfterRestore, Marked
from it_incident_response.storage.backup_archive import (
    DATABASE,
    BackupManifest,
    BackupMember,
    Report,
    checksum,
    extract_database,
    read_manifest,
    write_archive,
)
from it_incident_response.storage.location import database_at
from it_incident_response.storage.postgresql_use import require_no_other_session
from it_incident_response.storage.sqlite import SqliteDatabase
from it_incident_response.storage.sqlite_copy import copy_live, facts_of, sync
from it_incident_response.storage.sqlite_swap import carry_over, put_in_place, taken_apart
from it_incident_response.storage.store import SqlStore
from it_incident_response.storage.use_lock import used_alone

P = ParamSpec("P")
T = TypeVar("T")


class Restored(Value):
    """What a restoration did."""

    taken_at: UtcTime
    product_version: str | None = None
    """What made the backup; None if only the record was marked."""
    replaced: str | None = None
    """Where the database that was there before is kept; None if there was none."""
    marked: Marked


class _Stopped(Exception):
    """Ends the work in a thread whose task was cancelled."""


class _Progress:
    """Passes reports on, and stops the thread that gives them once nobody waits for it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._is_stopped = False

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._is_stopped:
            raise _Stopped
        self._report(what, done, total)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread; when cancelled, wait until it has ended: its files go next."""
        task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._is_stopped = True
            with contextlib.suppress(_Stopped):
                await task
            raise


async def back_up(
    url: str, file: Path, *, clock: Clock, version: str, report: Report
) -> BackupManifest:
    """Write a backup of the SQLite database at `url` to a new `file`, while others write to it.

    Raises `ConfigError` for another kind of database or none, `Conflict` if the file exists,
    `StoreUnavailable` if the database is damaged.
    """
    database, file = _sqlite_file(url), _new_file(file)
    progress = _Progress(report)
    with _scratch(file.parent, "backup") as folder:
        now = clock.now()
        copy, archive = folder / DATABASE, folder / "archive"
        for path in (copy, archive):
            _create(path)
        manifest = await progress.run(_snapshot, database, copy, now, version, progress)
        await progress.run(write_archive, archive, copy, manifest, progress)
        sync(archive)
        _new_file(file)  # somebody may have made it meanwhile
        archive.rename(file)
    sync(file.parent)
    return manifest


def _snapshot(
    database: Path, copy: Path, now: datetime, version: str, report: Report
) -> BackupManifest:
    copy_live(database, copy, report)
    try:
        facts = facts_of(copy)
    except InputRejected as error:
        raise StoreUnavailable(
            f"sqlite:///{database} cannot be backed up: {error.message}",
            hint="it is damaged: stop iir and restore an earlier backup; see docs/backup.md",
        ) from error
    member = BackupMember(name=DATABASE, size_bytes=copy.stat().st_size, sha256=checksum(copy))
    return BackupManifest(
        product_version=version,
        schema_revision=facts.revision,
        taken_at=now,
        members=(member,),
        counts=facts.counts,
        audit_events=facts.audit_events,
        audit_head=facts.audit_head,
    )


async def restore(url: str, file: Path, *, clock: Clock, by: str, report: Report) -> Restored:
    """Put the database in a backup in the place of the one at `url`, which is kept aside.

    Everything is checked first, and what the backup allowed is taken back (`AfterRestore`) before
    the database is in its place. Raises `InputRejected` for what is no sound backup, `Conflict`
    while another process uses the database, `ConfigError` if `url` is no SQLite database.
    """
    database, progress = _sqlite_file(url, must_exist=False), _Progress(report)
    manifest = await progress.run(read_manifest, file)
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with used_alone(database), _scratch(database.parent, "restore") as folder:
        carried = await progress.run(taken_apart, database)
        copy, now = folder / DATABASE, clock.now()
        _create(copy)
        await progress.run(extract_database, file, copy, progress)
        await progress.run(_require_as_described, file, copy, manifest)
        await progress.run(carry_over, copy, carried, now)
        marked = await _mark_copy(copy, file, manifest, clock, by, progress)
        replaced = await progress.run(put_in_place, copy, database, now)
    return Restored(
        taken_at=manifest.taken_at,
        product_version=manifest.product_version,
        replaced=None if replaced is None else str(replaced),
        marked=marked,
    )


async def _mark_copy(
    copy: Path, file: Path, manifest: BackupManifest, clock: Clock, by: str, report: Report
) -> Marked:
    store = SqlStore(SqliteDatabase(copy), clock)
    await store.open()  # brings the schema forward
    try:
        report("checking the audit trail", 0, manifest.audit_events)
        chain = await store.verify_chain()
        if not chain.is_intact:
            raise InputRejected(
                f"the backup {str(file)!r} is refused: its audit trail is broken at event "
                f"{chain.broken_at}: {chain.reason}",
                hint="somebody may have changed it; docs/backup.md says how to use it all the same",
            )
        after = AfterRestore(store, now=clock.now(), taken_at=manifest.taken_at, report=report)
        return await after.mark(by=by, source=manifest.members[0].sha256)
    finally:
        await store.close()


async def mark_only(
    url: str, *, clock: Clock, by: str, taken_at: datetime | None, report: Report
) -> Restored:
    """Take back what a record allows that was restored by other means, and hand it to people.

    `taken_at` is the time of the backup; by default that of the last event on the audit trail.
    Raises `Conflict` while another process uses the database.
    """
    async with _marking(url, clock) as store:
        moment = taken_at or await _last_event_at(store) or clock.now()
        after = AfterRestore(store, now=clock.now(), taken_at=moment, report=report)
        marked = await after.mark(by=by, source="by other means")
    return Restored(taken_at=moment, marked=marked)


@asynccontextmanager
async def _marking(url: str, clock: Clock) -> AsyncIterator[SqlStore]:
    database = database_at(url)
    store = SqlStore(database, clock)
    if isinstance(database, SqliteDatabase):
        path = _sqlite_file(url)
        with used_alone(path):
            await asyncio.to_thread(taken_apart, path)
    await store.open()
    try:
        if not isinstance(database, SqliteDatabase):
            await require_no_other_session(database)
        yield store
    finally:
        await store.close()


async def _last_event_at(store: SqlStore) -> datetime | None:
    count = (await store.stats())["audit"]
    last = await store.events(after=max(0, count - 1), limit=1)
    return last[0].at if last else None


def _require_as_described(file: Path, copy: Path, manifest: BackupManifest) -> None:
    facts = facts_of(copy)
    said = (manifest.schema_revision, dict(manifest.counts))
    said_of_trail = (manifest.audit_events, manifest.audit_head)
    is_so = said == (facts.revision, facts.counts)
    if not is_so or said_of_trail != (facts.audit_events, facts.audit_head):
        raise InputRejected(
            f"the backup {str(file)!r} is refused: its manifest describes another database",
            hint="nothing was changed; take another backup",
        )


def _sqlite_file(url: str, *, must_exist: bool = True) -> Path:
    database = database_at(url)
    if not isinstance(database, SqliteDatabase):
        _refuse_server(database.name)
    if must_exist and not database.path.is_file():
        raise ConfigError(
            f"there is no database {str(database.path)!r}",
            hint="look at `iir config show`: store.url and data_dir say where it is",
        )
    if database.path.is_symlink():
        raise ConfigError(
            f"{str(database.path)!r} is a symbolic link", hint="give the file itself in store.url"
        )
    return database.path


def _refuse_server(name: str) -> NoReturn:
    raise ConfigError(
        f"{name} is backed up and restored by PostgreSQL's own tools",
        hint="pg_dump --format=custom --file=FILE DATABASE; later, with iir stopped, pg_restore "
        "and then `iir restore --mark-only`",
    )


def _new_file(file: Path) -> Path:
    if file.exists() or file.is_symlink():
        raise Conflict(f"{str(file)!r} exists: no file is overwritten", hint="give another name")
    if not file.parent.is_dir():
        raise InputRejected(f"there is no folder {str(file.parent)!r}")
    return file.absolute()


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextlib.contextmanager
def _scratch(beside: Path, what: str) -> Iterator[Path]:
    """Make a folder that only we can read, on the same filesystem, and remove it afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".iir-{what}-", dir=beside))
    except OSError as error:
        raise InputRejected(f"cannot write in {str(beside)!r}: {error.strerror}") from error
    try:
        yield folder
    except OSError as error:
        raise StoreUnavailable(f"{what} failed in {str(beside)!r}: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
