"""What one series shows: how it changed against its baseline, since when, and how strongly."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from it_incident_response.domain.evidence import (
    SIGNAL_UNITS,
    MetricFinding,
    Shape,
    SignalSeries,
)

Floats = npt.NDArray[np.float64]

OUTLYING = 3.5
"""Robust z from which a value is unusual (Iglewicz and Hoaglin 1993, How to Detect Outliers)."""
SPIKE = 6.0
"""Robust z of a peak that counts although the series came back."""
NORMAL_CONSISTENT = 1.4826
"""Makes the median absolute deviation estimate a normal distribution's standard deviation."""
RELATIVE_FLOOR = 0.02
"""A change of less than 2 % of the usual level is never unusual, however quiet the baseline."""
SCALE_FLOORS: Mapping[str, float] = {
    "ratio": 0.01,
    "seconds": 0.002,
    "bytes": 1e6,
    "per_second": 0.02,
    "count": 0.25,
    "bool": 0.05,
    "number": 1e-3,
}
"""Least spread by unit: what people would call no change at all."""
SATURATED = 0.95
"""Share of a resource from which it counts as used up."""
MONOTONE = 0.8
"""Rank correlation with time from which a change is a trend."""
JUMP_MAX = 0.4
"""A trend makes no single step larger than this share of its whole change."""
BASELINE_SAMPLES_MIN = 3
TREND_SAMPLES_MIN = 6
STALE_S = 300.0
"""Prometheus' look-back: a series whose last sample is older has ended."""
STALE_STEPS = 5.0
DRAWN_MAX = 120
SLOPE_SAMPLES_MAX = 60


class _Windows(NamedTuple):
    baseline: Floats
    times: Floats
    values: Floats
    tail: Floats


class _Level(NamedTuple):
    centre: float
    scale: float


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
    samples after it. Few samples widen the spread, so that they have to differ more.
    """
    windows = _cut(series, incident_start, baseline_start, now, began or incident_start)
    if not windows.values.size or _has_ended(windows.times, now):
        return _nothing(series, incident_start)
    current = float(np.median(windows.tail))
    level = _level(windows, series)
    if level is None:
        return _without_baseline(series, windows, current, incident_start)
    peak = float(windows.values[np.argmax(np.abs(windows.values - level.centre))])
    effect = (current - level.centre) / level.scale
    shape = _shape(series, windows, level, current, peak)
    return MetricFinding(
        signal=series.signal,
        entity=series.entity,
        title=series.title,
        shape=shape,
        baseline=level.centre,
        current=current,
        peak=peak,
        effect=effect,
        slope_per_hour=_slope_per_hour(windows.times, windows.values),
        onset=_onset(windows, level, current if shape is not Shape.SPIKE else peak, shape),
        samples=_drawn(series),
        baseline_end=incident_start,
    )


def _cut(
    series: SignalSeries,
    incident_start: datetime,
    baseline_start: datetime,
    now: datetime,
    began: datetime,
) -> _Windows:
    times = np.asarray(series.times, dtype=np.float64)
    values = np.asarray(series.values, dtype=np.float64)
    usable = np.isfinite(values) & (times <= now.timestamp() + 1)
    times, values = times[usable], values[usable]
    start, first = incident_start.timestamp(), baseline_start.timestamp()
    inside = times >= start
    before = (times >= first) & ~inside
    if np.count_nonzero(before) < BASELINE_SAMPLES_MIN:
        before = (times >= first) & (times < began.timestamp())
    tail_from = max(began.timestamp(), now.timestamp() - (now.timestamp() - start) / 5)
    tail = values[inside & (times >= tail_from)]
    if not tail.size:
        tail = values[inside][-1:]
    return _Windows(values[before], times[inside], values[inside], tail)


def _has_ended(times: Floats, now: datetime) -> bool:
    """Return whether the series stopped: what was normal before it fell silent proves nothing."""
    step = float(np.median(np.diff(times))) if times.size > 1 else 0.0
    return now.timestamp() - float(times[-1]) > max(STALE_S, STALE_STEPS * step)


def _level(windows: _Windows, series: SignalSeries) -> _Level | None:
    baseline = windows.baseline
    if baseline.size < BASELINE_SAMPLES_MIN:
        return None
    centre = float(np.median(baseline))
    spread = NORMAL_CONSISTENT * float(np.median(np.abs(baseline - centre)))
    floor = max(SCALE_FLOORS[SIGNAL_UNITS[series.signal]], RELATIVE_FLOOR * abs(centre))
    # Wider for few samples, after the error of a prediction from n observations.
    widened = np.sqrt(1 + 4 / baseline.size + 1 / max(1, windows.tail.size))
    return _Level(centre, max(spread, floor) * float(widened))


def _shape(
    series: SignalSeries, windows: _Windows, level: _Level, current: float, peak: float
) -> Shape:
    is_ratio = SIGNAL_UNITS[series.signal] == "ratio"
    if is_ratio and current >= SATURATED and level.centre < SATURATED:
        return Shape.SATURATION
    is_outlying = abs(current - level.centre) / level.scale >= OUTLYING
    if is_outlying and current == 0 and SIGNAL_UNITS[series.signal] != "bool":
        return Shape.FLAT_LINE
    if is_outlying:
        return Shape.TREND if _is_trend(windows, level) else Shape.LEVEL_SHIFT
    if abs(peak - level.centre) / level.scale >= SPIKE:
        return Shape.SPIKE
    return Shape.NORMAL


def _is_trend(windows: _Windows, level: _Level) -> bool:
    values = windows.values
    if values.size < TREND_SAMPLES_MIN:
        return False
    steps = np.abs(np.diff(values))
    change = abs(values[-1] - values[0])
    if change < OUTLYING * level.scale or steps.max() > JUMP_MAX * change:
        return False
    return abs(_rank_correlation(values)) >= MONOTONE


def _rank_correlation(values: Floats) -> float:
    """Return Spearman's correlation of the values with their order."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
    order = np.arange(values.size, dtype=np.float64)
    return float(np.corrcoef(order, ranks)[0, 1])


