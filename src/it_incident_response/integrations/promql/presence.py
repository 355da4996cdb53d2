"""Finds out what data an alert's expression needs, so that missing data never look like recovery.

An expression that gives nothing means "the condition does not hold" only while the metrics that
it reads are there. For each of its selectors, this names a query that gives something if and only
if the selector's metric exists for the alert's own labels.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from it_incident_response.integrations.promql.escaping import exact_regex, matcher, promql_string
from it_incident_response.integrations.promql.needs import Needs, NotTakenApart, needs_of, parsed

OUTCOME_LABELS = frozenset(
    {
        *("code", "status", "status_code", "http_status", "http_code", "response_code"),
        *("http_status_code", "http_response_status_code", "grpc_code", "grpc_status"),
        *("error", "error_type", "exception", "result", "outcome", "success", "reason"),
        *("state", "phase", "severity", "level", "le", "quantile", "method", "verb"),
        *("mode", "type"),
    }
)
"""Labels whose values come and go with what happens, such as `code="500"`.

No series with `code="500"` means that no such error has happened since the start of the process,
which is recovery; so these are left out when we look whether the metric is there.
"""
SELECTORS_MAX = 16


def presence_needs(
    expression: str, labels: Mapping[str, str], ignored: Collection[str] = ()
) -> Needs:
    """Return the queries that show whether the expression's data exist for these labels.

    A label restricts a selector only where the series has it at all (`name=~"value|"`); names in
    `ignored`, which the alerting rule sets by itself, restrict nothing. Raises `NotTakenApart`.
    """
    own = {
        name: value
        for name, value in labels.items()
        if name != "alertname" and name not in ignored and name not in OUTCOME_LABELS
    }
    needs = needs_of(parsed(expression), lambda selector: _presence(selector, own))
    if sum(1 for _ in needs.names()) > SELECTORS_MAX:
        raise NotTakenApart(f"it has more than {SELECTORS_MAX} selectors")
    return needs


def _presence(selector: Any, labels: Mapping[str, str]) -> str:
    """Return a query that gives something if the metric exists for these labels now.

    Now, also for a range: a rate over five minutes falls to nothing while its process lies dead,
    and the samples from before its death must not vouch for it.
    """
    if selector.at is not None or selector.matchers.or_matchers:
        raise NotTakenApart("it uses @ or alternative matchers")
    parts = [f"__name__={promql_string(selector.name)}"] if selector.name else []
    parts += [
        matcher(given.name, _operator(given.op), given.value)
        for given in selector.matchers.matchers
        if given.name not in OUTCOME_LABELS
    ]
    parts += [matcher(name, "=~", f"{exact_regex(value)}|") for name, value in labels.items()]
    offset = f" offset {_duration(selector.offset)}" if selector.offset else ""
    return f"count({{{','.join(parts)}}}{offset})"


def _operator(operator: Any) -> str:
    """Return how an operator is written; the parser's values can be compared but not hashed."""
    from promql_parser import MatchOp

    written = (
        (MatchOp.Equal, "="),
        (MatchOp.NotEqual, "!="),
        (MatchOp.Re, "=~"),
        (MatchOp.NotRe, "!~"),
    )
    return next(text for known, text in written if known == operator)


def _duration(span: timedelta) -> str:
    milliseconds = round(span.total_seconds() * 1000)
    return f"-{-milliseconds}ms" if milliseconds < 0 else f"{milliseconds}ms"
