"""From the parser's nodes to our own values: matchers, matching, durations."""

from datetime import timedelta
from typing import Any

import promql_parser as ast

from it_incident_response.simulation.promql.binary import Matching
from it_incident_response.simulation.promql.vectors import NAME, LabelMatcher, PromqlError


def matching_of(modifier: Any) -> Matching:
    """Return how the sides of an operator match, from its modifier in the tree."""
    if modifier is None:
        return Matching()
    labels = modifier.matching
    many_side = None
    if modifier.card == ast.VectorMatchCardinality.ManyToOne:
        many_side = "left"
    elif modifier.card == ast.VectorMatchCardinality.OneToMany:
        many_side = "right"
    return Matching(
        is_on=labels is not None and labels.type == ast.LabelModifierType.Include,
        names=tuple(labels.labels) if labels is not None else (),
        many_side=many_side,
        included=tuple(modifier.group_labels or ()),
    )


def matchers_of(selector: str) -> list[LabelMatcher]:
    """Return the matchers of a selector as text; raises `PromqlError` if it is none."""
    try:
        tree = ast.parse(selector)
    except ValueError as error:
        raise PromqlError(f"parse error: {error}") from error
    if not isinstance(tree, ast.VectorSelector):
        raise PromqlError("parse error: a series selector is expected")
    return matchers_in(tree)


def matchers_in(selector: Any) -> list[LabelMatcher]:
    """Return the matchers of a selector in the tree."""
    found = [LabelMatcher(NAME, selector.name)] if selector.name else []
    if selector.matchers.or_matchers:
        raise PromqlError("`or` between matchers is not supported here")
    for matcher in selector.matchers.matchers:
        is_regex = matcher.op in (ast.MatchOp.Re, ast.MatchOp.NotRe)
        is_equal = matcher.op in (ast.MatchOp.Equal, ast.MatchOp.Re)
        found.append(LabelMatcher(matcher.name, matcher.value, is_regex, is_equal))
    return found


def seconds(span: timedelta | None) -> float:
    """Return a duration in seconds; 0 for none."""
    return span.total_seconds() if span is not None else 0.0
