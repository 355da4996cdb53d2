"""Many series as the rows of one matrix: packed, cut into windows, summed up row by row."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

HUGE = 1e100
"""Larger magnitudes count as this: squares of it still fit a float."""
COUNTER_SAMPLES_MIN = 10
COUNTER_RISES = 0.5
"""Share of the steps that go up in a counter that is in use."""
RESETS_SHARE_MAX = 0.1
RESET_TO = 0.5
"""A counter that restarts falls to less than this share of what it was."""


class Rows(NamedTuple):
    """Series of like length: row i is `values[i, :counts[i]]` at `times[i]`, NaN beyond."""

    times: Floats
    """(n, t), or (1, t) where all rows have the same times and no holes. Unix seconds, rising."""
    values: Floats
    counts: Ints

    @property
    def are_even(self) -> bool:
        """Whether all rows share their times and have no holes: slices then need no copying."""
        return bool(self.times.shape[0] == 1)

    def before(self, moment: float | Floats) -> Ints:
        """Return how many samples of each row are earlier than `moment`."""
        limit = np.asarray(moment, dtype=np.float64).reshape(-1, 1)
        found = np.count_nonzero(self.times < limit, axis=1)
        return np.broadcast_to(np.minimum(found, self.counts), self.counts.shape)

    def cut(self, low: Ints, high: Ints) -> "Rows":
        """Return the samples from index `low` to before `high` of each row."""
        counts = np.maximum(high - low, 0)
        width = int(counts.max(initial=0))
        are_alike = not low.size or bool((low == low[0]).all() and (high == high[0]).all())
        if self.are_even and are_alike:
            start = int(low[0]) if low.size else 0
            columns = slice(start, start + width)
            return Rows(self.times[:, columns], self.values[:, columns], counts)
        column = np.arange(self.values.shape[1])
        chosen = (column >= low[:, None]) & (column < (low + counts)[:, None])
        times = np.broadcast_to(self.times, self.values.shape)
        return _gathered(times, self.values, chosen, counts)

    def of(self, chosen: Ints) -> "Rows":
        """Return some of the rows."""
        times = self.times if self.are_even else self.times[chosen]
        return Rows(times, self.values[chosen], self.counts[chosen])

    def last(self) -> tuple[Floats, Floats]:
        """Return the time and value of each row's last sample; rows without any give inf, NaN."""
        return self._at(np.maximum(self.counts - 1, 0))

    def _at(self, index: Ints) -> tuple[Floats, Floats]:
        if not self.values.shape[1]:
            nothing = np.full(self.counts.size, np.nan)
            return nothing, nothing
        times = np.broadcast_to(self.times, self.values.shape)
        at = index[:, None]
        return (
            np.take_along_axis(times, at, axis=1)[:, 0],
            np.take_along_axis(self.values, at, axis=1)[:, 0],
        )


def pack(times: Floats, values: Floats, *, until: float) -> Rows:
    """Return rows of the finite values up to `until`; `times` is (t,) or as large as `values`."""
    kept = np.isfinite(values)
    times = np.atleast_2d(times)
    kept &= times <= until
    if times.shape[0] == 1:
        columns = times[0] <= until
        if kept[:, columns].all():
            counts = np.full(len(values), int(columns.sum()), dtype=np.int64)
            return Rows(times[:, columns], _tamed(values[:, columns]), counts)
    times = np.broadcast_to(times, values.shape)
    rows = _gathered(times, values, kept, np.count_nonzero(kept, axis=1))
    return rows._replace(values=_tamed(rows.values))


def _gathered(times: Floats, values: Floats, chosen: Flags, counts: Ints) -> Rows:
    """Return the chosen samples, pushed together to the left."""
    width = int(counts.max(initial=0))
    inside = np.arange(width) < counts[:, None]
    packed = np.full(inside.shape, np.inf), np.full(inside.shape, np.nan)
    for target, source in zip(packed, (times, values), strict=True):
        target[inside] = source[chosen]  # both in the order of rows
    return Rows(*packed, counts)


