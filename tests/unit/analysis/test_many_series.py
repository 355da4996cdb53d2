"""Thousands of series at once: rhythms, counters, gaps, and how often noise is called a finding."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from it_incident_response.analysis.metric_findings import find, find_all, find_in_matrix
from it_incident_response.analysis.series_shape import SHAPES, Question
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Shape, Signal, SignalSeries

END = datetime(2026, 3, 2, tzinfo=UTC)
TIMES = END.timestamp() - 60.0 * np.arange(1_439, -1, -1)
START = TIMES[-1] - 6 * 3_600
QUESTION = Question(TIMES[0], START, TIMES[-1] - 3_600, TIMES[-1])
HOUR = 2 * np.pi * TIMES / 3_600


def shapes(values, unit="number", times=TIMES, question=QUESTION):
    values = np.atleast_2d(values)
    columns = find_in_matrix(times, values, [unit] * len(values), question)
    return [SHAPES[code] for code in columns.shape], columns


def noise(seed=1, rows=1):
    return np.random.default_rng(seed).standard_normal((rows, TIMES.size))


def peaks(width=4):
    return 20.0 * ((np.arange(TIMES.size) % 60) < width)


def test_an_hourly_peak_is_no_finding():
    (shape,), columns = shapes(10 + peaks() + 0.3 * noise())
    assert shape is Shape.NORMAL
    assert columns.period_s[0] == 3_600


def test_a_peak_out_of_its_hour_is_one():
    values = (10 + peaks() + 0.3 * noise())[0]
    values[-33:-29] += 20
    assert shapes(values)[0] == [Shape.SPIKE]


def test_a_level_is_judged_by_its_hour():
    """The value is within what the day has seen, not within what this minute of the hour sees."""
    values = (10 + 5 * np.sin(HOUR) + 0.2 * noise())[0]
    after = QUESTION.began - 60 * 20 <= TIMES
    values[after] = (10 - 5 * np.sin(HOUR) + 0.2 * noise(2))[0][after]
    usual = (10 + 5 * np.sin(HOUR) + 0.2 * noise())[0]
    assert shapes(usual)[0] == [Shape.NORMAL]
    assert shapes(values)[0] != [Shape.NORMAL]


def test_a_daily_rhythm_needs_three_days():
    times = END.timestamp() - 300.0 * np.arange(5 * 288 - 1, -1, -1)
    day = (
        10
        + 6 * np.sin(2 * np.pi * times / 86_400)
        + 0.3 * np.random.default_rng(1).standard_normal(times.size)
    )
    question = Question(times[0], times[-1] - 3 * 3600, times[-1] - 3600, times[-1])
    (shape,), columns = shapes(day, times=times, question=question)
    assert shape is Shape.NORMAL
    assert columns.period_s[0] == pytest.approx(86_400, rel=0.02)
    short = times >= times[-1] - 2.2 * 86_400
    _, columns = shapes(day[short], times=times[short], question=question)
    assert columns.period_s[0] == 0


def test_a_shift_on_top_of_a_rhythm_keeps_its_onset_and_effect():
    values = (10 + 5 * np.sin(HOUR) + 0.2 * noise())[0]
    onset = TIMES[-150]
    values[-150:] += 8
    (shape,), columns = shapes(values)
    assert shape is Shape.LEVEL_SHIFT
    assert abs(columns.onset[0] - onset) <= 120
    assert columns.effect[0] > 20
    assert columns.current[0] - columns.baseline[0] == pytest.approx(8, abs=0.5)


def test_holes_do_not_hide_a_rhythm():
    values = (10 + peaks(8) + 0.3 * noise())[0]
    values[np.random.default_rng(4).random(values.size) < 0.05] = np.nan
    (shape,), columns = shapes(values)
    assert (shape, columns.period_s[0]) == (Shape.NORMAL, 3_600)


@pytest.mark.parametrize("phi", [0.0, 0.7, 0.95])
def test_correlated_noise_has_no_rhythm(phi):
    steps = noise(7, 400)
    values = np.empty_like(steps)
    values[:, 0] = steps[:, 0]
    for place in range(1, TIMES.size):
        values[:, place] = phi * values[:, place - 1] + steps[:, place]
    _, columns = shapes(10 + values)
    assert np.count_nonzero(columns.period_s) == 0


FALSE_MAX = {
    "normal": 0.001,
    "student t3": 0.02,
    "lognormal": 0.02,
    "ar1 0.95": 0.005,
    "ar1 0.99": 0.03,
}
"""Bounds of what docs/metric-findings.md reports."""


@pytest.mark.parametrize("sort", FALSE_MAX)
def test_noise_is_seldom_called_a_finding(sort):
    rng = np.random.default_rng(11)
    size = (2_000, TIMES.size)
    if sort == "student t3":
        values = rng.standard_t(3, size)
    elif sort == "lognormal":
        values = rng.lognormal(size=size)
    else:
        values = rng.standard_normal(size)
    if sort.startswith("ar1"):
        phi = float(sort.split()[1])
        for place in range(1, TIMES.size):
            values[:, place] += phi * values[:, place - 1]
    found, _ = shapes(10 + values)
    share = sum(shape is not Shape.NORMAL for shape in found) / len(found)
    assert share <= FALSE_MAX[sort]


def test_shifts_are_found_in_the_same_noise():
    """A bound on false findings is cheap without one on missed findings."""
    values = 10 + noise(5, 500)
    values[:, -120:] += 5
    found, columns = shapes(values)
    assert all(shape is Shape.LEVEL_SHIFT for shape in found)
    assert np.median(np.abs(columns.onset - TIMES[-120])) <= 120


def test_a_raw_counter_with_a_reset_is_read_as_a_rate():
    steps = np.random.default_rng(3).poisson(50, TIMES.size).astype(float)
    counter = np.cumsum(steps)
    counter[700:] -= counter[700] - 10
    (shape,), columns = shapes(counter, "count")
    assert shape is Shape.NORMAL
    assert columns.current[0] == pytest.approx(50 / 60, rel=0.05)


def test_a_counter_that_goes_faster_is_a_shift():
    steps = np.random.default_rng(3).poisson(50, TIMES.size).astype(float)
    steps[-120:] *= 4
    (shape,), columns = shapes(np.cumsum(steps), "per_second")
    assert shape is Shape.LEVEL_SHIFT
    assert columns.current[0] == pytest.approx(200 / 60, rel=0.1)


def test_growing_memory_is_no_counter():
    values = 1e9 + np.where(START <= TIMES, (TIMES - START) * 1e5, 0.0) + 1e6 * noise()[0]
    assert shapes(values, "bytes")[0] == [Shape.TREND]


def test_a_gauge_that_stops_moving_is_a_flat_line():
    values = (100 + 10 * noise())[0]
    values[-40:] = values[-41]
    (shape,), columns = shapes(values)
    assert shape is Shape.FLAT_LINE


def test_a_gauge_that_often_stands_still_is_not():
    values = np.round(100 + noise()[0] * 0.3)
    values[-12:] = 100
    assert shapes(values)[0] == [Shape.NORMAL]


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(TIMES.size),
        np.full(TIMES.size, 1e308),
        np.full(TIMES.size, np.nan),
        np.where(np.arange(TIMES.size) % 2, np.inf, -np.inf),
        np.where(np.arange(TIMES.size) % 2, 1e300, -1e300),
        np.full(TIMES.size, 5e-324),
    ],
)
def test_senseless_values_give_finite_answers(values):
    (shape,), columns = shapes(values)
    assert shape in (Shape.NORMAL, Shape.NO_DATA, Shape.FLAT_LINE)
    assert np.isfinite(columns.effect[0])


def test_no_series_and_no_samples():
    assert find_all([], incident_start=END, baseline_start=END, now=END) == []
    columns = find_in_matrix(TIMES[:0], np.zeros((3, 0)), ["ratio"] * 3, QUESTION)
    assert [SHAPES[code] for code in columns.shape] == [Shape.NO_DATA] * 3


def _series(place):
    rng = np.random.default_rng(place)
    step = int(rng.choice([15, 60, 300]))
    times = END.timestamp() - step * np.arange(int(rng.integers(0, 400)), -1, -1.0)
    kept = rng.random(times.size) > 0.1 * (place % 3)
    values = rng.normal(5, 1, times.size) + (place % 2) * 20 * (times > END.timestamp() - 1200)
    return SignalSeries(
        signal=list(Signal)[place % len(Signal)],
        entity=Entity(EntityKind.HOST, f"h{place}"),
        source="s",
        query="q",
        times=tuple(times[kept]),
        values=tuple(values[kept]),
    )


def test_many_at_once_are_the_same_as_each_alone():
    """Series of other steps, lengths and gaps do not touch each other."""
    when = {
        "incident_start": END - timedelta(minutes=25),
        "baseline_start": END - timedelta(hours=20),
        "now": END,
        "began": END - timedelta(minutes=15),
    }
    given = [_series(place) for place in range(120)]
    for alone, together in zip(
        [find(series, **when) for series in given], find_all(given, **when), strict=True
    ):
        assert alone.shape is together.shape
        assert alone.onset == together.onset
        assert alone.period_s == together.period_s
        assert alone.effect == pytest.approx(together.effect)
        assert alone.slope_per_hour == pytest.approx(together.slope_per_hour)
