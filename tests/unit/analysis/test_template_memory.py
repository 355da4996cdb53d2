"""What is remembered of log templates: kinship, bounds, the same after a restart."""

import tracemalloc
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.template_memory import TemplateMemory
from it_incident_response.domain.evidence import LogLevel, LogLine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def line(message, at=NOW, service="api", level=LogLevel.ERROR):
    return LogLine(at=at, message=message, level=level, service=service)


def memory(**more) -> TemplateMemory:
    return TemplateMemory(60.0, 3600.0, **more)


def word(number: int) -> str:
    """A word without digits, which masking leaves alone."""
    letters = ""
    for _ in range(6):
        letters += chr(97 + number % 26)
        number //= 26
    return letters


def test_names_that_masking_leaves_are_found_to_vary():
    found = memory()
    found.learn([line(f"user {name} may not log in") for name in ("ann", "bob", "cyd")], is_known=0)
    (family,) = found
    assert family.template == "user <*> may not log in"
    assert family.within(0, 2**40) == 3


def test_other_services_levels_and_sentences_are_other_templates():
    found = memory()
    found.learn(
        [
            line("pool is exhausted"),
            line("pool is exhausted", service="web"),
            line("pool is exhausted", level=LogLevel.FATAL),
            line("disk is full now"),
        ],
        is_known=False,
    )
    assert len(found) == 4


def test_two_processes_that_read_the_same_give_the_same_names():
    lines = [line(f"cannot reach {word(n)} today") for n in range(20)]
    one, other = memory(), memory()
    one.learn(lines, is_known=False)
    for each in lines:
        other.learn([each], is_known=False)
    assert [f.id for f in one] == [f.id for f in other]
    assert [f.template for f in one] == [f.template for f in other]


def test_a_known_template_stays_known_and_a_new_one_new():
    found = memory()
    found.learn([line("pool is exhausted")], is_known=True)
    found.learn([line("pool is exhausted"), line("quorum lost")], is_known=False)
    assert {f.template: f.is_known for f in found} == {
        "pool is exhausted": True,
        "quorum lost": False,
    }


def test_an_adopted_template_keeps_its_name_and_time():
    first = memory()
    first.learn([line(f"cannot reach {word(n)} today") for n in range(3)], is_known=False)
    (family,) = first
    second = memory()
    second.adopt(family.id, line("x", at=NOW - timedelta(minutes=9)), family.template)
    second.learn([line("cannot reach anything today")], is_known=True)
    (again,) = second
    assert again.id == family.id
    assert again.first_at == NOW - timedelta(minutes=9)
    assert not again.is_known


def test_a_template_goes_by_the_name_that_another_process_gave_it():
    mine = memory()
    mine.learn([line("user ann may not log in")] * 3, is_known=False)
    mine.adopt("theirs", line("x", at=NOW - timedelta(minutes=2)), "user bob may not log in")
    mine.adopt("later", line("x"), "user cyd may not log in")
    mine.learn([line("user dan may not log in")], is_known=False)
    (family,) = mine
    assert family.id == "theirs"
    assert family.within(0, 2**40) == 4


def test_counts_outside_the_time_kept_are_dropped():
    found = memory()
    found.learn([line("old one", at=NOW - timedelta(hours=9)), line("old one")], is_known=False)
    found.forget_before(NOW)
    (family,) = found
    assert sum(family.counts.values()) == 1


def test_a_million_distinct_templates_stay_in_bounded_memory():
    found = memory()
    tracemalloc.start()
    for start in range(0, 1_000_000, 100_000):
        # In pieces, as a detector reads; a sample is as telling as all, and much faster.
        texts = (
            f"{word(n)} {word(n * 7 + 1)} {word(n * 3 + 2)}"
            for n in range(start, start + 100_000, 100)
        )
        found.learn(map(line, texts), is_known=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) <= 5_000
    assert found.forgotten == 10_000 - len(found)
    assert peak < 30_000_000


@given(st.lists(st.text(max_size=60), max_size=40))
def test_no_text_breaks_it_and_every_line_is_counted_once(texts):
    found = memory(families_max=1_000)
    found.learn([line(text) for text in texts], is_known=False)
    counted = sum(family.within(0, 2**40) for family in found)
    assert counted <= len(texts)
    assert counted >= sum(1 for text in texts if text.strip().isascii() and text.strip().isalpha())


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), st.integers(1, 8))
def test_never_more_than_allowed(numbers, limit):
    found = memory(families_max=limit)
    found.learn([line(f"{word(n)} {word(n + 1)}") for n in numbers], is_known=False)
    assert len(found) <= limit
    assert sum(f.within(0, 2**40) for f in found) <= len(numbers)