def _tamed(values: Floats) -> Floats:
    is_huge = (
        values.size and max(-np.nanmin(values, initial=0), np.nanmax(values, initial=0)) > HUGE
    )
    return np.clip(values, -HUGE, HUGE) if is_huge else values


def padded(series: Sequence[tuple[float, ...] | Floats]) -> Floats:
    """Return sequences of different lengths as the rows of a matrix, NaN beyond their ends."""
    width = max((len(values) for values in series), default=0)
    matrix = np.full((len(series), width), np.nan)
    for row, values in zip(matrix, series, strict=True):
        row[: len(values)] = values
    return matrix


def row_median(values: Floats) -> Floats:
    """Return the median of each row without its NaNs; NaN for a row of nothing else."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    if not np.isnan(values).any():
        return np.asarray(np.median(values, axis=1), dtype=np.float64)
    ordered = np.sort(values, axis=1)  # puts NaN last
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    low = np.maximum((counts - 1) // 2, 0)[:, None]
    high = np.minimum(counts // 2, values.shape[1] - 1)[:, None]
    below = np.take_along_axis(ordered, low, axis=1)[:, 0]
    above = np.take_along_axis(ordered, high, axis=1)[:, 0]
    return np.asarray(np.where(counts > 0, below + (above - below) / 2, np.nan))


def counters_as_rates(rows: Rows, may_count: Flags) -> Rows:
    """Return the rows with raw counters, among those that `may_count`, as rates a second.

    A counter never falls but for resets, and rises most of the time. What only grows in whole
    numbers is one without a reset too; other growth without one is left as it is, since a leak
    looks the same. A reset counts as a rise from zero, as in Prometheus' `rate`.
    """
    chosen = np.flatnonzero(may_count & (rows.counts >= COUNTER_SAMPLES_MIN))
    # Ten of the steps tell most rows that are none at once: noise falls as often as it rises.
    few = np.diff(rows.values[chosen, :COUNTER_SAMPLES_MIN], axis=1)
    falls = np.count_nonzero(few < 0, axis=1)
    chosen = chosen[falls <= 1]
    if not chosen.size:
        return rows
    part = rows.of(chosen)
    steps = np.diff(part.values, axis=1)
    is_counter, is_reset = _counters(part, steps)
    if not is_counter.any():
        return rows
    elapsed = np.maximum(np.diff(part.times, axis=1), 1e-3)
    rises = np.where(is_reset, part.values[:, 1:], steps)
    with np.errstate(invalid="ignore"):
        rates = rises / np.where(np.isfinite(elapsed), elapsed, 1.0)
    values = rows.values.copy()
    which = chosen[is_counter]
    # The first sample has no rate: it takes the second one's, so that all keep their times.
    values[which, 1:] = rates[is_counter]
    values[which, 0] = rates[is_counter, 0]
    return rows._replace(values=values)


def _counters(rows: Rows, steps: Floats) -> tuple[Flags, Flags]:
    before = rows.values[:, :-1]
    is_fall = steps < 0
    is_reset = is_fall & (rows.values[:, 1:] < RESET_TO * before)
    total = np.maximum(rows.counts - 1, 1)
    rises = np.count_nonzero(steps > 0, axis=1)
    resets = np.count_nonzero(is_reset, axis=1)
    falls = np.count_nonzero(is_fall, axis=1)
    with np.errstate(invalid="ignore"):
        least = np.nanmin(rows.values, axis=1, initial=0.0)
        is_whole = ((rows.values == np.floor(rows.values)) | np.isnan(rows.values)).all(axis=1)
    grows = (falls == resets) & (rises >= COUNTER_RISES * total) & (least >= 0)
    is_rare = resets <= RESETS_SHARE_MAX * total
    return grows & is_rare & ((resets > 0) | is_whole), is_reset
