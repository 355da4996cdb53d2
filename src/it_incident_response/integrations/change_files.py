"""Deploy events that pipelines write into a folder: `*.json` and `*.ndjson`, read incrementally."""

import asyncio
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.errors import ConnectorUnavailable, InputRejected
from it_incident_response.integrations.change_payloads import ServiceNames, read_generic, read_one
from it_incident_response.ports import ChangeBatch, Clock

NAME = "change files"
FILES_MAX = 1000
"""The last written ones are read."""
FILE_BYTES_MAX = 5_000_000
"""Of a `.json` file, which is read whole."""
READ_BYTES_MAX = 20_000_000
"""Of a growing `.ndjson` file, at a time; the rest next time."""
LINE_BYTES_MAX = 200_000
CHANGES_KEPT = 20_000
_COMPLAINTS_MAX = 20
_SUFFIXES = (".json", ".ndjson")


@dataclass
class _File:
    """What was read of one file."""

    identity: tuple[int, int]
    """Device and inode: another file of the same name is read from its beginning."""
    stamp: tuple[int, int] = (0, 0)
    """Size and time of writing when it was last read."""
    offset: int = 0
    line: int = 0
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=CHANGES_KEPT))
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=_COMPLAINTS_MAX))


class ChangeFiles:
    """The changes in the files of one folder; what cannot be read is a gap that names the line."""

    def __init__(self, folder: Path, clock: Clock, names: ServiceNames | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._names = names or ServiceNames()
        self._files: dict[Path, _File] = {}
        self._lock = asyncio.Lock()

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return the changes made within the window, oldest first; raises `ConnectorError`."""
        return (await self.read_changes(window)).changes

    async def read_changes(self, window: TimeWindow) -> ChangeBatch:
        """Read what is new in the folder, and return what was made within the window."""
        async with self._lock:
            return await asyncio.to_thread(self._read, window)

    def _read(self, window: TimeWindow) -> ChangeBatch:
        gaps = self._refresh()
        found = {
            change.change_id: change
            for seen in self._files.values()
            for change in seen.changes
            if window.start <= change.at < window.end
        }
        gaps += [
            f"{path.name}: {complaint}"
            for path, seen in self._files.items()
            for complaint in seen.complaints
        ]
        ordered = sorted(found.values(), key=lambda change: (change.at, change.change_id))
        return ChangeBatch(changes=tuple(ordered), gaps=tuple(gaps[:_COMPLAINTS_MAX]))

    def _refresh(self) -> list[str]:
        try:
            found = sorted(self._listed(), reverse=True)
        except OSError as error:
            raise ConnectorUnavailable(
                NAME,
                f"the folder {self._folder} cannot be read: {error.strerror}",
                hint="check infrastructure.changes.folder and who may read it",
            ) from None
        kept = [path for _, path in found[:FILES_MAX]]
        self._files = {path: seen for path, seen in self._files.items() if path in set(kept)}
        gaps = [f"{len(found) - FILES_MAX} older files are not read"] if found[FILES_MAX:] else []
        for path in kept:
            try:
                self._look_at(path)
            except OSError as error:
                gaps.append(f"{path.name}: {error.strerror}")
        return gaps

    def _listed(self) -> Iterator[tuple[int, Path]]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                # Hidden ones are being written, by those who rename when they are done.
                if entry.name.startswith(".") or not entry.name.endswith(_SUFFIXES):
                    continue
                if entry.is_file():
                    yield entry.stat().st_mtime_ns, Path(entry.path)

    def _look_at(self, path: Path) -> None:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            identity, stamp = (status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)
            seen = self._files.get(path)
            if seen is not None and (seen.identity, seen.stamp) == (identity, stamp):
                return
            is_whole = path.suffix == ".json"
            if seen is None or is_whole or seen.identity != identity or seen.offset > stamp[0]:
                seen = self._files[path] = _File(identity)
            written_at = datetime.fromtimestamp(status.st_mtime, UTC)
            if is_whole:
                self._take_whole(seen, stream.read(FILE_BYTES_MAX + 1), written_at)
            else:
                stream.seek(seen.offset)
                self._take_lines(seen, stream.read(READ_BYTES_MAX), written_at)
            if is_whole or seen.offset == stamp[0]:
                seen.stamp = stamp

    def _take_whole(self, seen: _File, body: bytes, written_at: datetime) -> None:
        if len(body) > FILE_BYTES_MAX:
            seen.complaints.append(f"larger than {FILE_BYTES_MAX:,} bytes")
            return
        try:
            seen.changes.extend(read_generic(body, self._not_after(written_at), self._names))
        except InputRejected as error:
            seen.complaints.append(error.message)

    def _take_lines(self, seen: _File, chunk: bytes, written_at: datetime) -> None:
        """Take the lines that are complete; the last one may still be being written."""
        end = chunk.rfind(b"\n") + 1
        if end == 0 and len(chunk) > LINE_BYTES_MAX:
            seen.complaints.append(f"line {seen.line + 1}: longer than {LINE_BYTES_MAX:,} bytes")
            seen.offset += len(chunk)  # The rest of that line will be no JSON, and be said so.
            return
        received_at = self._not_after(written_at)
        for line in chunk[:end].splitlines():
            seen.line += 1
            if line.strip():
                self._take_line(seen, line, received_at)
        seen.offset += end

    def _take_line(self, seen: _File, line: bytes, received_at: datetime) -> None:
        try:
            if len(line) > LINE_BYTES_MAX:
                raise InputRejected(f"longer than {LINE_BYTES_MAX:,} bytes")
            seen.changes.append(read_one(orjson.loads(line), received_at, self._names))
        except orjson.JSONDecodeError:
            seen.complaints.append(f"line {seen.line}: no JSON")
        except InputRejected as error:
            seen.complaints.append(f"line {seen.line}: {error.message}")

    def _not_after(self, written_at: datetime) -> datetime:
        """Return when a change without a time was made: when its file was written."""
        return min(written_at, self._clock.now())
