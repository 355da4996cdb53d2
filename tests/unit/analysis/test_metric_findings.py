"""What one series shows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.metric_findings import DRAWN_MAX, find
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Shape, Signal, SignalSeries

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=5)
START = BEGAN - timedelta(minutes=15)
BASELINE = START - timedelta(hours=1)
STEP_S = 15
NOISE = np.random.default_rng(3)


def series(signal, value_at, *, since=BASELINE, noise=0.0):
    times = np.arange(since.timestamp(), NOW.timestamp() + 1, STEP_S)
    values = np.array([value_at(t) for t in times]) + noise * NOISE.standard_normal(times.size)
    return SignalSeries(
        signal=signal,
        entity=Entity(EntityKind.HOST, "web-1"),
        source="test",
        query="q",
        times=tuple(times),
        values=tuple(values),
    )


def found(given):
    return find(given, incident_start=START, baseline_start=BASELINE, now=NOW, began=BEGAN)


def after(moment, then, otherwise):
    return lambda t: then if t >= moment.timestamp() else otherwise


def test_a_quiet_series_is_normal():
    finding = found(series(Signal.CPU_USE, lambda t: 0.3, noise=0.02))
    assert finding.shape is Shape.NORMAL
    assert finding.onset is None
    assert abs(finding.effect) < 3.5


def test_a_level_shift_has_its_onset_and_sign():
    finding = found(series(Signal.LATENCY_P95, after(BEGAN, 2.0, 0.1), noise=0.005))
    assert finding.shape is Shape.LEVEL_SHIFT
    assert finding.effect > 10
    assert abs((finding.onset - BEGAN).total_seconds()) <= STEP_S
    assert finding.baseline == pytest.approx(0.1, abs=0.02)
    assert finding.current == pytest.approx(2.0, abs=0.05)


def test_a_full_resource_is_saturated():
    assert found(series(Signal.DISK_USE, after(BEGAN, 0.99, 0.6))).shape is Shape.SATURATION


def test_a_resource_that_was_always_full_is_not_news():
    assert found(series(Signal.DISK_USE, lambda t: 0.97)).shape is Shape.NORMAL


def test_growth_is_a_trend_with_a_slope():
    def growing(t):
        return 1e9 + max(0.0, t - START.timestamp()) * 1e6

    finding = found(series(Signal.PROCESS_MEMORY, growing, noise=1e6))
    assert finding.shape is Shape.TREND
    assert finding.slope_per_hour == pytest.approx(3.6e9, rel=0.05)


def test_a_spike_that_came_back():
    peak = BEGAN - timedelta(minutes=6)
    finding = found(
        series(
            Signal.LATENCY_P95,
            lambda t: 3.0 if abs(t - peak.timestamp()) < 20 else 0.1,
            noise=0.004,
        )
    )
    assert finding.shape is Shape.SPIKE
    assert finding.peak == pytest.approx(3.0, abs=0.1)


def test_traffic_that_stopped_is_a_flat_line():
    finding = found(series(Signal.REQUEST_RATE, after(BEGAN, 0.0, 40.0)))
    assert finding.shape is Shape.FLAT_LINE


def test_a_service_just_gone_down_is_seen_in_one_sample():
    """The alert fires seconds after the fall: only the last sample can show it."""
    down = NOW - timedelta(seconds=5)
    given = series(Signal.UP, after(down, 0.0, 1.0), since=NOW - timedelta(minutes=1))
    finding = find(given, incident_start=START, baseline_start=BASELINE, now=NOW, began=down)
    assert finding.current == 0
    assert finding.shape is Shape.LEVEL_SHIFT
    assert finding.baseline == 1


def test_few_samples_need_a_larger_difference():
    few = series(Signal.CPU_USE, after(BEGAN, 0.36, 0.3), since=BEGAN - timedelta(seconds=50))
    many = series(Signal.CPU_USE, after(BEGAN, 0.36, 0.3))
    assert found(few).effect < found(many).effect


def test_no_samples_in_the_window_is_no_data():
    empty = SignalSeries(
        signal=Signal.UP, entity=Entity(EntityKind.HOST, "a"), source="t", query="q"
    )
    assert found(empty).shape is Shape.NO_DATA


def test_the_drawing_is_bounded_and_finite():
    finding = found(series(Signal.CPU_USE, lambda t: 0.5, since=NOW - timedelta(days=2)))
    assert len(finding.samples) <= DRAWN_MAX


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32) | st.just(0.0), max_size=80),
    st.sampled_from(Signal),
)
def test_any_values_give_a_finding(values, signal):
    times = tuple(NOW.timestamp() - 60 * k for k in range(len(values), 0, -1))
    given = SignalSeries(
        signal=signal,
        entity=Entity(EntityKind.HOST, "a"),
        source="t",
        query="q",
        times=times,
        values=tuple(values),
    )
    with np.errstate(all="ignore"):
        assert found(given).shape in Shape


def test_a_series_that_fell_silent_shows_nothing():
    whole = series(Signal.CPU_USE, lambda t: 0.3, noise=0.02)
    cut = [i for i, t in enumerate(whole.times) if t < (NOW - timedelta(minutes=7)).timestamp()]
    ended = whole.model_copy(
        update={
            "times": tuple(whole.times[i] for i in cut),
            "values": tuple(whole.values[i] for i in cut),
        }
    )
    finding = found(ended)
    assert finding.shape is Shape.NO_DATA
    assert finding.current is None, "what was normal before it fell silent proves nothing"


@pytest.mark.parametrize("seed", range(15))
def test_ordinary_noise_is_never_called_a_shift(seed):
    values = np.random.default_rng(seed).normal(0.3, 0.03, 2_000)
    finding = found(series(Signal.CPU_USE, lambda t: values[int(t) // STEP_S % 2_000]))
    assert finding.shape is Shape.NORMAL
