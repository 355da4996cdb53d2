"""How series changed against their baseline, all rows of a matrix at once."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from it_incident_response.analysis.seasonality import Rhythm, without_rhythm
from it_incident_response.analysis.series_matrix import (
    Flags,
    Floats,
    Ints,
    Rows,
    counters_as_rates,
    row_median,
)
from it_incident_response.domain.evidence import Shape

OUTLYING = 3.5
"""Robust z from which a value is unusual (Iglewicz and Hoaglin 1993, How to Detect Outliers)."""
SPIKE = 6.0
"""Robust z of a peak that counts although the series came back."""
SPIKE_BEYOND = 2.0
"""A peak is also so many times as far out as the furthest sample of the baseline..."""
SPIKE_BEYOND_ALONE = 4.0
"""...or so many times, if it is a single sample: heavy tails have those by themselves."""
NORMAL_CONSISTENT = 1.4826
"""Makes the median absolute deviation estimate a normal distribution's standard deviation."""
RELATIVE_FLOOR = 0.02
"""A change of less than 2 % of the usual level is never unusual, however quiet the baseline."""
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
SLOPE_SAMPLES_MAX = 60
SLOPE_BLOCK_ROWS = 256
LASTING = 0.8
"""Share of the samples after the onset of a lasting change that lie beyond it too."""
STUCK_SAMPLES_MIN = 10
STUCK_BASELINE_MIN = 20
STUCK_CHANCE = 1e-6
"""Chance, at the baseline's share of unchanged steps, of so long a run of equal samples."""

SHAPES = tuple(Shape)
"""`Columns.shape` are places in this tuple."""
_CODE = {shape: code for code, shape in enumerate(SHAPES)}


class Question(NamedTuple):
    """What to compare: `start` to `now` with what precedes it, from `baseline` on; Unix seconds."""

    baseline: float
    start: float
    began: float
    now: float


class Units(NamedTuple):
    """What is known of each row's unit, one entry a row."""

    floor: Floats
    """Least spread."""
    is_ratio: Flags
    is_bool: Flags
    may_count: Flags
    """A raw counter is possible."""

    def of(self, chosen: Ints) -> "Units":
        """Return the entries of some rows."""
        return Units(
            self.floor[chosen], self.is_ratio[chosen], self.is_bool[chosen], self.may_count[chosen]
        )


class Columns(NamedTuple):
    """What each row shows; NaN where something is not known."""

    shape: npt.NDArray[np.int8]
    baseline: Floats
    current: Floats
    peak: Floats
    effect: Floats
    slope_per_hour: Floats
    onset: Floats
    period_s: Floats
    """0 without a rhythm."""


class _Case(NamedTuple):
    """The rows from the beginning of the baseline on, cut into windows."""

    raw: Rows
    rhythm: Rhythm
    baseline: Rows
    inside: Rows
    tail: Rows
    first_inside: Ints
    first_tail: Ints


class _Level(NamedTuple):
    centre: Floats
    scale: Floats
    is_known: Flags


def analyse(rows: Rows, question: Question, units: Units) -> Columns:
    """Return what every row shows; see `metric_findings.find` for the meaning."""
    case = _case(counters_as_rates(rows, units.may_count), question)
    level = _level(case, units)
    has_data = (case.inside.counts > 0) & ~_has_ended(case.inside, question.now)
    rest_now = row_median(case.tail.values)
    current = rest_now + _usual_now(case)
    place = _furthest(case.inside, level.centre)
    peak_rest = _at(case.inside.values, place)
    with np.errstate(invalid="ignore", over="ignore"):
        effect = np.where(level.is_known, (rest_now - level.centre) / level.scale, 0.0)
    shape = _shapes(case, level, units, _Now(rest_now, current, effect, place, peak_rest))
    shape[~has_data] = _CODE[Shape.NO_DATA]
    reached = np.where(shape == _CODE[Shape.SPIKE], peak_rest, rest_now)
    unknown = np.where(has_data, 0.0, np.nan)
    return Columns(
        shape,
        np.where(level.is_known, level.centre + _usual_now(case), np.nan) + unknown,
        current + unknown,
        _at(_raw_inside(case).values, place) + unknown,
        np.where(has_data, effect, 0.0),
        np.where(has_data, _slopes_per_hour(case.inside), 0.0),
        _onsets(case.inside, level, reached, shape),
        case.rhythm.period_s,
    )


