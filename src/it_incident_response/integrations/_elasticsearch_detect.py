"""Runs a search that somebody hands in and groups its hits to candidate incidents."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from it_incident_response.domain.evidence import LogLine
from it_incident_response.errors import ConnectorRejected
from it_incident_response.integrations._elasticsearch_api import Document, SearchApi
from it_incident_response.integrations._elasticsearch_dsl import checked_search
from it_incident_response.integrations._elasticsearch_fields import Kind, Layout
from it_incident_response.integrations._elasticsearch_grouping import candidate, grouped
from it_incident_response.integrations._elasticsearch_levels import Levels
from it_incident_response.integrations._elasticsearch_lines import LineReader
from it_incident_response.integrations._elasticsearch_search import (
    hits_of,
    reply_gaps,
    server_timeout,
)
from it_incident_response.integrations._elasticsearch_settings import NAME
from it_incident_response.integrations._elasticsearch_words import SAMPLED_A_SHARD

_SCORE_MIN = 0.0


def search_body(api: SearchApi, layout: Layout, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request for a search handed in: checked, newest first, within our time limit."""
    body = checked_search(query)
    if layout.timestamp is not None:
        body.setdefault("sort", [{layout.timestamp.name: {"order": "desc"}}])
    body["timeout"] = server_timeout(api.settings.timeout_s)
    return body


async def run_search(api: SearchApi, layout: Layout, query: Mapping[str, Any]) -> Document:
    """Return the reply to a search handed in; raises `InputRejected` or `ConnectorError`."""
    return await api.search(search_body(api, layout, query), layout.index)


async def detected(
    api: SearchApi, layout: Layout, levels: Levels, query: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return candidate incidents, the worst first; raises `InputRejected` or `ConnectorError`."""
    if layout.is_empty:
        raise ConnectorRejected(NAME, layout.gaps[0], hint="is index_pattern right?")
    body = search_body(api, layout, query)
    text = next((field.name for field in layout.of("message") if field.kind is Kind.TEXT), None)
    sent = body if text is None else body | {"aggs": _word_search(text)}
    reply = await api.search(sent, layout.index)
    lines = _lines(reply, layout, levels)
    asked = f"GET /{layout.index}/_search {orjson.dumps(body).decode()}"
    unusual, gaps = _unusual(reply), [*layout.gaps, *reply_gaps(reply)]
    return [candidate(group, asked, unusual) | {"gaps": gaps} for group in grouped(lines)]


def _word_search(name: str) -> dict[str, Any]:
    words = {"words": {"significant_text": {"field": name, "size": 30}}}
    return {"sample": {"sampler": {"shard_size": SAMPLED_A_SHARD}, "aggs": words}}


def _lines(reply: Document, layout: Layout, levels: Levels) -> list[LogLine]:
    reader = LineReader(layout, levels)
    readings = (reader.read(hit) for hit in hits_of(reply))
    return [reading.line for reading in readings if reading is not None]


def _unusual(reply: Document) -> Sequence[str]:
    try:
        buckets = reply["aggregations"]["sample"]["words"]["buckets"]
        return [str(bucket["key"])[:100] for bucket in buckets if bucket["score"] > _SCORE_MIN]
    except (KeyError, TypeError):
        return []
