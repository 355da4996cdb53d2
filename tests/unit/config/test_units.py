import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.config.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("24h", 86400),
        ("90d", 7776000),
        ("2w", 1209600),
        ("500ms", 0.5),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 7 ", 7),
        (30, 30),
        (0.25, 0.25),
        ("0", 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "5 minutes", "-5s", -1, "1h-30m", "5M", True, None, float("nan"), "1e9s"]
)
def test_nonsense_durations_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write for example 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("50MB", 50_000_000), ("2GiB", 2 * 2**30), ("1kB", 1000), ("512 KB", 512_000), (7, 7)],
)
def test_sizes(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "big", "50M", "-1MB", "1XB", True, None, float("inf")])
def test_nonsense_sizes_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write for example 512KB"):
        parse_size(text)


@given(st.integers(0, 10**9))
def test_what_is_shown_reads_back(number):
    assert parse_duration(format_duration(number)) == number
    assert parse_size(format_size(number)) == number
