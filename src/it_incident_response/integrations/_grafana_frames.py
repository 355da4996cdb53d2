"""Data frames, in which Grafana answers queries, as series: numbers over time with labels.

https://grafana.com/developers/plugin-tools/key-concepts/data-frames: wide, many and long frames;
`entities` lists where a column holds NaN or an infinity, for which JSON has no number.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

POINTS_MAX = 11_000
SERIES_MAX = 100
_LABELS_MAX = 64


@dataclass(frozen=True)
class FrameSeries:
    """One numeric column over time; NaN, infinities and nulls are left out."""

    name: str
    labels: Mapping[str, str]
    unit: str
    times: tuple[float, ...]
    """Unix seconds, rising."""
    values: tuple[float, ...]


@dataclass
class FrameAnswer:
    """What one query of a panel gave."""

    series: list[FrameSeries] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    executed: str | None = None
    """The query as the data source was sent it, where it says so."""


def read_frames(frames: Any) -> FrameAnswer:
    """Return the series of the frames of one query; raises `ValueError` for what is no frame."""
    answer = FrameAnswer()
    if frames is None:
        return answer
    if not isinstance(frames, list):
        raise ValueError("frames are no list")
    for frame in frames:
        schema, data = _parts(frame)
        meta = schema.get("meta")
        meta = meta if isinstance(meta, Mapping) else {}
        executed = meta.get("executedQueryString")
        if isinstance(executed, str) and answer.executed is None:
            answer.executed = executed[:20_000]
        answer.notices += _notices(meta)
        columns = _columns(schema, data)
        for series in _series(columns, str(schema.get("name") or "")):
            if len(answer.series) >= SERIES_MAX:
                answer.notices.append(f"more than {SERIES_MAX} series, the first were kept")
                return answer
            if series.times:
                answer.series.append(series)
    return answer


def _parts(frame: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    schema = frame.get("schema") if isinstance(frame, Mapping) else None
    data = frame.get("data") if isinstance(frame, Mapping) else None
    if not isinstance(schema, Mapping):
        raise ValueError("a frame has no schema")
    return schema, data if isinstance(data, Mapping) else {}


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    labels: Mapping[str, str]
    unit: str
    display: str
    cells: Sequence[Any]


def _columns(schema: Mapping[str, Any], data: Mapping[str, Any]) -> list[_Column]:
    fields, values = schema.get("fields") or [], data.get("values") or []
    entities = data.get("entities") or []
    if not isinstance(fields, list) or not isinstance(values, list):
        raise ValueError("a frame's fields or values are no list")
    if values and len(values) != len(fields):
        raise ValueError(f"a frame has {len(fields)} fields and {len(values)} columns")
    columns = []
    for number, item in enumerate(fields):
        cells = values[number] if values else []
        if not isinstance(item, Mapping) or not isinstance(cells, list):
            raise ValueError("a field is no object, or its column no list")
        marked = entities[number] if isinstance(entities, list) and number < len(entities) else None
        columns.append(_column(item, _unmarked(cells, marked)))
    return columns


def _column(item: Mapping[str, Any], cells: Sequence[Any]) -> _Column:
    config = item.get("config")
    config = config if isinstance(config, Mapping) else {}
    labels = item.get("labels")
    labels = labels if isinstance(labels, Mapping) else {}
    return _Column(
        name=str(item.get("name") or ""),
        type=str(item.get("type") or ""),
        labels={
            str(name): str(value)
            for name, value in list(labels.items())[:_LABELS_MAX]
            if value is not None
        },
        unit=str(config.get("unit") or ""),
        display=str(config.get("displayNameFromDS") or config.get("displayName") or ""),
        cells=cells,
    )


def _unmarked(cells: list[Any], entities: Any) -> list[Any]:
    """Return the cells with None where `entities` says that there is no finite number."""
    if not isinstance(entities, Mapping):
        return cells
    cells = list(cells)
    for kind in ("NaN", "Inf", "NegInf"):
        places = entities.get(kind)
        for place in places if isinstance(places, list) else []:
            if isinstance(place, int) and 0 <= place < len(cells):
                cells[place] = None
    return cells


def _series(columns: Sequence[_Column], frame_name: str) -> Iterator[FrameSeries]:
    time = next((column for column in columns if column.type == "time"), None)
    if time is None:
        return
    texts = [column for column in columns if column.type == "string"]
    for column in columns:
        if column.type == "number":
            if texts:
                yield from _of_long(time, column, texts)
            else:
                rows = zip(time.cells, column.cells, strict=False)
                yield _one(column, column.labels, rows, frame_name)


def _of_long(time: _Column, column: _Column, texts: Sequence[_Column]) -> Iterator[FrameSeries]:
    """Yield a series for each combination of the texts beside the numbers."""
    groups: dict[tuple[str, ...], list[tuple[Any, Any]]] = defaultdict(list)
    rows = zip(time.cells, column.cells, *(text.cells for text in texts), strict=False)
    for at, value, *words in rows:
        groups[tuple("" if word is None else str(word)[:500] for word in words)].append((at, value))
    for key, pairs in groups.items():
        labels = {text.name: word for text, word in zip(texts, key, strict=True) if word}
        yield _one(column, {**column.labels, **labels}, pairs, "")


def _one(column: _Column, labels: Mapping[str, str], rows: Any, frame_name: str) -> FrameSeries:
    points: dict[float, float] = {}
    for at, value in rows:
        if _is_number(at) and _is_number(value):
            points[at / 1000] = float(value)
    ordered = sorted(points.items())[-POINTS_MAX:]
    shown = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return FrameSeries(
        name=(column.display or shown or frame_name or column.name)[:300],
        labels=dict(labels),
        unit=column.unit,
        times=tuple(at for at, _ in ordered),
        values=tuple(value for _, value in ordered),
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def _notices(meta: Mapping[str, Any]) -> Iterator[str]:
    notices = meta.get("notices")
    for notice in notices[:10] if isinstance(notices, list) else []:
        if isinstance(notice, Mapping) and notice.get("severity") in ("warning", "error"):
            yield str(notice.get("text") or "a warning without words")[:300]
