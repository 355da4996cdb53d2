"""The recorded past: every exported series, one row a tick, a few hours long."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""Ticks down, series across; NaN where a series has no sample."""


@dataclass(frozen=True)
class SeriesKey:
    """Name and labels of one series as Prometheus knows it."""

    name: str
    labels: Mapping[str, str]

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether it has this name and at least these labels."""
        return self.name == name and all(
            self.labels.get(key) == value for key, value in labels.items()
        )


@dataclass(frozen=True)
class Block:
    """Series that are read together, such as all of one scrape target."""

    keys: tuple[SeriesKey, ...]
    read: Callable[[], Sequence[float] | None]
    """Their values now, in order; None while the target does not answer."""


class History:
    """A ring of rows; the newest `capacity` are kept."""

    def __init__(self, blocks: Sequence[Block], capacity: int) -> None:
        self.keys = tuple(key for block in blocks for key in block.keys)
        self._blocks = tuple((block, [math.nan] * len(block.keys)) for block in blocks)
        self._capacity = capacity
        self._times = np.empty(2 * capacity)
        self._rows = np.empty((2 * capacity, len(self.keys)))
        self._end = 0

    def record(self, at: float) -> None:
        """Append the values of all series as of `at`, unix seconds."""
        if self._end == 2 * self._capacity:
            # Two capacities of room, so that the newest rows are always one contiguous block.
            self._times[: self._capacity] = self._times[self._capacity :]
            self._rows[: self._capacity] = self._rows[self._capacity :]
            self._end = self._capacity
        row: list[float] = []
        for block, missing in self._blocks:
            values = block.read()
            row += missing if values is None else values
        self._rows[self._end] = row
        self._times[self._end] = at
        self._end += 1

    def __len__(self) -> int:
        return min(self._end, self._capacity)

    def latest(self, count: int) -> Rows:
        """Return the newest rows, at most `count`."""
        return self._rows[max(0, self._end - min(count, len(self))) : self._end]

    def between(
        self, start: float, end: float, before: int = 0
    ) -> tuple[NDArray[np.float64], Rows]:
        """Return times and rows with start <= time <= end, and `before` rows ahead of them."""
        oldest = self._end - len(self)
        times = self._times[oldest : self._end]
        first = int(np.searchsorted(times, start, side="left"))
        last = int(np.searchsorted(times, end, side="right"))
        first = max(0, first - before)
        return times[first:last], self._rows[oldest + first : oldest + last]

    def columns(self, name: str, **labels: str) -> list[int]:
        """Return the places of the series with this name and at least these labels."""
        return [place for place, key in enumerate(self.keys) if key.matches(name, labels)]
