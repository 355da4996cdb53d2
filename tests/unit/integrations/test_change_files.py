"""Deploy events in files: read incrementally, a bad line is a gap, a half-written one waits."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.integrations import change_files
from it_incident_response.integrations.change_files import ChangeFiles

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WINDOW = TimeWindow(start=NOON - timedelta(hours=1), end=NOON)


class Clock:
    def now(self) -> datetime:
        return NOON

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def _line(number: int, **fields: Any) -> str:
    given = {"id": str(number), "service": "shop", "version": str(number)}
    return json.dumps(given | {"at": "2026-01-31T11:30:00Z"} | fields) + "\n"


async def _versions(source: ChangeFiles) -> list[str | None]:
    return [change.version for change in await source.changes(WINDOW)]


async def test_lines_are_read_once_and_a_half_written_one_waits(tmp_path: Path) -> None:
    path, source = tmp_path / "deploys.ndjson", ChangeFiles(tmp_path, Clock())
    assert await _versions(source) == []
    path.write_text(_line(1) + _line(2)[:20])
    assert await _versions(source) == ["1"]
    with path.open("a") as stream:
        stream.write(_line(2)[20:] + _line(3))
    assert await _versions(source) == ["1", "2", "3"]
    path.write_text(_line(9))
    assert await _versions(source) == ["9"], "written anew, shorter"
    path.unlink()
    assert await _versions(source) == []


async def test_a_bad_line_is_a_gap_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(
        _line(1).encode() + b"{nonsense\n\n[]\n\xff\n" + _line(2, sevrice="x").encode()
    )
    (tmp_path / "b.json").write_text('[{"version": "3", "at": "2026-01-31T11:10:00Z"}, 7]')
    (tmp_path / "c.txt").write_text("not looked at")
    (tmp_path / ".d.json").write_text("being written")
    batch = await ChangeFiles(tmp_path, Clock()).read_changes(WINDOW)
    assert [change.version for change in batch.changes] == ["1"]
    assert sorted(batch.gaps) == [
        "a.ndjson: line 2: no JSON",
        "a.ndjson: line 4: not a JSON object",
        "a.ndjson: line 5: no JSON",
        "a.ndjson: line 6: unknown field 'sevrice'",
        "b.json: change 2: not a JSON object",
    ]


async def test_a_json_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, source = tmp_path / "now.json", ChangeFiles(tmp_path, Clock())
    path.write_text(_line(1))
    assert await _versions(source) == ["1"]
    path.write_text(_line(22))
    assert await _versions(source) == ["22"]


async def test_without_a_time_it_was_made_when_the_file_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"version": "1"}')
    moment = (NOON - timedelta(minutes=10)).timestamp()
    os.utime(path, (moment, moment))
    (change,) = await ChangeFiles(tmp_path, Clock()).changes(WINDOW)
    assert change.at == NOON - timedelta(minutes=10)


async def test_huge_files_and_lines_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_files, "FILE_BYTES_MAX", 100)
    monkeypatch.setattr(change_files, "LINE_BYTES_MAX", 200)
    monkeypatch.setattr(change_files, "READ_BYTES_MAX", 300)
    (tmp_path / "a.json").write_text('"' + "x" * 200 + '"')
    (tmp_path / "b.ndjson").write_text("y" * 1000 + "\n" + _line(1))
    source = ChangeFiles(tmp_path, Clock())
    for _ in range(10):
        batch = await source.read_changes(WINDOW)
    assert [change.version for change in batch.changes] == ["1"]
    assert "a.json: larger than 100 bytes" in batch.gaps
    assert "b.ndjson: line 1: longer than 200 bytes" in batch.gaps


async def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectorUnavailable, match="No such file"):
        await ChangeFiles(tmp_path / "absent", Clock()).changes(WINDOW)
