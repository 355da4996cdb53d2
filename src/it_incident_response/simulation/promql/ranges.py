"""Functions of range vectors, such as `rate`: for each series, one value per moment.

Windows include both ends, as in Prometheus 2. `rate`, `increase` and `delta` extrapolate to the
window's ends as Prometheus does (promql/functions.go, extrapolatedRate).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from it_incident_response.simulation.promql.vectors import Column, Flags, Floats, RawSeries


@dataclass(frozen=True)
class Windows:
    """One series' samples, cut into one window per moment."""

    times: Floats
    values: Floats
    ends: Floats
    """The moments at which the windows end."""
    length_s: float
    moments: Floats
    """When the query is asked: `ends` without offset."""
    first: np.typing.NDArray[np.intp]
    last: np.typing.NDArray[np.intp]
    """Places of the first and last sample of each window; last < first if it is empty."""

    @property
    def counts(self) -> np.typing.NDArray[np.intp]:
        """Samples in each window."""
        return self.last - self.first + 1

    def cut(self, place: int) -> tuple[Floats, Floats]:
        """Return times and values of one window."""
        span = slice(self.first[place], self.last[place] + 1)
        return self.times[span], self.values[span]


def windows(series: RawSeries, ends: Floats, length_s: float, moments: Floats) -> Windows:
    """Cut a series into windows that end at `ends`; staleness marks are no samples."""
    is_sample = ~np.isnan(series.values)
    times, values = series.times[is_sample], series.values[is_sample]
    first = np.searchsorted(times, ends - length_s, side="left")
    last = np.searchsorted(times, ends, side="right") - 1
    return Windows(times, values, ends, length_s, moments, first, last)


RangeFunction = Callable[[Windows, Floats], Column]
"""From windows and the extra parameter (zeros if there is none) to a column."""


def _safe(w: Windows) -> tuple[np.typing.NDArray[np.intp], np.typing.NDArray[np.intp]]:
    """Return first and last with empty windows pointing at some sample."""
    top = max(0, len(w.times) - 1)
    return np.clip(w.first, 0, top), np.clip(w.last, 0, top)


def _empty(w: Windows) -> Column:
    return Column(np.full(len(w.ends), np.nan), np.zeros(len(w.ends), dtype=np.bool_))


def _extrapolated(is_counter: bool, is_rate: bool) -> RangeFunction:
    def compute(w: Windows, _: Floats) -> Column:
        if len(w.times) < 2:
            return _empty(w)
        first, last = _safe(w)
        values = _without_resets(w.values) if is_counter else w.values
        risen = values[last] - values[first]
        factor, present = _stretch(w, risen if is_counter else None)
        if is_rate:
            factor = factor / w.length_s
        with np.errstate(invalid="ignore"):  # where there is no sample
            return Column(risen * factor, present)

    return compute


def _without_resets(values: Floats) -> Floats:
    """Return the counter as if it had never been reset."""
    lost = np.where(np.diff(values) < 0, values[:-1], 0.0)
    return values + np.concatenate(([0.0], np.cumsum(lost)))


def _stretch(w: Windows, risen: Floats | None) -> tuple[Floats, Flags]:
    """Return by how much a rise between samples is extrapolated, and where there is one."""
    first, last = _safe(w)
    present = w.counts >= 2
    sampled = w.times[last] - w.times[first]
    with np.errstate(divide="ignore", invalid="ignore"):
        average: Floats = sampled / np.maximum(w.counts - 1, 1).astype(np.float64)
        to_start = w.times[first] - (w.ends - w.length_s)
        to_end = w.ends - w.times[last]
        if risen is not None:
            # A counter is not extrapolated below zero.
            to_zero = sampled * (w.values[first] / risen)
            below = (risen > 0) & (w.values[first] >= 0) & (to_zero < to_start)
            to_start = np.where(below, to_zero, to_start)
        limit = average * 1.1
        stretched = sampled + np.where(to_start < limit, to_start, average / 2)
        stretched = stretched + np.where(to_end < limit, to_end, average / 2)
        return stretched / sampled, present & (sampled > 0)


