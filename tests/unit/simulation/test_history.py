import math

import numpy as np

from it_incident_response.simulation.history import Block, History, SeriesKey


class Counter:
    def __init__(self):
        self.value = 0.0
        self.is_up = True

    def read(self):
        self.value += 1
        return [self.value, -self.value] if self.is_up else None


def history_of(ticks, capacity=10):
    counter = Counter()
    keys = (SeriesKey("a", {"x": "1", "y": "2"}), SeriesKey("b", {"x": "1"}))
    history = History([Block(keys, counter.read)], capacity)
    for tick in range(ticks):
        history.record(15.0 * tick)
    return history, counter


def test_keeps_the_newest_and_forgets_the_oldest():
    for ticks in (1, 9, 10, 11, 19, 20, 21, 47, 100):
        history, _ = history_of(ticks)
        times, rows = history.between(0, 1e9)
        kept = min(ticks, 10)
        assert len(history) == kept
        assert times.tolist() == [15.0 * t for t in range(ticks - kept, ticks)]
        assert rows[:, 0].tolist() == [t + 1 for t in range(ticks - kept, ticks)]
        assert np.array_equal(history.latest(3), rows[-3:])


def test_spans_include_both_ends_and_rows_before_where_asked():
    history, _ = history_of(8)
    assert history.between(30, 60)[0].tolist() == [30, 45, 60]
    assert history.between(31, 59)[0].tolist() == [45]
    assert history.between(30, 60, before=1)[0].tolist() == [15, 30, 45, 60]
    assert history.between(0, 30, before=5)[0].tolist() == [0, 15, 30]
    assert len(history.between(500, 600)[0]) == 0


def test_a_target_that_does_not_answer_leaves_no_samples():
    history, counter = history_of(2)
    counter.is_up = False
    history.record(30.0)
    assert all(math.isnan(value) for value in history.latest(1)[0])


def test_columns_are_found_by_name_and_some_labels():
    history, _ = history_of(1)
    assert history.columns("a") == [0]
    assert history.columns("a", x="1") == [0]
    assert history.columns("b", x="2") == []
    assert history.columns("c") == []
