"""Functions of instant vectors and scalars: mathematics, labels, histograms, time."""

import re
from collections.abc import Callable

import numpy as np

from it_incident_response.simulation.promql.vectors import (
    NAME,
    Column,
    Floats,
    Labels,
    PromqlError,
    Vector,
    add,
    drop,
    make_labels,
    without_name,
)

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

MATHS: dict[str, Callable[..., Floats]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "sgn": np.sign,
    "deg": np.degrees,
    "rad": np.radians,
    "clamp_min": np.maximum,
    "clamp_max": np.minimum,
    "clamp": lambda values, low, high: np.minimum(np.maximum(values, low), high),
    "round": lambda values, nearest=1.0: np.floor(values / nearest + 0.5) * nearest,
}
"""Functions of each value, and of further scalars."""


def _of_day(seconds: Floats) -> Floats:
    return np.floor(seconds / 86400)


CALENDAR: dict[str, Callable[[Floats], Floats]] = {
    "minute": lambda at: np.floor(at / 60) % 60,
    "hour": lambda at: np.floor(at / 3600) % 24,
    "day_of_week": lambda at: (_of_day(at) + 4) % 7,
}
"""Parts of a UTC time given as unix seconds; 1970-01-01 was a Thursday."""


def map_values(vector: Vector, function: Callable[[Floats], Floats]) -> Vector:
    """Apply a function to all values; the metric's name is dropped."""
    with np.errstate(all="ignore"):
        return without_name({k: Column(function(c.values), c.present) for k, c in vector.items()})


def to_scalar(vector: Vector, count: int) -> Floats:
    """Return `scalar(v)`: the value of the only sample, NaN if there is none or several."""
    values, seen = np.full(count, np.nan), np.zeros(count)
    for column in vector.values():
        values = np.where(column.present, column.values, values)
        seen += column.present
    return np.where(seen == 1, values, np.nan)


def label_replace(vector: Vector, arguments: list[str]) -> Vector:
    """Return `label_replace(v, dst, replacement, src, regex)`."""
    target, replacement, source, pattern = arguments
    _check_label(target)
    template = re.sub(r"\$(\d+)|\$\{(\w+)\}|\$(\w+)", _group_reference, _literal(replacement))
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise PromqlError(f"invalid regex {pattern[:100]!r}: {error}") from error
    result: Vector = {}
    for labels, column in vector.items():
        known = dict(labels)
        match = regex.fullmatch(known.get(source, ""))
        if match is not None:
            known[target] = match.expand(template)
        add(result, make_labels(known), column)
    return result


def _literal(replacement: str) -> str:
    return replacement.replace("\\", "\\\\")


def _group_reference(match: re.Match[str]) -> str:
    return f"\\g<{match[1] or match[2] or match[3]}>"


def label_join(vector: Vector, arguments: list[str]) -> Vector:
    """Return `label_join(v, dst, separator, src...)`."""
    target, separator, *sources = arguments
    _check_label(target)
    result: Vector = {}
    for labels, column in vector.items():
        known = dict(labels)
        known[target] = separator.join(known.get(source, "") for source in sources)
        add(result, make_labels(known), column)
    return result


def _check_label(name: str) -> None:
    if not _LABEL_NAME.fullmatch(name):
        raise PromqlError(f"invalid destination label name {name[:60]!r}")


def histogram_quantile(share: Floats, vector: Vector) -> Vector:
    """Return the quantile of each classic histogram (cumulative `le` buckets)."""
    groups: dict[Labels, list[tuple[float, Column]]] = {}
    for labels, column in vector.items():
        bound = _bound(dict(labels).get("le"))
        if bound is not None:
            groups.setdefault(drop(labels, (NAME, "le")), []).append((bound, column))
    result: Vector = {}
    for labels, buckets in groups.items():
        buckets.sort(key=lambda bucket: bucket[0])
        result[labels] = _quantiles(share, buckets)
    return result


def _bound(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _quantiles(share: Floats, buckets: list[tuple[float, Column]]) -> Column:
    present = np.logical_or.reduce([column.present for _, column in buckets])
    values = np.full(len(share), np.nan)
    for place in np.flatnonzero(present):
        known = [(b, float(c.values[place])) for b, c in buckets if c.present[place]]
        values[place] = bucket_quantile(float(share[place]), known)
    return Column(values, present)


def bucket_quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    """Return a quantile of cumulative (upper bound, count) buckets in rising order.

    As Prometheus' bucketQuantile: linear within a bucket, which begins at 0 if its bound is
    positive and it is the first; the last finite bound in the +Inf bucket; NaN without a +Inf
    bucket or without observations.
    """
    if np.isnan(share) or len(buckets) < 2 or buckets[-1][0] != float("inf"):
        return float("nan")
    if share < 0 or share > 1:
        return float("-inf") if share < 0 else float("inf")
    counts: list[float] = np.maximum.accumulate([count for _, count in buckets]).tolist()
    if not counts[-1] > 0:
        return float("nan")
    rank = share * counts[-1]
    place = int(np.searchsorted(counts[:-1], rank, side="left"))
    if place == len(buckets) - 1:
        return buckets[-2][0]
    end = buckets[place][0]
    if place == 0 and end <= 0:
        return end
    start = buckets[place - 1][0] if place else 0.0
    below = float(counts[place - 1]) if place else 0.0
    return start + (end - start) * (rank - below) / (float(counts[place]) - below)
