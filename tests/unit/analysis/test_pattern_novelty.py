"""Whether a pattern's count differs from its baseline."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.pattern_novelty import Counted, judged, rate_p_value
from it_incident_response.domain.evidence import Novelty


def by_summing(now, before, share):
    """The same chance, term by term."""
    total = now + before
    terms = [comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(total + 1)]
    tail = sum(terms[now:]) if now >= total * share else sum(terms[: now + 1])
    return min(1.0, 2 * tail)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.95))
def test_the_chance_is_that_of_the_binomial(now, before, share):
    assert rate_p_value(Counted(now, before), share) == pytest.approx(
        by_summing(now, before, share), rel=1e-6, abs=1e-12
    )


def test_a_million_lines_are_tested_at_once():
    assert rate_p_value(Counted(10**6, 10**6), 0.5) == pytest.approx(1.0, abs=0.01)
    assert rate_p_value(Counted(1_010_000, 990_000), 0.5) < 1e-40


def test_each_kind_of_change_is_named():
    counts = [Counted(*pair) for pair in [(5, 0), (60, 40), (10, 40), (1, 80), (0, 80), (0, 2)]]
    verdicts = judged(counts, window_s=900, baseline_s=3600)
    assert [verdict.novelty for verdict in verdicts] == [
        Novelty.NEW, Novelty.SURGE, Novelty.USUAL, Novelty.DROP, Novelty.GONE, Novelty.USUAL,
    ]  # fmt: skip


def test_without_a_baseline_nothing_is_new():
    assert judged([Counted(5, 0)], 900, 3600)[0].novelty is Novelty.UNKNOWN


def test_a_short_baseline_does_not_make_a_rare_line_new():
    rare, usual = judged([Counted(1, 0), Counted(60, 10)], 3600, 600)
    assert rare.novelty is Novelty.UNKNOWN
    assert usual.novelty is Novelty.USUAL


def test_of_many_usual_patterns_few_are_called_changed():
    """Poisson counts of equal rates, drawn once; without the correction 20 of 2,000 would be."""
    import random

    draw = random.Random(3)
    counts = []
    for _ in range(2000):
        both = [sum(draw.random() < 0.05 for _ in range(400)) for _ in range(2)]
        counts.append(Counted(*both))
    changed = [v for v in judged(counts, 900, 900) if v.novelty is not Novelty.USUAL]
    assert len(changed) <= 2
