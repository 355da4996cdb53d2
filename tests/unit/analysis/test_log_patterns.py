"""Grouping of log lines by their constant text."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.log_patterns import GROUPS_MAX, mine, template_of
from it_incident_response.domain.evidence import LogLevel, LogLine, Novelty, TimeWindow

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = TimeWindow(start=NOW - timedelta(minutes=15), end=NOW)
BASELINE = TimeWindow(start=NOW - timedelta(minutes=75), end=NOW - timedelta(minutes=15))


def line(message, level=LogLevel.ERROR, at=NOW, service="api"):
    return LogLine(at=at, message=message, level=level, service=service)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeout after 5000ms to 10.0.0.1:5432", "timeout after 31ms to 10.2.0.7:5433"),
        ("request 7f3a91bc failed", "request 99e0d1aa failed"),
        ("cannot open /var/log/a.log", "cannot open /srv/x/y.txt"),
        ('user "alice" denied', 'user "bob" denied'),
        (
            "id 6fa459ea-ee8a-3ca4-894e-db77e160355e gone",
            "id 16fd2706-8baf-433b-82eb-8c7fada847da gone",
        ),
        ("2026-03-01T12:00:00Z started", "2025-01-31T01:02:03Z started"),
    ],
)
def test_variables_do_not_make_a_pattern(one, other):
    assert template_of(one) == template_of(other)


def test_words_do():
    assert template_of("connection refused") != template_of("connection reset")


def test_counts_are_compared_with_a_baseline_of_another_length():
    lines = [line(f"timeout after {n} ms") for n in range(40)]
    before = [line(f"timeout after {n} ms", at=BASELINE.start) for n in range(8)]
    (pattern,) = mine(lines, before, WINDOW, BASELINE)
    assert pattern.count == 40
    assert pattern.baseline_count == 2.0
    assert len(pattern.examples) == 3


def test_severe_and_new_come_first():
    lines = [line("request served", LogLevel.INFO)] * 500 + [line("pool exhausted")] * 3
    lines += [line("slow query")] * 10
    before = [line("slow query", at=BASELINE.start)] * 40
    patterns = mine(lines, before, WINDOW, BASELINE)
    assert [p.template for p in patterns] == ["pool exhausted", "slow query", "request served"]


def test_a_million_different_lines_stay_bounded():
    words = [
        f"w{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(5000)
    ]
    patterns = mine([line(word) for word in words], [], WINDOW, BASELINE)
    assert len(patterns) <= GROUPS_MAX + 1
    assert sum(p.count for p in patterns) == len(words)


def test_a_huge_hostile_line_is_cut_before_it_is_matched():
    """Would not end within the run if a pattern backtracked over the whole line."""
    for text in ("/" * 10**7, '"' * 10**7, "0x" * 10**6, "1.2." * 10**6, "a/" * 10**6):
        assert len(template_of(text)) <= 2000 * 4


@given(st.text())
def test_any_text_has_a_template(text):
    assert "\n" not in template_of(text)


@pytest.mark.parametrize(
    "text",
    ["/" * 9000, "a@" * 9000, "1:" * 9000, "'" * 9000, "9" * 9000, "/a" * 9000, "-1." * 9000],
)
def test_hostile_lines_are_cut_and_grouped(text):
    assert len(template_of(text)) <= 2_000 * 4


def test_a_gone_heartbeat_is_shown_after_a_new_error():
    before = [line("heartbeat sent", LogLevel.INFO, at=BASELINE.start)] * 60
    now = [line("pool exhausted")] * 3
    patterns = mine(now, before, WINDOW, BASELINE)
    assert [(p.template, p.novelty) for p in patterns] == [
        ("pool exhausted", Novelty.NEW),
        ("heartbeat sent", Novelty.GONE),
    ]
    assert (patterns[1].count, patterns[1].baseline_count) == (0, 15.0)
    assert patterns[1].p_value < 0.01
    assert patterns[1].first_at == BASELINE.start


def test_a_new_warning_tells_more_than_an_error_as_frequent_as_ever():
    before = [line("cache miss failed", at=BASELINE.start)] * 80
    now = [line("cache miss failed")] * 20 + [line("disk slow", LogLevel.WARNING)] * 4
    patterns = mine(now, before, WINDOW, BASELINE)
    assert [(p.template, p.novelty) for p in patterns] == [
        ("disk slow", Novelty.NEW),
        ("cache miss failed", Novelty.USUAL),
    ]


def test_a_stack_trace_of_many_lines_is_one_pattern():
    trace = [
        "java.net.ConnectException: Connection refused",
        "\tat java.base/sun.nio.ch.Net.connect(Net.java:579)",
        "\tat com.acme.shop.Billing.call(Billing.java:30)",
    ]
    lines = [
        line(text, at=NOW - timedelta(seconds=9 * place)) for place in range(5) for text in trace
    ]
    (pattern,) = mine(lines, [], WINDOW, BASELINE)
    assert pattern.count == 5
    assert pattern.exception == "java.net.ConnectException"
    assert pattern.frame == "com.acme.shop.Billing.call (Billing.java:30)"
    assert pattern.novelty is Novelty.UNKNOWN


def test_a_level_in_the_text_counts_where_the_source_knows_none():
    lines = [line("2026-03-01T12:00:00Z ERROR disk full", LogLevel.INFO)]
    (pattern,) = mine(lines, [], WINDOW, BASELINE)
    assert (pattern.level, pattern.template) == (LogLevel.ERROR, "disk full")


def test_names_in_the_baseline_are_the_same_pattern_now():
    users = ["anna", "bert", "carla", "dirk", "elena"]
    before = [line(f"denied {user} the door", at=BASELINE.start) for user in users] * 8
    (pattern,) = mine([line("denied zoe the door")] * 10, before, WINDOW, BASELINE)
    assert (pattern.template, pattern.novelty) == ("denied <*> the door", Novelty.USUAL)
