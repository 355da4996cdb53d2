"""Values of PromQL over many moments at once: one column of samples per label set."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Labels = tuple[tuple[str, str], ...]
"""Sorted (name, value) pairs; empty values are left out, as they mean the same as no label."""

NAME = "__name__"
_REGEX_LENGTH_MAX = 4_000


class PromqlError(ValueError):
    """The query cannot be evaluated; the text says why."""


@dataclass(frozen=True)
class Column:
    """The samples of one label set at each moment; `present` says where there is one."""

    values: Floats
    present: Flags

    def where(self, condition: Flags) -> "Column":
        """Return the column with only the samples where the condition holds."""
        return Column(self.values, self.present & condition)


Vector = dict[Labels, Column]


@dataclass(frozen=True)
class RawSeries:
    """One stored series: samples at rising times; NaN marks where it ended (staleness)."""

    labels: Labels
    times: Floats
    values: Floats


@dataclass(frozen=True)
class LabelMatcher:
    """One condition of a selector."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def matches(self, text: str) -> bool:
        """Return whether a label value ("" if there is none) fits; regexes fit the whole."""
        if not self.is_regex:
            return (text == self.value) == self.is_equal
        return (_regex(self.value).fullmatch(text) is not None) == self.is_equal


class SeriesSource(Protocol):
    """Something that keeps series."""

    def select(
        self, matchers: Sequence[LabelMatcher], start: float, end: float
    ) -> Iterable[RawSeries]:
        """Return the series that all matchers fit, with samples in start <= time <= end.

        The newest sample before `start` may be included.
        """
        ...


def _regex(pattern: str) -> re.Pattern[str]:
    if len(pattern) > _REGEX_LENGTH_MAX:
        raise PromqlError(f"a regex is longer than {_REGEX_LENGTH_MAX} characters")
    try:
        return re.compile(pattern)  # kept by re's own cache
    except re.error as error:
        raise PromqlError(f"invalid regex {pattern[:100]!r}: {error}") from error


def make_labels(labels: Mapping[str, str]) -> Labels:
    """Return the sorted form of a mapping."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Return only the labels of these names."""
    return tuple(pair for pair in labels if pair[0] in names)


def drop(labels: Labels, names: Collection[str]) -> Labels:
    """Return the labels without these names."""
    return tuple(pair for pair in labels if pair[0] not in names)


def without_name(vector: Vector) -> Vector:
    """Return the vector without metric names; raises `PromqlError` if that makes two equal."""
    result: Vector = {}
    for labels, column in vector.items():
        add(result, drop(labels, (NAME,)), column)
    return result


def add(vector: Vector, labels: Labels, column: Column) -> None:
    """Put a column into a vector; raises `PromqlError` if two samples would coincide."""
    other = vector.get(labels)
    if other is None:
        vector[labels] = column
        return
    if bool(np.any(other.present & column.present)):
        raise PromqlError("vector cannot contain metrics with the same labelset")
    values = np.where(column.present, column.values, other.values)
    vector[labels] = Column(values, other.present | column.present)


def constant(value: float, count: int) -> Floats:
    """Return a scalar that is the same at each moment."""
    return np.full(count, value, dtype=np.float64)


def everywhere(values: Floats) -> Column:
    """Return a column that has a sample at each moment."""
    return Column(values, np.ones(len(values), dtype=np.bool_))
