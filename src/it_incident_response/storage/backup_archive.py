"""The form of a backup: a ZIP archive of a manifest and the database, and nothing else.

An archive from outside is hostile: no name in it is ever used as a path, nothing is read beyond the
size that its manifest states, and nothing counts before its checksum does.
"""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Literal

from pydantic import Field, ValidationError

from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.errors import InputRejected

MANIFEST = "manifest.json"
DATABASE = "iir.db"
MANIFEST_BYTES_MAX = 64 * 1024
BYTES_AT_ONCE = 1024 * 1024
_LEVEL = 4
"""Of compression: about as small as higher ones for JSON, and several times as fast."""
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What the reader makes of an archive that is damaged, encrypted or of an unknown method."""

Report = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is of it."""


class BackupMember(Value):
    """One file in the archive."""

    name: str = Field(max_length=100)
    size_bytes: int = Field(ge=0, le=2**50)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class BackupManifest(Value):
    """What a backup is of."""

    format: Literal["iir-backup"] = "iir-backup"
    format_version: Literal[1] = 1
    product_version: str = Field(max_length=100)
    schema_revision: str = Field(max_length=100)
    taken_at: UtcTime
    """The record is as it was at some moment after this, and before the backup ended."""
    members: tuple[BackupMember, ...] = Field(min_length=1, max_length=1)
    counts: Mapping[str, int] = Field(max_length=100)
    """Rows of each table."""
    audit_events: int
    audit_head: str = Field(max_length=64)
    """Hash of the last event on the trail."""


def write_archive(target: Path, database: Path, manifest: BackupManifest, report: Report) -> None:
    """Write the archive to a file that is there and empty."""
    when = manifest.taken_at.timetuple()[:6]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        text = manifest.model_dump_json(indent=2)
        archive.writestr(_entry(MANIFEST, when), text)
        entry = archive.open(_entry(DATABASE, when), "w", force_zip64=True)
        with entry as into, database.open("rb") as source:
            _copy(source, into, manifest.members[0].size_bytes, report)


def _entry(name: str, when: tuple[int, ...]) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, when[:6])  # type: ignore[arg-type]
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry


def read_manifest(file: Path) -> BackupManifest:
    """Return the manifest of a backup; raises `InputRejected` if the file is none."""
    with _archive(file) as archive:
        return _manifest(file, archive)


def extract_database(file: Path, target: Path, report: Report) -> None:
    """Write the database in a backup to `target`, and check its size and checksum.

    Raises `InputRejected` if it is not what the manifest says, or has no room.
    """
    with _archive(file) as archive:
        member = _manifest(file, archive).members[0]
        free = shutil.disk_usage(target.parent).free
        if member.size_bytes > free:
            raise _refused(
                file,
                f"its database takes {member.size_bytes:,} bytes, but only {free:,} are free",
                hint=f"free space in {target.parent}",
            )
        with archive.open(DATABASE) as source, target.open("wb") as into:
            digest = _copy(source, into, member.size_bytes, report)
            is_longer = bool(source.read(1))
        if is_longer or target.stat().st_size != member.size_bytes or digest != member.sha256:
            raise _refused(file, "its database is not the one that its manifest describes")


class _archive:  # noqa: N801 - used as a function
    """Opens a ZIP file; whatever its reader stumbles over becomes `InputRejected`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._archive: zipfile.ZipFile | None = None

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self._archive = zipfile.ZipFile(self._file)
        except _UNREADABLE as error:
            raise _damaged(self._file, error) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputRejected(f"cannot read the backup {str(self._file)!r}: {reason}") from error
        return self._archive

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._archive is not None:
            self._archive.close()
        if isinstance(error, _UNREADABLE):
            raise _damaged(self._file, error) from error


def _manifest(file: Path, archive: zipfile.ZipFile) -> BackupManifest:
    names = sorted(archive.namelist()[:10])
    if names != sorted((DATABASE, MANIFEST)):
        shown = ", ".join(repr(name[:60]) for name in names) or "nothing"
        raise _refused(file, f"it holds {shown}, not {DATABASE} and {MANIFEST}")
    with archive.open(MANIFEST) as source:
        text = source.read(MANIFEST_BYTES_MAX + 1)
    if len(text) > MANIFEST_BYTES_MAX:
        raise _refused(file, "its manifest is too large")
    try:
        manifest = BackupManifest.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])[:60] or "all of it"
        raise _refused(
            file,
            f"its manifest cannot be understood ({where})",
            hint="it may be from a newer version of iir, or no backup at all",
        ) from error
    if manifest.members[0].name != DATABASE:
        raise _refused(file, f"its manifest describes no {DATABASE}")
    return manifest


def _copy(source: IO[bytes], into: IO[bytes], size: int, report: Report) -> str:
    """Copy at most `size` bytes, in portions; return the SHA-256 of what was copied."""
    digest, done = hashlib.sha256(), 0
    while done < size and (portion := source.read(min(BYTES_AT_ONCE, size - done))):
        into.write(portion)
        digest.update(portion)
        done += len(portion)
        report("packing", done, size)
    return digest.hexdigest()


def checksum(file: Path) -> str:
    """Return a file's SHA-256."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _damaged(file: Path, error: BaseException) -> InputRejected:
    return _refused(file, f"it is damaged, or no backup: {str(error)[:200]}")


def _refused(file: Path, reason: str, *, hint: str | None = None) -> InputRejected:
    advice = hint or "nothing was changed; take another backup"
    return InputRejected(f"the backup {str(file)!r} is refused: {reason}", hint=advice)