class _Now(NamedTuple):
    rest: Floats
    current: Floats
    effect: Floats
    peak_place: Ints
    peak: Floats


def _case(rows: Rows, question: Question) -> _Case:
    first = rows.before(question.baseline)
    rows = rows.cut(first, rows.counts)
    inside_from = rows.before(question.start)
    until = np.where(inside_from < BASELINE_SAMPLES_MIN, rows.before(question.began), inside_from)
    tail_at = max(question.began, question.now - (question.now - question.start) / 5)
    tail_from = np.maximum(rows.before(tail_at), inside_from)
    is_empty = tail_from >= rows.counts
    tail_from = np.where(is_empty, np.maximum(rows.counts - 1, inside_from), tail_from)
    rhythm = without_rhythm(rows, until)
    rest = rows._replace(values=rhythm.rest)
    nought = np.zeros_like(until)
    return _Case(
        rows,
        rhythm,
        rest.cut(nought, until),
        rest.cut(inside_from, rows.counts),
        rest.cut(tail_from, rows.counts),
        inside_from,
        tail_from,
    )


def _raw_inside(case: _Case) -> Rows:
    if not case.rhythm.period_s.any():
        return case.inside
    return case.raw.cut(case.first_inside, case.raw.counts)


def _usual_now(case: _Case) -> Floats:
    """Return what the rhythm adds at this time."""
    if not case.rhythm.period_s.any():
        return np.zeros(len(case.raw.values))
    tail = case.raw._replace(values=case.rhythm.usual).cut(case.first_tail, case.raw.counts)
    return np.nan_to_num(row_median(tail.values))


def _has_ended(inside: Rows, now: float) -> Flags:
    """Return whether the series stopped: what was normal before it fell silent proves nothing."""
    with np.errstate(invalid="ignore"):
        steps = np.diff(inside.times, axis=1)
    step = np.nan_to_num(row_median(np.where(np.isfinite(steps), steps, np.nan)))
    last, _ = inside.last()
    with np.errstate(invalid="ignore"):
        return np.asarray(now - last > np.maximum(STALE_S, STALE_STEPS * step))


def _level(case: _Case, units: Units) -> _Level:
    baseline, tail = case.baseline, case.tail
    centre = row_median(baseline.values)
    spread = NORMAL_CONSISTENT * row_median(np.abs(baseline.values - centre[:, None]))
    scale = np.maximum(spread, np.maximum(units.floor, RELATIVE_FLOOR * np.abs(centre)))
    # Wider for few samples, after the error of a prediction from n observations.
    count = np.maximum(baseline.counts, 1)
    widened = np.sqrt(1 + 4 / count + 1 / np.maximum(tail.counts, 1))
    is_known = baseline.counts >= BASELINE_SAMPLES_MIN
    return _Level(
        np.where(is_known, centre, np.nan), np.where(is_known, scale * widened, np.nan), is_known
    )


def _furthest(inside: Rows, centre: Floats) -> Ints:
    """Return the place of the sample furthest from the baseline; of the largest without one."""
    away = inside.values - np.nan_to_num(centre)[:, None]
    away = np.where(np.isnan(centre)[:, None], inside.values, np.abs(away))
    if not away.shape[1]:
        return np.zeros(len(away), dtype=np.int64)
    return np.asarray(np.argmax(np.where(np.isnan(away), -np.inf, away), axis=1), dtype=np.int64)


def _at(values: Floats, place: Ints) -> Floats:
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return np.take_along_axis(values, place[:, None], axis=1)[:, 0]


