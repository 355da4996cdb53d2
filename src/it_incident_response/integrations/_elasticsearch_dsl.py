"""Checks a search that somebody hands in: bounded, and nothing in it but a query."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from it_incident_response.errors import InputRejected

SIZE_BYTES_MAX = 64_000
DEPTH_MAX = 20
HITS_MAX = 5_000
HITS_USUAL = 1_000
_TOP_LEVEL = ("query", "size", "sort", "_source", "track_total_hits")
_SCRIPTED = re.compile(r".*script.*|runtime_mappings", re.IGNORECASE)
_ELSEWHERE = frozenset({"index", "indexed_shape", "percolate", "more_like_this"})
"""Parts of queries that read other indices than the configured ones, or other documents."""


def checked_search(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request body of a search; raises `InputRejected` for what we do not run.

    Allowed are `query`, `size` (at most 5,000), `sort`, `_source` and `track_total_hits`. Scripts,
    runtime fields, look-ups in other indices and aggregations are not.
    """
    if not isinstance(query, Mapping):
        raise _refused("is no JSON object")
    unknown = [key for key in query if key not in _TOP_LEVEL]
    if unknown:
        raise _refused(f"has {str(unknown[0])[:60]!r}, which is none of {', '.join(_TOP_LEVEL)}")
    if not isinstance(query.get("query", {}), Mapping):
        raise _refused("has a `query` that is no JSON object")
    _look_into(query, 0)
    try:
        length = len(orjson.dumps(dict(query)))
    except TypeError as error:
        raise _refused(f"is no JSON: {error}") from None
    if length > SIZE_BYTES_MAX:
        raise _refused(f"has {length} bytes, more than {SIZE_BYTES_MAX}")
    size = query.get("size", HITS_USUAL)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= HITS_MAX:
        raise _refused(f"asks for {str(size)[:20]} hits; 1 to {HITS_MAX} are possible")
    return {**query, "size": size}


def _look_into(part: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _refused(f"is nested more than {DEPTH_MAX} deep")
    if isinstance(part, Mapping):
        for key, value in part.items():
            if not isinstance(key, str):
                raise _refused("has a key that is no text")
            if _SCRIPTED.fullmatch(key) or (key in _ELSEWHERE and not _is_field(value)):
                raise _refused(f"has {key[:60]!r}: scripts and other indices are not allowed")
            _look_into(value, depth + 1)
    elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
        for item in part:
            _look_into(item, depth + 1)


def _is_field(value: Any) -> bool:
    """Tell whether `{"term": {"index": ...}}` compares a field of that name with a value."""
    return isinstance(value, Mapping) and bool({"value", "query", "gte", "lte"} & set(value))


def _refused(what: str) -> InputRejected:
    return InputRejected(
        f"the search {what}", hint='write for example {"query": {"match": {"message": "refused"}}}'
    )
