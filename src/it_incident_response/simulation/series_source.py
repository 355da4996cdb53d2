"""The world's history as a source of series for PromQL."""

from collections.abc import Iterator, Sequence

import numpy as np

from it_incident_response.simulation.history import History, SeriesKey
from it_incident_response.simulation.promql.evaluator import LOOKBACK_S
from it_incident_response.simulation.promql.vectors import (
    NAME,
    LabelMatcher,
    Labels,
    PromqlError,
    RawSeries,
    make_labels,
)


class HistorySource:
    """Selects series of one history by their labels."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._labels = [_labels(key) for key in history.keys]
        self._by_name: dict[str, list[int]] = {}
        for place, key in enumerate(history.keys):
            self._by_name.setdefault(key.name, []).append(place)

    def select(
        self, matchers: Sequence[LabelMatcher], start: float, end: float
    ) -> Iterator[RawSeries]:
        """Yield the matching series with their samples, and rows without one as NaN."""
        places = self.places(matchers)
        times, rows = self._history.between(start, end, before=1)
        for place in places:
            yield RawSeries(self._labels[place], times, rows[:, place])

    def places(self, matchers: Sequence[LabelMatcher]) -> list[int]:
        """Return which series match; raises `PromqlError` if the matchers fit everything."""
        if all(matcher.matches("") for matcher in matchers):
            raise PromqlError("vector selector must contain at least one non-empty matcher")
        name = next((m for m in matchers if m.name == NAME and not m.is_regex and m.is_equal), None)
        among = range(len(self._labels)) if name is None else self._by_name.get(name.value, [])
        return [place for place in among if _fits(dict(self._labels[place]), matchers)]

    def alive(self, matchers: Sequence[LabelMatcher], start: float, end: float) -> list[Labels]:
        """Return the labels of the matching series that have a sample in the span."""
        times, rows = self._history.between(start, end)
        places = self.places(matchers) if matchers else range(len(self._labels))
        if not len(times):
            return []
        has_sample = ~np.all(np.isnan(rows), axis=0)
        return [self._labels[place] for place in places if has_sample[place]]

    def newest_span(self, now: float) -> tuple[float, float]:
        """Return the span in which a series counts as present."""
        return now - LOOKBACK_S, now


def _labels(key: SeriesKey) -> Labels:
    return make_labels({**key.labels, NAME: key.name})


def _fits(labels: dict[str, str], matchers: Sequence[LabelMatcher]) -> bool:
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)
