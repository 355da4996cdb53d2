"""Aggregations such as `sum by (job)`: from many columns to one per group."""

from collections.abc import Callable, Sequence

import numpy as np

from it_incident_response.simulation.promql.ranges import quantile_of
from it_incident_response.simulation.promql.vectors import (
    NAME,
    Column,
    Flags,
    Floats,
    Labels,
    PromqlError,
    Vector,
    drop,
    keep,
)

Reduce = Callable[[Floats, Flags, Floats], Floats]
"""From values (columns down, moments across), where they are present, and the parameter."""


def aggregate(
    operator: str, vector: Vector, parameter: Floats, names: Sequence[str], without: bool
) -> Vector:
    """Return the aggregation; `names` are those of `by`, or of `without`."""
    groups: dict[Labels, list[Labels]] = {}
    for labels in vector:
        groups.setdefault(_group(labels, names, without), []).append(labels)
    if operator in ("topk", "bottomk"):
        return _extremes(operator == "topk", vector, groups, parameter)
    reduce = _REDUCERS.get(operator)
    if reduce is None:
        raise PromqlError(f"aggregation {operator} is not supported here")
    result: Vector = {}
    for group, members in groups.items():
        values, present = _stacked(vector, members)
        result[group] = Column(reduce(values, present, parameter), np.asarray(present.any(axis=0)))
    return result


def _group(labels: Labels, names: Sequence[str], without: bool) -> Labels:
    return drop(labels, (*names, NAME)) if without else keep(labels, names)


def _stacked(vector: Vector, members: Sequence[Labels]) -> tuple[Floats, Flags]:
    values = np.array([vector[labels].values for labels in members])
    present = np.array([vector[labels].present for labels in members])
    return values, present


def _extremes(
    largest: bool, vector: Vector, groups: dict[Labels, list[Labels]], parameter: Floats
) -> Vector:
    result: Vector = {}
    for members in groups.values():
        values, present = _stacked(vector, members)
        order = np.where(present, values, -np.inf if largest else np.inf)
        ranks = np.argsort(np.argsort(-order if largest else order, axis=0, kind="stable"), axis=0)
        chosen = present & (ranks < np.nan_to_num(parameter, nan=0.0))
        for place, labels in enumerate(members):
            if chosen[place].any():
                result[labels] = Column(values[place], chosen[place])
    return result


def _sum(values: Floats, present: Flags, _: Floats) -> Floats:
    return np.asarray(np.where(present, values, 0.0).sum(axis=0))


def _count(values: Floats, present: Flags, _: Floats) -> Floats:
    return np.asarray(present.sum(axis=0), dtype=np.float64)


def _mean(values: Floats, present: Flags, parameter: Floats) -> Floats:
    return _sum(values, present, parameter) / np.maximum(_count(values, present, parameter), 1)


def _smallest(values: Floats, present: Flags, _: Floats) -> Floats:
    return np.asarray(np.fmin.reduce(np.where(present, values, np.nan), axis=0))


def _largest(values: Floats, present: Flags, _: Floats) -> Floats:
    return np.asarray(np.fmax.reduce(np.where(present, values, np.nan), axis=0))


def _variance(values: Floats, present: Flags, parameter: Floats) -> Floats:
    off = values - _mean(values, present, parameter)
    return _mean(off * off, present, parameter)


def _deviation(values: Floats, present: Flags, parameter: Floats) -> Floats:
    return np.sqrt(_variance(values, present, parameter))


def _quantile(values: Floats, present: Flags, share: Floats) -> Floats:
    moments = range(values.shape[1])
    found = [quantile_of(values[present[:, at], at], float(share[at])) for at in moments]
    return np.array(found, dtype=np.float64)


_REDUCERS: dict[str, Reduce] = {
    "sum": _sum,
    "count": _count,
    "avg": _mean,
    "min": _smallest,
    "max": _largest,
    "stddev": _deviation,
    "stdvar": _variance,
    "quantile": _quantile,
    "group": lambda values, present, parameter: np.ones(values.shape[1]),
}
