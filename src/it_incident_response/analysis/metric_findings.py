"""What a series shows: how it changed against its baseline, since when, and how strongly."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from it_incident_response.analysis.series_matrix import Floats, pack, padded
from it_incident_response.analysis.series_shape import (
    SHAPES,
    Columns,
    Question,
    Units,
    analyse,
)
from it_incident_response.domain.evidence import (
    SIGNAL_UNITS,
    MetricFinding,
    Signal,
    SignalSeries,
)

SCALE_FLOORS: Mapping[str, float] = {
    "ratio": 0.01,
    "error_ratio": 0.002,
    "seconds": 0.002,
    "bytes": 1e6,
    "per_second": 0.02,
    "count": 0.25,
    "bool": 0.05,
    "number": 1e-3,
}
"""Least spread by unit: what people would call no change at all. Where no call ever fails, one
failing in 140 is a change, so that ratios of errors have their own."""
COUNTED_UNITS = frozenset({"per_second", "count", "number"})
"""Units whose series may turn out to be a raw counter."""
DRAWN_MAX = 120
CELLS_MAX = 4_000_000
"""Samples copied into one matrix: bounds memory, whatever the number of series."""
BLOCK_CELLS = 200_000
"""Samples analysed at once: what is computed from them stays in the processor's cache."""


def find(
    series: SignalSeries,
    *,
    incident_start: datetime,
    baseline_start: datetime,
    now: datetime,
    began: datetime | None = None,
) -> MetricFinding:
    """Return what `series` shows from `incident_start` to `now`, against the time before.

    `began` is when the first alert fired: with so little history that nothing precedes
    `incident_start`, what precedes `began` is the baseline, and the current level is judged from
    samples after it. Few samples widen the spread, so that they have to differ more. A rhythm of
    the baseline (three cycles at least) is taken off, a raw counter becomes a rate a second.
    """
    (finding,) = find_all(
        [series],
        incident_start=incident_start,
        baseline_start=baseline_start,
        now=now,
        began=began,
    )
    return finding


def find_all(
    series: Sequence[SignalSeries],
    *,
    incident_start: datetime,
    baseline_start: datetime,
    now: datetime,
    began: datetime | None = None,
) -> list[MetricFinding]:
    """Return what each of many series shows, in their order; the same as `find` for each."""
    question = Question(
        baseline_start.timestamp(),
        incident_start.timestamp(),
        (began or incident_start).timestamp(),
        now.timestamp(),
    )
    findings: list[MetricFinding | None] = [None] * len(series)
    for chosen, times in _batches(series):
        values = padded([series[place].values for place in chosen])
        columns = find_in_matrix(
            times, values, [unit_of(series[p].signal) for p in chosen], question
        )
        for row, place in enumerate(chosen):
            findings[place] = _finding(series[place], columns, row, incident_start)
    return [finding for finding in findings if finding is not None]


def find_in_matrix(
    times: Floats, values: Floats, units: Sequence[str], question: Question
) -> Columns:
    """Return what each row of `values` shows, as columns.

    `times` are Unix seconds, rising: (t,) for all rows or (n, t); NaN in `values` is a gap.
    `units` are those of `SCALE_FLOORS`, one a row (see `unit_of`).
    """
    known = Units(
        np.asarray([SCALE_FLOORS[unit] for unit in units], dtype=np.float64),
        np.asarray([unit in ("ratio", "error_ratio") for unit in units], dtype=bool),
        np.asarray([unit == "bool" for unit in units], dtype=bool),
        np.asarray([unit in COUNTED_UNITS for unit in units], dtype=bool),
    )
    size = max(1, BLOCK_CELLS // max(1, values.shape[1]))
    parts = []
    for at in range(0, max(1, len(values)), size):
        part = slice(at, at + size)
        own_times = times if times.ndim == 1 else times[part]
        rows = pack(own_times, values[part], until=question.now + 1)
        parts.append(analyse(rows, question, known.of(np.arange(len(values))[part])))
    return Columns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _batches(series: Sequence[SignalSeries]) -> Iterator[tuple[list[int], Floats]]:
    """Yield places of series to analyse together, with the times they share or each has."""
    by_times: dict[tuple[float, ...], list[int]] = {}
    for place, item in enumerate(series):
        by_times.setdefault(item.times, []).append(place)
    alone = []
    for times, places in by_times.items():
        if len(places) == 1:
            alone += places
        else:
            for part in _parts(places, len(times)):
                yield part, np.asarray(times, dtype=np.float64)
    alone.sort(key=lambda place: len(series[place].times))
    longest = len(series[alone[-1]].times) if alone else 0
    for part in _parts(alone, longest):
        own = padded([series[place].times for place in part])
        yield part, own if len(part) > 1 else own[0]


def _parts(places: list[int], length: int) -> Iterator[list[int]]:
    size = max(1, CELLS_MAX // max(1, length))
    yield from (places[at : at + size] for at in range(0, len(places), size))


def unit_of(signal: Signal) -> str:
    """Return the unit of a signal, as far as it matters to what is unusual."""
    return "error_ratio" if signal is Signal.ERROR_RATIO else SIGNAL_UNITS[signal]


def _finding(
    series: SignalSeries, columns: Columns, row: int, incident_start: datetime
) -> MetricFinding:
    has_data = not np.isnan(columns.current[row])
    return MetricFinding(
        signal=series.signal,
        entity=series.entity,
        title=series.title,
        shape=SHAPES[columns.shape[row]],
        baseline=_known(columns.baseline[row]),
        current=_known(columns.current[row]),
        peak=_known(columns.peak[row]),
        effect=float(columns.effect[row]),
        slope_per_hour=float(columns.slope_per_hour[row]),
        onset=_utc(columns.onset[row]),
        samples=_drawn(series) if has_data else (),
        baseline_end=incident_start,
        period_s=float(columns.period_s[row]) or None,
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _utc(timestamp: float) -> datetime | None:
    return None if np.isnan(timestamp) else datetime.fromtimestamp(float(timestamp), tz=UTC)


def _drawn(series: SignalSeries) -> tuple[tuple[float, float], ...]:
    """Return at most `DRAWN_MAX` finite samples, the means of equal parts where there are more."""
    pairs = np.asarray((series.times, series.values), dtype=np.float64)
    pairs = pairs[:, np.isfinite(pairs[1])]
    count = pairs.shape[1]
    if count > DRAWN_MAX:
        ends = np.linspace(0, count, DRAWN_MAX + 1).astype(np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.add.reduceat(pairs, ends[:-1], axis=1)
            pairs = sums / np.diff(ends)
        pairs = pairs[:, np.isfinite(pairs[1])]
    return tuple(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True))
