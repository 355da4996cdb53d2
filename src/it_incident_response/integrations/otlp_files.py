"""Reads traces from a folder of OTLP-JSON files, such as the collector's file exporter writes."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

from it_incident_response.domain.trace import Span
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.integrations._otlp import spans_of_otlp
from it_incident_response.ports.sources import TraceBatch, TraceQuery

NAME = "otlp-files"
FILES_MAX = 50
"""The newest files that are read."""
SUFFIXES = (".json", ".jsonl", ".ndjson")
LINE_BYTES_MAX = 20_000_000
SPANS_MAX = 200_000


class OtlpFolder:
    """A folder with `*.json`, `*.jsonl` or `*.ndjson`: one document a file, or one a line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def traces(self, query: TraceQuery) -> TraceBatch:
        """Return spans of the window; raises `ConnectorUnavailable` if there is no folder."""
        return await asyncio.to_thread(self._read, query)

    def _read(self, query: TraceQuery) -> TraceBatch:
        gaps: list[str] = []
        spans: list[Span] = []
        for path in self._files(gaps):
            for span in _spans(path, gaps):
                if _is_asked_for(span, query):
                    spans.append(span)
                if len(spans) >= SPANS_MAX:
                    gaps.append(f"only the first {SPANS_MAX} spans were read")
                    return self._batch(spans, query, gaps)
        return self._batch(spans, query, gaps)

    def _files(self, gaps: list[str]) -> list[Path]:
        try:
            found = [path for path in self._folder.iterdir() if path.suffix in SUFFIXES]
            found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        except OSError as error:
            raise ConnectorUnavailable(
                NAME, f"{self._folder} cannot be read: {error.strerror}"
            ) from error
        if len(found) > FILES_MAX:
            gaps.append(f"the newest {FILES_MAX} of {len(found)} files were read")
        return found[:FILES_MAX]

    def _batch(self, spans: list[Span], query: TraceQuery, gaps: list[str]) -> TraceBatch:
        chosen = _whole_traces(spans, query)
        return TraceBatch(
            spans=tuple(chosen),
            query=f"OTLP-JSON files in {self._folder}",
            is_truncated=len(chosen) < len(spans),
            gaps=tuple(dict.fromkeys(gaps)),
        )


def _spans(path: Path, gaps: list[str]) -> Iterator[Span]:
    bad = 0
    try:
        with path.open("rb") as file:
            whole = path.suffix == ".json" and path.stat().st_size <= LINE_BYTES_MAX
            for raw in [file.read()] if whole else iter(lambda: file.readline(LINE_BYTES_MAX), b""):
                try:
                    yield from spans_of_otlp(json.loads(raw.decode("utf-8", "replace")))
                except (ValueError, RecursionError):
                    bad += 1
    except OSError as error:
        gaps.append(f"{path.name} cannot be read: {error.strerror}")
    if bad:
        gaps.append(f"{path.name}: {bad} documents are no JSON")


def _is_asked_for(span: Span, query: TraceQuery) -> bool:
    if query.trace_id is not None:
        return span.trace_id == query.trace_id
    return query.window.start <= span.start < query.window.end


def _whole_traces(spans: list[Span], query: TraceQuery) -> list[Span]:
    """Return the spans of the traces to which an asked service belongs, failed traces first."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    wanted = set(query.services)
    listed = [t for t in traces.values() if not wanted or wanted & {s.service for s in t}]
    listed.sort(key=lambda trace: not any(span.is_error for span in trace))
    return [span for trace in listed[: query.limit] for span in trace]
