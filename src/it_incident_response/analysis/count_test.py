"""Tests whether a count is larger than earlier ones explain."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

_TERMS_MAX = 20_000
_MAD_TO_SIGMA = 1.4826
_MEDIAN_VARIANCE = math.pi / 2
"""Variance of a sample's median over that of its mean, for large normal samples."""


class Excess(NamedTuple):
    """An observed count beside what was expected."""

    expected: float
    p_value: float


def excess(observed: int, history: Sequence[float]) -> Excess:
    """Return the expected count and the chance of one as large as `observed`, one-sided.

    Negative binomial with mean m = median of `history` (counts in windows of the same length, not
    empty) and variance v (1 + pi / 2n), where v is the larger of m (Poisson) and (1.4826 MAD)^2,
    and the second factor is for the median being an estimate from n windows. Median and MAD, so
    that an incident in the past does not hide the present one: up to half of the windows may be
    wrong. A median of nothing counts as 1 / (n + 1), one line in all windows and this one.
    """
    middle = median(history)
    spread = _MAD_TO_SIGMA * median(abs(count - middle) for count in history)
    mean = max(middle, 1.0 / (len(history) + 1))
    variance = max(mean, spread**2) * (1.0 + _MEDIAN_VARIANCE / len(history))
    return Excess(middle, upper_tail(observed, mean, variance))


def upper_tail(count: int, mean: float, variance: float) -> float:
    """Return P(X >= count) of the negative binomial of this mean and variance (> 0).

    Poisson where the variance is not larger than the mean. 1 for a count not above the mean: only
    the upper tail is of use here, and there the sum converges.
    """
    if count <= mean:
        return 1.0
    size = mean * mean / (variance - mean) if variance > mean * (1 + 1e-9) else math.inf
    total, term = 1.0, 1.0
    for place in range(count, count + _TERMS_MAX):
        term *= _ratio(place, mean, size)
        total += term
        if term < total * 1e-12:
            break
    return min(1.0, math.exp(min(0.0, _log_probability(count, mean, size) + math.log(total))))


def _ratio(place: int, mean: float, size: float) -> float:
    """P(X = place + 1) / P(X = place)."""
    if math.isinf(size):
        return mean / (place + 1)
    return (place + size) / (place + 1) * mean / (size + mean)


def _log_probability(count: int, mean: float, size: float) -> float:
    if math.isinf(size):
        return count * math.log(mean) - mean - math.lgamma(count + 1)
    ways = math.lgamma(count + size) - math.lgamma(count + 1) - math.lgamma(size)
    return ways - size * math.log1p(mean / size) + count * math.log(mean / (size + mean))
