"""Counts of log lines are held against the windows before."""

from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.analysis.log_rates import compare_rates
from it_incident_response.domain.evidence import LogLevel, Novelty, TimeWindow
from it_incident_response.ports.sources import LogCount

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = TimeWindow(start=START, end=START + timedelta(minutes=15))
BEFORE = TimeWindow(start=START - timedelta(hours=1), end=START)


def counts(per_minute, *, level=LogLevel.ERROR, service="shop"):
    """Return counts from the baseline's start on, one a minute; None: no bucket."""
    return [
        LogCount(at=BEFORE.start + timedelta(minutes=n), level=level, service=service, count=c)
        for n, c in enumerate(per_minute)
        if c
    ]


def compared(given):
    return compare_rates(given, WINDOW, BEFORE, bucket_s=60)


@pytest.mark.parametrize("usual", [0, 1, 5, 40])
def test_more_of_the_same_is_no_news(usual):
    assert compared(counts([usual] * 75)) == ()


def test_a_surge_has_its_expected_count_and_its_onset():
    (rate,) = compared(counts([2] * 65 + [20] * 10))
    assert (rate.novelty, rate.count, rate.baseline_count) == (Novelty.SURGE, 210, 30)
    assert rate.onset == START + timedelta(minutes=5)
    assert rate.p_value < 1e-9


def test_what_never_came_before_is_new():
    (rate,) = compared(counts([0] * 60 + [0, 1, 4, 4, 4]))
    assert (rate.novelty, rate.count, rate.onset) == (Novelty.NEW, 13, START + timedelta(minutes=2))


def test_two_lines_are_no_rate():
    assert compared(counts([0] * 60 + [2])) == ()


def test_silence_is_told_where_silence_is_unusual():
    (rate,) = compared(counts([3] * 60, level=LogLevel.INFO))
    assert (rate.novelty, rate.count, rate.baseline_count) == (Novelty.GONE, 0, 45)
    assert compared(counts([0, 0, 1] + [0] * 57)) == ()


def test_an_earlier_incident_does_not_hide_this_one():
    earlier = [1] * 15 + [50] * 15 + [1] * 30
    (rate,) = compared(counts(earlier + [50] * 15))
    assert rate.novelty is Novelty.SURGE


def test_worse_levels_come_first_and_services_are_apart():
    given = [
        *counts([0] * 60 + [9] * 15, level=LogLevel.WARNING, service="cart"),
        *counts([0] * 60 + [3] * 15, level=LogLevel.FATAL),
        *counts([1] * 75, service="quiet"),
    ]
    assert [(r.level, r.service) for r in compared(given)] == [
        (LogLevel.FATAL, "shop"),
        (LogLevel.WARNING, "cart"),
    ]


def test_without_a_baseline_nothing_is_claimed():
    nothing = TimeWindow(start=START, end=START)
    (rate,) = compare_rates(counts([0] * 60 + [9] * 15), WINDOW, nothing, bucket_s=60)
    assert (rate.novelty, rate.p_value) == (Novelty.UNKNOWN, None)