def _instant(is_rate: bool) -> RangeFunction:
    def compute(w: Windows, _: Floats) -> Column:
        if len(w.times) < 2:
            return _empty(w)
        last = _safe(w)[1]
        before = np.maximum(last - 1, 0)
        risen: Floats = w.values[last] - w.values[before]
        if is_rate:
            risen = np.asarray(np.where(risen < 0, w.values[last], risen))
        with np.errstate(divide="ignore", invalid="ignore"):
            passed: Floats = w.times[last] - w.times[before]
            return Column(risen / passed if is_rate else risen, w.counts >= 2)

    return compute


def _events(happened: Callable[[Floats], Flags]) -> RangeFunction:
    """Count the steps between successive samples at which something happened."""

    def compute(w: Windows, _: Floats) -> Column:
        if not len(w.times):
            return _empty(w)
        first, last = _safe(w)
        total = np.concatenate(([0.0], np.cumsum(happened(np.diff(w.values)))))
        return Column(total[last] - total[first], w.counts >= 1)

    return compute


def _each(reduce: Callable[[Floats], float]) -> RangeFunction:
    """Reduce the values of each window."""

    def compute(w: Windows, _: Floats) -> Column:
        present = w.counts >= 1
        values = np.full(len(w.ends), np.nan)
        for place in np.flatnonzero(present):
            values[place] = reduce(w.cut(int(place))[1])
        return Column(values, present)

    return compute


def _quantile_over_time(w: Windows, share: Floats) -> Column:
    present = w.counts >= 1
    values = np.full(len(w.ends), np.nan)
    for place in np.flatnonzero(present):
        values[place] = quantile_of(w.cut(int(place))[1], float(share[place]))
    return Column(values, present)


def quantile_of(values: Floats, share: float) -> float:
    """Return a quantile with linear interpolation; infinite outside of 0..1."""
    if not len(values) or np.isnan(share):
        return float("nan")
    if share < 0:
        return float("-inf")
    if share > 1:
        return float("inf")
    return float(np.quantile(values, share))


def _regression(predict: bool) -> RangeFunction:
    """Least squares over the window: the slope, or the line's value some seconds ahead."""

    def compute(w: Windows, ahead: Floats) -> Column:
        present = w.counts >= 2
        values = np.full(len(w.ends), np.nan)
        for place in np.flatnonzero(present):
            times, samples = w.cut(int(place))
            origin = w.moments[place] if predict else times[0]
            slope, intercept = _line(times - origin, samples)
            values[place] = intercept + slope * ahead[place] if predict else slope
        return Column(values, present)

    return compute


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    if bool(np.all(y == y[0])):
        return 0.0, float(y[0])
    center_x, center_y = x.mean(), y.mean()
    spread = ((x - center_x) ** 2).sum()
    slope = ((x - center_x) * (y - center_y)).sum() / spread
    return float(slope), float(center_y - slope * center_x)


def _last(w: Windows, _: Floats) -> Column:
    if not len(w.times):
        return _empty(w)
    return Column(w.values[_safe(w)[1]], w.counts >= 1)


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": _extrapolated(is_counter=True, is_rate=True),
    "increase": _extrapolated(is_counter=True, is_rate=False),
    "delta": _extrapolated(is_counter=False, is_rate=False),
    "irate": _instant(is_rate=True),
    "idelta": _instant(is_rate=False),
    "changes": _events(lambda steps: steps != 0),
    "resets": _events(lambda steps: steps < 0),
    "deriv": _regression(predict=False),
    "predict_linear": _regression(predict=True),
    "quantile_over_time": _quantile_over_time,
    "avg_over_time": _each(lambda values: float(values.mean())),
    "sum_over_time": _each(lambda values: float(values.sum())),
    "min_over_time": _each(lambda values: float(values.min())),
    "max_over_time": _each(lambda values: float(values.max())),
    "count_over_time": _each(lambda values: float(len(values))),
    "stddev_over_time": _each(lambda values: float(values.std())),
    "stdvar_over_time": _each(lambda values: float(values.var())),
    "present_over_time": _each(lambda values: 1.0),
    "last_over_time": _last,
}
"""Function to what it computes; `quantile_over_time` and `predict_linear` use the parameter."""