def _shapes(case: _Case, level: _Level, units: Units, now: _Now) -> npt.NDArray[np.int8]:
    """Return the codes of the shapes; the first that fits, in the order of the conditions."""
    usual = np.where(level.is_known, level.centre + now.current - now.rest, -np.inf)
    is_outlying = np.abs(now.effect) >= OUTLYING
    stopped = (now.current == 0) & ~units.is_bool
    without = ~level.is_known & stopped & ~units.is_ratio
    conditions = {
        Shape.SATURATION: units.is_ratio & (now.current >= SATURATED) & (usual < SATURATED),
        Shape.FLAT_LINE: (is_outlying & stopped) | without,
        Shape.TREND: _are_trends(case.inside, level, is_outlying),
        Shape.LEVEL_SHIFT: is_outlying,
        Shape.SPIKE: _are_spikes(case, level, now),
    }
    codes = [_CODE[shape] for shape in conditions]
    shape = np.select(list(conditions.values()), codes, _CODE[Shape.NORMAL]).astype(np.int8)
    is_stuck = (shape == _CODE[Shape.NORMAL]) & level.is_known & ~units.is_bool & ~stopped
    shape[_are_stuck(case, np.flatnonzero(is_stuck))] = _CODE[Shape.FLAT_LINE]
    return shape


def _are_trends(inside: Rows, level: _Level, is_outlying: Flags) -> Flags:
    found = np.zeros(len(inside.values), dtype=bool)
    chosen = np.flatnonzero(is_outlying & (inside.counts >= TREND_SAMPLES_MIN))
    if not chosen.size:
        return found
    part = inside.of(chosen)
    _, last = part.last()
    change = np.abs(last - part.values[:, 0])
    steps = np.nan_to_num(np.abs(np.diff(part.values, axis=1)))
    grows = change >= OUTLYING * level.scale[chosen]
    grows &= steps.max(axis=1) <= JUMP_MAX * change
    found[chosen] = grows & (np.abs(_rank_correlations(part)) >= MONOTONE)
    return found


def _rank_correlations(rows: Rows) -> Floats:
    """Return Spearman's correlation of each row's values with their order."""
    order = np.argsort(rows.values, axis=1, kind="stable")
    ranks = np.empty(order.shape)
    places = np.broadcast_to(np.arange(order.shape[1], dtype=np.float64), order.shape)
    np.put_along_axis(ranks, order, places, axis=1)
    inside = places < rows.counts[:, None]
    middle = (rows.counts[:, None] - 1) / 2
    products = np.where(inside, (ranks - middle) * (places - middle), 0.0).sum(axis=1)
    count = rows.counts.astype(np.float64)
    return np.asarray(products / np.maximum(count * (count**2 - 1) / 12, 1e-12))


def _are_spikes(case: _Case, level: _Level, now: _Now) -> Flags:
    """Return which rows have a peak that stands out, also from the baseline's own peaks."""
    found = np.zeros(len(now.peak), dtype=bool)
    with np.errstate(invalid="ignore"):
        height = np.abs(now.peak - level.centre)
        chosen = np.flatnonzero(height / level.scale >= SPIKE)
    if not chosen.size:
        return found
    centre, height = level.centre[chosen], height[chosen]
    baseline = np.abs(case.baseline.of(chosen).values - centre[:, None])
    furthest = np.where(np.isnan(baseline), 0.0, baseline).max(axis=1, initial=0.0)
    inside = np.abs(case.inside.of(chosen).values - centre[:, None])
    inside = np.pad(np.nan_to_num(inside), ((0, 0), (1, 1)))
    place = now.peak_place[chosen]
    beside = np.maximum(_at(inside, place), _at(inside, place + 2))
    lasts = beside >= np.minimum(SPIKE * level.scale[chosen], height / 2)
    needed = np.where(lasts, SPIKE_BEYOND, SPIKE_BEYOND_ALONE) * furthest
    found[chosen] = height >= needed
    return found


