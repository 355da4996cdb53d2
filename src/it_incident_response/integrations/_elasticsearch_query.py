"""Turns a `LogQuery` into the query language: values are only ever values, never syntax."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.integrations._elasticsearch_fields import Field, Kind, Layout
from it_incident_response.integrations._elasticsearch_levels import Levels, Query, any_query
from it_incident_response.integrations._elasticsearch_settings import Role
from it_incident_response.ports.sources import LogQuery

PHRASE_CHARS_MAX = 1000
NAMES_MAX = 200
"""Names of one kind in one query; more would make a query that servers refuse."""


def log_filter(query: LogQuery, layout: Layout, levels: Levels) -> Query:
    """Return the query for the lines that a `LogQuery` asks for, as far as the server can tell."""
    trace = () if query.trace_id is None else (query.trace_id,)
    named: Mapping[Role, Sequence[str]] = {
        "service": query.services,
        "host": query.hosts,
        "pod": query.pods,
        "trace": trace,
    }
    filters = [in_window(query.window, layout)]
    filters += [named_any(layout.of(role), names) for role, names in named.items() if names]
    level = levels.at_least(query.minimum_level, layout)
    if level is not None and can_filter_levels(layout):
        filters.append(level)
    if query.contains:
        filters.append(_containing(layout.of("message"), query.contains[:PHRASE_CHARS_MAX]))
    return {"bool": {"filter": filters}}


def query_gaps(query: LogQuery, layout: Layout) -> list[str]:
    """Return what the query asks for that no field can answer."""
    asked: Mapping[Role, object] = {
        "service": query.services,
        "host": query.hosts,
        "pod": query.pods,
        "trace": query.trace_id,
        "message": query.contains,
    }
    return [
        f"no indexed field holds the {role} in {layout.index!r} "
        f"(looked for {', '.join(layout.names[role][:6])}): nothing can match"
        for role, value in asked.items()
        if value and not layout.of(role)
    ]


def can_filter_levels(layout: Layout) -> bool:
    """Tell whether the server can tell levels apart: by a field, or by words of the message."""
    messages = layout.of("message")
    return bool(layout.of("level")) or any(field.kind is not Kind.KEYWORD for field in messages)


def in_window(window: TimeWindow, layout: Layout) -> Query:
    """Return the query for the window; its start is in, its end is not."""
    assert layout.timestamp is not None  # noqa: S101 - callers leave before, if there is none
    span = {
        "gte": instant(window.start),
        "lt": instant(window.end),
        "format": "strict_date_optional_time",
    }
    return {"range": {layout.timestamp.name: span}}


def instant(moment: datetime) -> str:
    """Return a time as both servers read it, to the microsecond."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def named_any(fields: Sequence[Field], names: Sequence[str]) -> Query:
    """Return the query for documents one of whose fields has exactly one of the names."""
    wanted = list(dict.fromkeys(names))[:NAMES_MAX]
    return any_query([clause for field in fields for clause in _named(field, wanted)])


def _named(field: Field, names: list[str]) -> list[Query]:
    if field.kind is Kind.KEYWORD:
        return [{"terms": {field.name: names}}]
    if field.kind is Kind.NUMBER:
        numbers = [name for name in names if re.fullmatch(r"-?[0-9]{1,15}", name)]
        return [{"terms": {field.name: numbers}}] if numbers else []
    return [_phrase(field.name, name) for name in names]


def _phrase(field: str, text: str) -> Query:
    """Return a phrase query that also fits a field mapped as keyword or number elsewhere."""
    return {"multi_match": {"query": text, "fields": [field], "type": "phrase", "lenient": True}}


def _containing(fields: Sequence[Field], phrase: str) -> Query:
    clauses = []
    for field in fields:
        if field.kind is not Kind.KEYWORD:
            clauses.append(_phrase(field.name, phrase))
        if field.kind in (Kind.KEYWORD, Kind.MIXED):
            pattern = "*" + re.sub(r"([*?\\])", r"\\\1", phrase) + "*"
            clauses.append({"wildcard": {field.name: {"value": pattern, "case_insensitive": True}}})
    return any_query(clauses)


def without_nothing(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request body without its empty parts."""
    return {key: value for key, value in body.items() if value not in (None, [], {})}
