"""Tests whether a pattern's count differs from the baseline's, for many patterns at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from it_incident_response.domain.evidence import Novelty

SIGNIFICANCE = 0.01
"""False ones among the patterns called changed that are put up with (Benjamini-Hochberg)."""
CHANGE_FACTOR = 2.0
"""A rate counts as changed from this ratio: logs come in bursts, so small p values say little."""
_TERM_RATIO_MIN = 1e-14


class Counted(NamedTuple):
    """Lines of one pattern in the window and in the baseline before it."""

    now: int
    before: int


class Verdict(NamedTuple):
    """What the comparison says."""

    novelty: Novelty
    p_value: float | None


def rate_p_value(counted: Counted, share: float) -> float:
    """Return the exact two-sided chance of such counts if the rate had not changed.

    Conditional test of two Poisson rates: given n = now + before lines, `now` is binomial(n, share)
    with `share` the window's part of both windows' time (Przyborowski and Wilenski, Biometrika 31,
    1940). Two-sided by doubling the smaller tail.
    """
    total = counted.now + counted.before
    if total == 0:
        return 1.0
    if counted.now >= total * share:
        tail = _upper_tail(counted.now, total, share)
    else:
        tail = _upper_tail(counted.before, total, 1.0 - share)
    return min(1.0, 2.0 * tail)


def judged(counts: Sequence[Counted], window_s: float, baseline_s: float) -> list[Verdict]:
    """Judge all patterns of one comparison together; lengths of both windows in seconds.

    New: not once in a baseline at least as long as the window. Gone, surge and drop: the exact
    test's p value passes Benjamini-Hochberg at `SIGNIFICANCE` over all patterns, and the rate has
    changed at least by `CHANGE_FACTOR`. Without any baseline line nothing is known.
    """
    if not any(item.before for item in counts):
        return [Verdict(Novelty.UNKNOWN, None) for _ in counts]
    share = window_s / (window_s + baseline_s)
    p_values = [rate_p_value(item, share) for item in counts]
    limit = _benjamini_hochberg(p_values)
    scale = window_s / baseline_s
    return [
        Verdict(_novelty(item, item.before * scale, p <= limit, scale), p)
        for item, p in zip(counts, p_values, strict=True)
    ]


def _novelty(item: Counted, expected: float, is_changed: bool, scale: float) -> Novelty:
    if item.before == 0:
        return Novelty.NEW if is_changed or scale <= 1.0 else Novelty.UNKNOWN
    if not is_changed:
        return Novelty.USUAL
    if item.now == 0:
        return Novelty.GONE
    if item.now >= CHANGE_FACTOR * expected:
        return Novelty.SURGE
    return Novelty.DROP if item.now * CHANGE_FACTOR <= expected else Novelty.USUAL


def _benjamini_hochberg(p_values: Sequence[float]) -> float:
    """Return the largest p value that counts as significant; below 0 if none does."""
    limit = -1.0
    for rank, p in enumerate(sorted(p_values), start=1):
        if p <= SIGNIFICANCE * rank / len(p_values):
            limit = p
    return limit


def _upper_tail(count: int, total: int, share: float) -> float:
    """Return P(X >= count) of the binomial, for a count at or above its mean: the terms fall."""
    if count <= 0:
        return 1.0
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    first = ways + count * math.log(share) + (total - count) * math.log1p(-share)
    odds = share / (1.0 - share)
    sum_of_terms, term = 1.0, 1.0
    for place in range(count, total):
        term *= (total - place) / (place + 1) * odds
        sum_of_terms += term
        if term < sum_of_terms * _TERM_RATIO_MIN:
            break
    return min(1.0, math.exp(min(0.0, first + math.log(sum_of_terms))))