def _are_stuck(case: _Case, chosen: Ints) -> Ints:
    """Return which of some rows stopped changing, and hardly ever stood still before."""
    if not chosen.size or case.inside.values.shape[1] < STUCK_SAMPLES_MIN:
        return chosen[:0]
    inside = case.raw.of(chosen).cut(case.first_inside[chosen], case.raw.counts[chosen])
    run = _last_run(inside)
    chosen, run = chosen[run >= STUCK_SAMPLES_MIN], run[run >= STUCK_SAMPLES_MIN]
    if not chosen.size:
        return chosen
    counts = case.baseline.counts[chosen]
    baseline = case.raw.of(chosen).cut(np.zeros_like(counts), counts)
    still = np.count_nonzero(np.diff(baseline.values, axis=1) == 0, axis=1)
    share = (still + 1) / (counts + 1)
    is_stuck = run * np.log(share) <= math.log(STUCK_CHANCE)
    return np.asarray(chosen[is_stuck & (counts >= STUCK_BASELINE_MIN)], dtype=np.int64)


def _last_run(rows: Rows) -> Ints:
    """Return how many of each row's last samples are equal."""
    _, last = rows.last()
    differs = (rows.values != last[:, None]) & ~np.isnan(rows.values)
    width = rows.values.shape[1]
    latest = np.where(differs.any(axis=1), width - 1 - np.argmax(differs[:, ::-1], axis=1), -1)
    return np.asarray(rows.counts - 1 - latest, dtype=np.int64)


def _slopes_per_hour(inside: Rows) -> Floats:
    """Return the median of the slopes between all pairs (Theil 1950, Sen 1968), per hour."""
    found = np.zeros(len(inside.values))
    enough = np.flatnonzero(inside.counts >= TREND_SAMPLES_MIN)
    for at in range(0, enough.size, SLOPE_BLOCK_ROWS):
        chosen = enough[at : at + SLOPE_BLOCK_ROWS]
        found[chosen] = _slopes(inside.of(chosen)) * 3600
    return found


def _slopes(rows: Rows) -> Floats:
    size = int(min(rows.counts.max(), SLOPE_SAMPLES_MAX))
    order = np.arange(size)
    last = rows.counts[:, None] - 1
    place = np.where(last < size, np.minimum(order, last), last * order // (size - 1))
    first, second = np.triu_indices(size, k=1)
    values = np.take_along_axis(rows.values, place, axis=1)
    if rows.are_even:
        times = rows.times[:, place[0]]
    else:
        times = np.take_along_axis(rows.times, place, axis=1)
    elapsed = times[:, second] - times[:, first]
    change = values[:, second] - values[:, first]
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where((elapsed > 0) & (second <= last), change / elapsed, np.nan)
    return np.nan_to_num(row_median(slopes))


def _onsets(inside: Rows, level: _Level, reached: Floats, shape: npt.NDArray[np.int8]) -> Floats:
    """Return the first sample from which most samples lie beyond half of the change."""
    onset = np.full(len(shape), np.nan)
    quiet = (_CODE[Shape.NORMAL], _CODE[Shape.NO_DATA])
    chosen = np.flatnonzero(~np.isin(shape, quiet) & level.is_known)
    if not chosen.size or not inside.values.shape[1]:
        return onset
    part = inside.of(chosen)
    centre, scale = level.centre[chosen], level.scale[chosen]
    change = reached[chosen] - centre
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(change != 0, np.minimum(0.5, OUTLYING * scale / np.abs(change)), 0.5)
    towards = (part.values - centre[:, None]) * np.sign(change)[:, None]
    beyond = towards >= (np.abs(change) * share)[:, None]
    remaining = part.counts[:, None] - np.arange(beyond.shape[1])
    after = np.cumsum(beyond[:, ::-1], axis=1)[:, ::-1] / np.maximum(remaining, 1)
    lasting = beyond & (after >= LASTING) & (shape[chosen] != _CODE[Shape.SPIKE])[:, None]
    place = np.where(lasting.any(axis=1), np.argmax(lasting, axis=1), np.argmax(beyond, axis=1))
    times = np.broadcast_to(part.times, part.values.shape)
    onset[chosen] = np.where(beyond.any(axis=1), _at(times, place), np.nan)
    return onset
