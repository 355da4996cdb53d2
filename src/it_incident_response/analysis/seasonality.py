"""Recognises the rhythm of a series from its own past, and takes it off."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from it_incident_response.analysis.series_matrix import Flags, Floats, Ints, Rows, row_median

RHYTHM_AT_LEAST = 0.5
"""Autocorrelation from which a lag is a period: it then explains half of the variance."""
AGAIN_AT_LEAST = 0.4
"""Autocorrelation needed at twice the lag: a rhythm goes on, a coincidence does not."""
DIP = 0.2
"""The autocorrelation falls so far below its peak before it; a slow drift has no such dip."""
CYCLES_MIN = 3
PERIOD_SAMPLES_MIN = 8
HARMONIC = 0.9
"""The first lag with so much of the highest autocorrelation is the period, not its multiples."""
NATURAL_S = (3_600.0, 86_400.0, 604_800.0)
NATURAL_WITHIN = 0.02
"""A period so near to an hour, a day or a week, and as good, is that."""
RASTER = 0.25
"""Largest deviation from the raster, in steps, of samples that count as regular."""
STEPS_READ = 128
"""Steps that tell the raster."""
FILLED_MIN = 0.8
"""Share of the raster that has samples, at least."""
CLIPPED_AT = 4.0
"""Standard deviations: one incident in the past must not decide the autocorrelation."""
BLOCK_ROWS = 256
"""Rows at once, so that a block's transforms stay in the processor's cache."""
EXACT_CYCLES_MAX = 6


class Rhythm(NamedTuple):
    """The rows without their rhythm."""

    rest: Floats
    """Deviation from what is usual at that phase; the value itself where there is no rhythm."""
    period_s: Floats
    """0 where there is none."""
    usual: Floats
    """What was taken off."""


class _Raster(NamedTuple):
    start: Floats
    step: Floats
    place: Ints
    """Place on the raster of every sample of every row, (n, t) or (1, t)."""


def without_rhythm(rows: Rows, baseline: Ints) -> Rhythm:
    """Find and take off a period; only the first `baseline` samples of each row teach it.

    A period is the lag of a peak of the autocorrelation (by Fourier transform) of at least 0.5,
    with 0.4 at twice the lag and a dip before it, between 8 samples and a third of the baseline.
    What is usual at a phase is the median over the cycles; for the baseline itself, over the other
    cycles, so that its spread is that of a prediction.
    """
    rest, usual = rows.values, np.zeros((1, 1))
    period_s = np.zeros(len(rows.values))
    raster = _raster(rows)
    if raster is None:
        return Rhythm(rest, period_s, usual)
    length = _length(raster, baseline)
    if length < CYCLES_MIN * PERIOD_SAMPLES_MIN:
        return Rhythm(rest, period_s, usual)
    grid = _grid(rows, raster, baseline, length)
    periods = _periods(grid, raster.step)
    if not periods.any():
        return Rhythm(rest, period_s, usual)
    rest, usual = rest.copy(), np.zeros(rest.shape)
    for period in np.unique(periods[periods > 0]):
        chosen = np.flatnonzero(periods == period)
        index = raster.place if len(raster.place) == 1 else raster.place[chosen]
        index = np.broadcast_to(index, (chosen.size, rest.shape[1]))
        expected = _usual(grid[chosen], int(period), index, baseline[chosen])
        usual[chosen] = expected
        rest[chosen] -= expected
    steps = np.broadcast_to(raster.step, periods.shape)
    return Rhythm(rest, np.asarray(periods * steps, dtype=np.float64), usual)


def _raster(rows: Rows) -> _Raster | None:
    """Return the regular grid that the samples lie on; holes are allowed, jitter is not."""
    if rows.times.shape[1] < CYCLES_MIN * PERIOD_SAMPLES_MIN:
        return None
    with np.errstate(invalid="ignore"):
        steps = np.diff(rows.times[:, :STEPS_READ], axis=1)
    step = row_median(np.where(np.isfinite(steps), steps, np.nan))
    step = np.where(np.isfinite(step) & (step > 0), step, 1.0)
    start = np.where(np.isfinite(rows.times[:, 0]), rows.times[:, 0], 0.0)
    places = (rows.times - start[:, None]) / step[:, None]
    np.nan_to_num(places, copy=False, posinf=0.0)
    index = np.rint(places)
    is_regular = np.abs(places - index).max(axis=1) <= RASTER
    return _Raster(start, np.where(is_regular, step, 0.0), index.astype(np.int64))


def _length(raster: _Raster, baseline: Ints) -> int:
    width = raster.place.shape[1]
    last = np.clip(baseline, 1, width) - 1
    if len(raster.place) == 1:
        ends = raster.place[0, last]
    else:
        ends = np.take_along_axis(raster.place, last[:, None], axis=1)[:, 0]
    ends = np.where(np.broadcast_to(raster.step, ends.shape) > 0, ends + 1, 0)
    return int(min(ends.max(initial=0), 2 * width))


def _grid(rows: Rows, raster: _Raster, baseline: Ints, length: int) -> Floats:
    """Return the baseline of every row on its raster, NaN in the holes."""
    if rows.are_even and (raster.place[0] == np.arange(raster.place.shape[1])).all():
        inside = np.arange(length) < baseline[:, None]
        part = rows.values[:, :length]
        return part if inside.all() else np.where(inside, part, np.nan)
    grid = np.full((len(rows.values), length), np.nan)
    index = np.broadcast_to(raster.place, rows.values.shape)
    step = np.broadcast_to(raster.step, rows.counts.shape)
    inside = np.arange(index.shape[1]) < np.minimum(baseline, rows.counts)[:, None]
    inside &= (index < length) & (step > 0)[:, None]
    row, column = np.nonzero(inside)
    grid[row, index[row, column]] = rows.values[row, column]
    return grid


def _periods(grid: Floats, step: Floats) -> Ints:
    """Return the period of each row in steps of its raster, 0 where there is none."""
    found = [
        _periods_of(
            grid[at : at + BLOCK_ROWS], step if len(step) == 1 else step[at : at + BLOCK_ROWS]
        )
        for at in range(0, len(grid), BLOCK_ROWS)
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _periods_of(grid: Floats, step: Floats) -> Ints:
    length = grid.shape[1]
    lags = length // CYCLES_MIN
    if lags < PERIOD_SAMPLES_MIN:
        return np.zeros(len(grid), dtype=np.int64)
    correlation = _autocorrelation(grid, 2 * lags + 1)
    near, twice = correlation[:, : lags + 1], correlation[:, : 2 * lags + 1 : 2]
    is_peak = np.zeros(near.shape, dtype=bool)
    is_peak[:, 1:] = (near[:, 1:] >= near[:, :-1]) & (near[:, 1:] >= correlation[:, 2 : lags + 2])
    is_peak[:, :PERIOD_SAMPLES_MIN] = False
    is_peak &= (near >= RHYTHM_AT_LEAST) & (twice >= AGAIN_AT_LEAST)
    rows = np.flatnonzero(is_peak.any(axis=1))
    periods = np.zeros(len(grid), dtype=np.int64)
    if rows.size:
        steps = np.broadcast_to(step, (len(grid),))[rows]
        periods[rows] = _first_peak(near[rows], is_peak[rows], steps)
    return periods


def _first_peak(near: Floats, is_peak: Flags, step: Floats) -> Ints:
    least = np.minimum.accumulate(near, axis=1)
    is_peak = is_peak & (least <= near - DIP)
    heights = np.where(is_peak, near, 0.0)
    best = heights.max(axis=1)
    first = np.argmax(is_peak & (heights >= HARMONIC * best[:, None]), axis=1)
    periods = [
        _refined(near[row], int(lag), float(step[row])) if best[row] > 0 else 0
        for row, lag in enumerate(first)
    ]
    return np.asarray(periods, dtype=np.int64)


def _refined(near: Floats, lag: int, step: float) -> int:
    """Return the best lag nearby: of a noisy peak the first maximum is rarely the highest."""
    margin = max(1, round(lag * NATURAL_WITHIN))
    low, high = max(PERIOD_SAMPLES_MIN, lag - margin), min(near.size, lag + margin + 1)
    best = low + int(np.argmax(near[low:high]))
    for natural in NATURAL_S:
        whole = round(natural / step) if step > 0 else 0
        if low <= whole < high and near[whole] >= near[best] - NATURAL_WITHIN:
            return whole
    return best


def _autocorrelation(grid: Floats, lags: int) -> Floats:
    """Return each row's autocorrelation up to a lag, over the pairs that have both samples.

    By Wiener and Khinchin: the inverse transform of the power spectrum, padded with zeros.
    """
    length = grid.shape[1]
    known = ~np.isnan(grid)
    is_whole = bool(known.all())
    mean = np.nanmean(grid, axis=1, keepdims=True) if known.any(axis=1).all() else _means(grid)
    centred = grid - mean if is_whole else np.where(known, grid - mean, 0.0)
    count = known.sum(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(count, 1))
    tiny = scale <= 1e-9 * np.maximum(np.abs(mean), 1e-300)
    scale = np.where(tiny, 1.0, scale)
    z = np.clip(centred / scale, -CLIPPED_AT, CLIPPED_AT).astype(np.float32)
    size = _fast_size(length + lags)
    products = np.fft.irfft(_power(z, size), size, axis=1)[:, :lags]
    if is_whole:
        pairs = np.arange(length, length - lags, -1, dtype=np.float32)[None]
    else:
        pairs = np.fft.irfft(_power(known.astype(np.float32), size), size, axis=1)[:, :lags]
    average = products / np.maximum(pairs, 1.0)
    variance = np.maximum(average[:, :1], 1e-12)
    is_usable = (count >= FILLED_MIN * length) & ~tiny
    return np.asarray(np.where(is_usable, average / variance, 0.0), dtype=np.float64)


def _means(grid: Floats) -> Floats:
    known = ~np.isnan(grid)
    total = np.where(known, grid, 0.0).sum(axis=1, keepdims=True)
    return np.asarray(total / np.maximum(known.sum(axis=1, keepdims=True), 1))


def _power(values: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    spectrum = np.fft.rfft(values, size, axis=1)
    return np.asarray(spectrum.real**2 + spectrum.imag**2, dtype=np.float32)


def _fast_size(least: int) -> int:
    """Return the next product of 2, 3 and 5: what the transform is fast for."""
    best = 1 << (least - 1).bit_length()
    for three in (1, 3, 9, 27):
        for five in (1, 5, 25):
            size = three * five
            while size < least:
                size *= 2
            best = min(best, size)
    return best


def _usual(grid: Floats, period: int, index: Ints, baseline: Ints) -> Floats:
    """Return what is usual for every sample, as a deviation from the series' own middle."""
    cycles = -(-grid.shape[1] // period)
    stacked = np.full((len(grid), cycles * period), np.nan)
    stacked[:, : grid.shape[1]] = grid
    stacked = stacked.reshape(len(grid), cycles, period)
    middle = row_median(grid)[:, None]
    whole = _profile(stacked, middle)
    usual = np.take_along_axis(whole, index % period, axis=1)
    inside = np.arange(index.shape[1]) < baseline[:, None]
    if cycles > EXACT_CYCLES_MAX:
        return usual
    for cycle in range(cycles):
        others = np.delete(stacked, cycle, axis=1)
        chosen = inside & (index // period == cycle)
        expected = np.take_along_axis(_profile(others, middle), index % period, axis=1)
        usual = np.where(chosen, expected, usual)
    return usual


def _profile(stacked: Floats, middle: Floats) -> Floats:
    count, cycles, period = stacked.shape
    by_phase = stacked.transpose(0, 2, 1).reshape(count * period, cycles)
    profile = row_median(by_phase).reshape(count, period) - middle
    return np.asarray(np.where(np.isnan(profile), 0.0, profile))
