"""Reads a bundle's directory: what is missing or malformed is a gap, never an end."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import TextIOBase
from pathlib import Path
from typing import Any, TypeVar

from it_incident_response.domain.bundle import (
    Bundle,
    BundleAlert,
    Commit,
    Deploy,
    FlagChange,
    MetricSamples,
    Notice,
    Pattern,
)
from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.domain.trace import Span
from it_incident_response.errors import InputRejected

FILE_BYTES_MAX = 500_000_000
JSON_BYTES_MAX = 50_000_000
LINES_MAX = 1_000_000
SAMPLES_MAX = 10_000_000
ROWS_MAX = 100_000
"""Commits, spans, patterns... of one file; of more the first ones are read."""
TEXT_MAX = 10_000
NOTICES_MAX = 2_000
FURTHER_FILES_MAX = 50
ANSWER = re.compile(r"ground.?truth|^answers?\b|^solution", re.IGNORECASE)
"""The answer, where a bundle comes with one: never read."""

_OWN = frozenset({"alert.json", "logs.ndjson", "metrics.csv", "traces.json", "patterns.json"})
_OWN_CONTEXT = frozenset({"commits.json", "deploys.json", "flags.json"})
_LEVELS = {
    "trace": LogLevel.DEBUG,
    "debug": LogLevel.DEBUG,
    "info": LogLevel.INFO,
    "notice": LogLevel.INFO,
    "warn": LogLevel.WARNING,
    "warning": LogLevel.WARNING,
    "error": LogLevel.ERROR,
    "err": LogLevel.ERROR,
    "fatal": LogLevel.FATAL,
    "critical": LogLevel.FATAL,
    "panic": LogLevel.FATAL,
}
_LINE_KEYS = frozenset(
    [
        "timestamp",
        "time",
        "@timestamp",
        "ts",
        "service",
        "severity_text",
        "level",
        "severity",
        "msg",
        "message",
        "body",
        "trace_id",
        "span_id",
    ]
)
Row = Mapping[str, Any]
Made = TypeVar("Made")


def read_bundle(folder: Path) -> Bundle:
    """Return what the directory holds; raises `InputRejected` if it is none or is empty."""
    if not folder.is_dir():
        raise InputRejected(
            f"{folder} is no directory",
            hint="a bundle is a directory with alert.json, logs.ndjson, metrics.csv...; "
            "`iir incidents export` writes one",
        )
    reader = _Reader(folder)
    bundle = Bundle(
        name=folder.resolve().name,
        alert=reader.alert(),
        lines=tuple(reader.lines()),
        metrics=tuple(reader.metrics()),
        spans=tuple(reader.rows("traces.json", _span)),
        patterns=tuple(reader.rows("patterns.json", _pattern, is_optional=True)),
        commits=tuple(reader.rows("context/commits.json", _commit)),
        deploys=tuple(reader.rows("context/deploys.json", _deploy)),
        flags=tuple(reader.rows("context/flags.json", _flag)),
        notices=tuple(reader.notices()),
    )
    if not (bundle.alert.fields or bundle.lines or bundle.metrics or bundle.spans):
        raise InputRejected(
            f"{folder} holds no alert, log lines, metrics or traces that can be read",
            hint="; ".join(reader.gaps[:5]),
        )
    return bundle.model_copy(update={"gaps": tuple(reader.gaps)})


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.gaps: list[str] = []

    def alert(self) -> BundleAlert:
        found = self._json("alert.json")
        if not isinstance(found, dict):
            if found is not None:
                self.gaps.append("alert.json is no object")
            return BundleAlert()
        fields = {str(k)[:200]: v for k, v in list(found.items())[:200]}
        return BundleAlert(
            service=_text(found.get("service")),
            metric=_text(found.get("metric")),
            summary=_text(found.get("summary")) or "",
            fired_at=_time(found.get("fired_at") or found.get("timestamp")),
            fields=fields,
        )

    def lines(self) -> Iterator[LogLine]:
        bad = 0
        with self._open("logs.ndjson") as file:
            for number, raw in enumerate(_bounded_lines(file)):
                if number >= LINES_MAX:
                    self.gaps.append(f"logs.ndjson: only the first {LINES_MAX} lines were read")
                    break
                line = _line(raw)
                if line is None:
                    bad += bool(raw.strip())
                else:
                    yield line
        if bad:
            self.gaps.append(f"logs.ndjson: {bad} lines are no log events with a time")

    def metrics(self) -> list[MetricSamples]:
        series: dict[tuple[str, str], dict[float, float]] = {}
        bad = read = 0
        with self._open("metrics.csv") as file:
            try:
                for row in csv.DictReader(_bounded_lines(file)):
                    read += 1
                    if read > SAMPLES_MAX:
                        self.gaps.append(f"metrics.csv: only {SAMPLES_MAX} samples were read")
                        break
                    sample = _sample(row)
                    if sample is None:
                        bad += 1
                        continue
                    name, at, value = sample
                    series.setdefault(name, {})[at] = value
            except csv.Error as error:
                self.gaps.append(f"metrics.csv: {error}")
        if bad:
            self.gaps.append(f"metrics.csv: {bad} rows are no finite samples with a time")
        return [
            MetricSamples(
                service=service,
                metric=metric,
                times=tuple(sorted(values)),
                values=tuple(values[at] for at in sorted(values)),
            )
            for (service, metric), values in series.items()
        ]

    def rows(
        self, name: str, make: Callable[[Row], Made | None], *, is_optional: bool = False
    ) -> Iterator[Made]:
        found = self._json(name, is_optional=is_optional)
        if found is None:
            return
        if isinstance(found, dict):
            found = next((v for v in found.values() if isinstance(v, list)), [found])
        if not isinstance(found, list):
            self.gaps.append(f"{name} is no list")
            return
        if len(found) > ROWS_MAX:
            self.gaps.append(f"{name}: only the first {ROWS_MAX} entries were read")
        made = [make(row) if isinstance(row, dict) else None for row in found[:ROWS_MAX]]
        if bad := made.count(None):
            self.gaps.append(f"{name}: {bad} entries lack what they need")
        yield from (row for row in made if row is not None)

    def notices(self) -> Iterator[Notice]:
        """Yield what further JSON files say, each object with its own time."""
        files = [p for p in sorted(self._folder.glob("*.json")) if p.name not in _OWN]
        context = self._folder / "context"
        files += [p for p in sorted(context.glob("*.json")) if p.name not in _OWN_CONTEXT]
        told = 0
        for path in files[:FURTHER_FILES_MAX]:
            name = str(path.relative_to(self._folder))
            if ANSWER.search(path.name) or path.name == "manifest.json":
                continue
            for notice in _notices(name, self._json(name, is_optional=True)):
                told += 1
                if told > NOTICES_MAX:
                    self.gaps.append(f"{name}: further files say more than was read")
                    return
                yield notice

    def _json(self, name: str, *, is_optional: bool = False) -> Any:
        path = self._path(name)
        if path is None:
            if not is_optional:
                self.gaps.append(f"{name} is missing")
            return None
        try:
            if path.stat().st_size > JSON_BYTES_MAX:
                self.gaps.append(f"{name} is larger than {JSON_BYTES_MAX} bytes")
                return None
            return json.loads(path.read_bytes().decode("utf-8", "replace"))
        except (OSError, ValueError, RecursionError) as error:
            self.gaps.append(f"{name} cannot be read: {str(error)[:200]}")
            return None

    def _open(self, name: str) -> Any:
        path = self._path(name)
        if path is None:
            self.gaps.append(f"{name} is missing")
            return io.StringIO()
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                self.gaps.append(f"{name} is larger than {FILE_BYTES_MAX} bytes")
                return io.StringIO()
            return path.open(encoding="utf-8", errors="replace", newline="")
        except OSError as error:
            self.gaps.append(f"{name} cannot be read: {error.strerror}")
            return io.StringIO()

    def _path(self, name: str) -> Path | None:
        """Return the file, unless it is absent or a link leads out of the bundle."""
        path = self._folder / name
        if not path.is_file():
            return None
        if not path.resolve().is_relative_to(self._folder):
            self.gaps.append(f"{name} lies outside of the bundle and is not read")
            return None
        return path


def _bounded_lines(file: TextIOBase) -> Iterator[str]:
    """Yield lines; of a longer one than a few hundred kilobytes the beginning."""
    at_once = 400_000
    while line := file.readline(at_once):
        yield line
        while not line.endswith("\n") and len(line) == at_once:
            line = file.readline(at_once)


def _line(raw: str) -> LogLine | None:
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    at = _time(row.get("timestamp") or row.get("@timestamp") or row.get("time") or row.get("ts"))
    if at is None:
        return None
    level = _text(row.get("severity_text") or row.get("level") or row.get("severity")) or "info"
    extra = {str(k)[:100]: str(v)[:500] for k, v in row.items() if k not in _LINE_KEYS}
    return LogLine(
        at=at,
        message=(_text(row.get("msg") or row.get("message") or row.get("body")) or "")[:TEXT_MAX],
        level=_LEVELS.get(level.lower(), LogLevel.INFO),
        service=_text(row.get("service")),
        trace_id=_text(row.get("trace_id")),
        attributes=dict(list(extra.items())[:30]),
    )


def _sample(row: Mapping[str, Any]) -> tuple[tuple[str, str], float, float] | None:
    at, metric = _time(row.get("timestamp")), _text(row.get("metric"))
    try:
        value = float(row.get("value") or "")
    except ValueError:
        return None
    if at is None or metric is None or not math.isfinite(value):
        return None
    return (_text(row.get("service")) or "unknown", metric), at.timestamp(), value


def _span(row: Row) -> Span | None:
    start, trace, span = _time(row.get("start")), _text(row.get("trace_id")), row.get("span_id")
    service = _text(row.get("service"))
    if start is None or trace is None or span is None or service is None:
        return None
    try:
        duration = float(row.get("duration_ms") or 0) / 1000
    except (TypeError, ValueError):
        duration = 0.0
    known = {"trace_id", "span_id", "parent_id", "service", "name", "start", "duration_ms"}
    extra = {str(k)[:100]: str(v)[:500] for k, v in row.items() if k not in known}
    return Span(
        trace_id=trace,
        span_id=str(span)[:100],
        parent_id=_text(row.get("parent_id")),
        service=service,
        operation=_text(row.get("name")) or "",
        start=start,
        duration_s=duration if math.isfinite(duration) else 0.0,
        is_error=str(row.get("status", "")).upper() == "ERROR" or bool(row.get("error")),
        error=_text(row.get("error")),
        attributes=dict(list(extra.items())[:30]),
    )


def _pattern(row: Row) -> Pattern | None:
    signature = _text(row.get("signature") or row.get("template"))
    if signature is None:
        return None
    delta = str(row.get("delta_vs_baseline", row.get("delta", "+1")))
    return Pattern(
        signature=signature,
        service=_text(row.get("service")),
        is_more=not delta.startswith("-") and delta not in ("0", "+0"),
    )


def _commit(row: Row) -> Commit | None:
    sha = _text(row.get("sha") or row.get("commit"))
    if sha is None:
        return None
    files = row.get("files_changed") or row.get("files") or ()
    return Commit(
        sha=sha,
        at=_time(row.get("timestamp") or row.get("date")),
        author=_text(row.get("author")),
        message=_text(row.get("message")) or "",
        files=tuple(str(f)[:500] for f in files[:500]) if isinstance(files, Sequence) else (),
        diff=str(row.get("diff") or "")[:100_000],
    )


def _deploy(row: Row) -> Deploy | None:
    at, service = _time(row.get("timestamp") or row.get("at")), _text(row.get("service"))
    if at is None or service is None:
        return None
    sha, version = _text(row.get("commit_sha") or row.get("sha")), _text(row.get("version"))
    return Deploy(service=service, at=at, sha=sha, version=version)


def _flag(row: Row) -> FlagChange | None:
    at, flag = _time(row.get("timestamp") or row.get("at")), _text(row.get("flag"))
    if at is None or flag is None:
        return None
    change = _text(row.get("change")) or ""
    return FlagChange(flag=flag, at=at, service=_text(row.get("service")), change=change)


def _notices(name: str, found: Any, depth: int = 0) -> Iterator[Notice]:
    """Yield each object that has a time of its own, with all its texts."""
    if depth > 8:
        return
    if isinstance(found, list):
        for item in found[:NOTICES_MAX]:
            yield from _notices(name, item, depth + 1)
    elif isinstance(found, dict):
        times = (_time(v) for k, v in found.items() if isinstance(v, str | int | float))
        at = next((time for time in times if time is not None), None)
        texts = [f"{k} {v}" for k, v in found.items() if isinstance(v, str | int | float)]
        if texts:
            yield Notice(file=name, at=at, text="; ".join(texts)[:TEXT_MAX])
        for value in found.values():
            if isinstance(value, list | dict):
                yield from _notices(name, value, depth + 1)


def _text(value: Any) -> str | None:
    return str(value)[:TEXT_MAX] if isinstance(value, str | int | float) and value != "" else None


def _time(value: Any) -> datetime | None:
    """Return a moment of ISO 8601, or of Unix seconds or milliseconds of this century."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        number = float(value)
        number = number / 1000 if number > 1e11 else number
        return datetime.fromtimestamp(number, UTC) if number > 9e8 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
