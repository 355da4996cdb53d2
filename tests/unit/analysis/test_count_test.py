"""Whether a count is larger than earlier ones explain: checked against exact and sampled tails."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.count_test import excess, upper_tail


def poisson_tail(count: int, mean: float) -> float:
    return 1 - math.fsum(
        math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count)
    )


@pytest.mark.parametrize(("count", "mean"), [(1, 0.1), (5, 2.0), (12, 4.5), (30, 20.0)])
def test_without_more_variance_it_is_poisson(count, mean):
    assert upper_tail(count, mean, mean) == pytest.approx(poisson_tail(count, mean), rel=1e-6)


@pytest.mark.parametrize(("mean", "variance"), [(4.0, 12.0), (40.0, 400.0), (1.0, 1.5)])
def test_the_negative_binomial_tail_is_that_of_samples(mean, variance):
    size = mean**2 / (variance - mean)
    samples = np.random.default_rng(7).negative_binomial(size, size / (size + mean), 400_000)
    for count in (math.ceil(mean) + 1, math.ceil(2.5 * mean), math.ceil(4 * mean)):
        share = float((samples >= count).mean())
        # A share p of n samples is known to sqrt(p / n); 5 of these, since the seed is fixed.
        tolerance = 5 * math.sqrt(share / len(samples)) + 1e-6
        assert upper_tail(count, mean, variance) == pytest.approx(share, abs=tolerance)


@given(
    st.integers(0, 10**9),
    st.floats(1e-3, 1e6),
    st.floats(1.0, 1e4),
)
def test_it_is_a_probability_and_falls_with_the_count(count, mean, dispersion):
    here = upper_tail(count, mean, mean * dispersion)
    assert 0.0 <= here <= 1.0
    assert upper_tail(count + 1 + count // 10, mean, mean * dispersion) <= here + 1e-9


def test_one_bad_day_in_the_past_does_not_hide_a_spike():
    usual = [10, 12, 9, 11, 10, 13, 8]
    assert excess(100, usual).p_value < 1e-9
    assert excess(100, [*usual, 5_000]).p_value < 1e-6


def test_a_noisy_past_explains_more_than_a_quiet_one():
    assert excess(60, [20, 60, 5, 80, 30, 55, 10]).p_value > 0.01
    assert excess(70, [30, 31, 29, 30, 32, 28, 30]).p_value < 1e-5


def test_few_windows_prove_less_than_many():
    assert excess(9, [2] * 4).p_value > excess(9, [2] * 40).p_value


def test_after_silence_one_line_is_nothing_and_many_are():
    assert excess(1, [0] * 42).p_value > 0.01
    assert excess(20, [0] * 42).p_value < 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_false_alarms_stay_below_the_stated_level(seed):
    """Of 4,000 quiet windows fewer are called unusual at 0.001 than 4 times the promised share."""
    rng = np.random.default_rng(seed)
    called = sum(
        excess(int(rng.poisson(8)), rng.poisson(8, 42).tolist()).p_value < 1e-3
        for _ in range(4_000)
    )
    assert called <= 16