def _slope_per_hour(times: Floats, values: Floats) -> float:
    """Return the median of the slopes between all pairs (Theil 1950, Sen 1968), per hour."""
    if values.size < TREND_SAMPLES_MIN:
        return 0.0
    chosen = np.linspace(0, values.size - 1, min(values.size, SLOPE_SAMPLES_MAX)).astype(int)
    t, v = times[chosen], values[chosen]
    first, second = np.triu_indices(t.size, k=1)
    elapsed = t[second] - t[first]
    slopes = (v[second] - v[first])[elapsed > 0] / elapsed[elapsed > 0]
    return float(np.median(slopes) * 3600) if slopes.size else 0.0


def _onset(windows: _Windows, level: _Level, reached: float, shape: Shape) -> datetime | None:
    """Return the first sample from which most samples lie beyond half of the change."""
    if shape is Shape.NORMAL:
        return None
    change = reached - level.centre
    share = min(0.5, OUTLYING * level.scale / abs(change)) if change else 0.5
    beyond = (windows.values - level.centre) * np.sign(change) >= abs(change) * share
    if not beyond.any():
        return None
    if shape is Shape.SPIKE:
        return _utc(windows.times[np.argmax(beyond)])
    share_after = np.cumsum(beyond[::-1])[::-1] / np.arange(beyond.size, 0, -1)
    lasting = np.flatnonzero(beyond & (share_after >= 0.8))
    return _utc(windows.times[lasting[0] if lasting.size else np.argmax(beyond)])


def _without_baseline(
    series: SignalSeries, windows: _Windows, current: float, incident_start: datetime
) -> MetricFinding:
    is_ratio = SIGNAL_UNITS[series.signal] == "ratio"
    shape = Shape.SATURATION if is_ratio and current >= SATURATED else Shape.NORMAL
    if current == 0 and not is_ratio:
        shape = Shape.FLAT_LINE
    return MetricFinding(
        signal=series.signal,
        entity=series.entity,
        title=series.title,
        shape=shape,
        baseline=None,
        current=current,
        peak=float(windows.values.max()),
        effect=0.0,
        slope_per_hour=_slope_per_hour(windows.times, windows.values),
        samples=_drawn(series),
        baseline_end=incident_start,
    )


def _nothing(series: SignalSeries, incident_start: datetime) -> MetricFinding:
    return MetricFinding(
        signal=series.signal,
        entity=series.entity,
        title=series.title,
        shape=Shape.NO_DATA,
        baseline=None,
        current=None,
        peak=None,
        effect=0.0,
        baseline_end=incident_start,
    )


def _drawn(series: SignalSeries) -> tuple[tuple[float, float], ...]:
    pairs = [(t, v) for t, v in zip(series.times, series.values, strict=True) if np.isfinite(v)]
    if len(pairs) <= DRAWN_MAX:
        return tuple(pairs)
    parts = np.array_split(np.asarray(pairs), DRAWN_MAX)
    return tuple((float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts)


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(float(timestamp), tz=UTC)
