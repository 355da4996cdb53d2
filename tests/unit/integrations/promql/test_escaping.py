"""Texts from outside stay texts in PromQL: proven against a PromQL parser."""

import re

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.errors import InputRejected
from it_incident_response.integrations.promql.escaping import (
    any_of_regex,
    exact_regex,
    matcher,
    promql_string,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ['"', "\\", '\\"', "\n", "\r\n\t\0\x07\x7f", '"} or vector(1) #', "a|b", ".*", "\u202e", "é😀"]
)


@given(TEXTS)
def test_a_string_is_read_back_as_it_was(text):
    selector = promql_parser.parse(f"a{{b={promql_string(text)}}}")
    assert isinstance(selector, promql_parser.VectorSelector)
    (read,) = selector.matchers.matchers
    assert (read.name, read.value) == ("b", text)


@given(TEXTS)
def test_a_literal_stays_one_line_of_visible_text(text):
    assert not re.search(r"[\x00-\x1f\x7f]", promql_string(text))


@given(TEXTS, TEXTS)
def test_an_exact_expression_matches_its_text_and_no_other(text, other):
    pattern = re.compile(exact_regex(text), re.DOTALL)
    assert pattern.fullmatch(text)
    assert bool(pattern.fullmatch(other)) == (text == other)


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
def test_any_of_matches_these_and_no_other(texts, other):
    pattern = re.compile(any_of_regex(texts), re.DOTALL)
    assert all(pattern.fullmatch(text) for text in texts)
    assert bool(pattern.fullmatch(other)) == (other in texts)


@given(TEXTS)
def test_a_regex_matcher_is_accepted_by_the_parser(text):
    (read,) = promql_parser.parse(f"a{{{matcher('b', '=~', exact_regex(text))}}}").matchers.matchers
    assert read.value == exact_regex(text)


def test_lone_surrogates_become_the_replacement_character():
    assert promql_string("a\ud800b") == '"a\ufffdb"'


@pytest.mark.parametrize("name", ["", "a-b", "1a", 'a"', "a{", "ä", "a\n", "a b"])
def test_a_label_name_that_is_none_is_rejected(name):
    with pytest.raises(InputRejected):
        matcher(name, "=", "x")


def test_an_operator_that_is_none_is_rejected():
    with pytest.raises(InputRejected):
        matcher("a", "==", "x")
