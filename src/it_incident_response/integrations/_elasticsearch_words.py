"""Finds the words that are unusually frequent in one span of time, by `significant_text`."""

from collections.abc import Mapping
from typing import Any

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.domain.model import Value
from it_incident_response.integrations._elasticsearch_api import SearchApi
from it_incident_response.integrations._elasticsearch_fields import Field, Kind, Layout
from it_incident_response.integrations._elasticsearch_levels import Levels
from it_incident_response.integrations._elasticsearch_query import log_filter
from it_incident_response.integrations._elasticsearch_search import reply_gaps, server_timeout
from it_incident_response.ports.sources import LogQuery

SAMPLED_A_SHARD = 500
"""Lines of each shard whose words are read: `significant_text` analyses them anew."""
WORDS_MAX = 100


class UnusualWord(Value):
    """A word of log messages that is more frequent than it was."""

    word: str
    count: int
    """Lines with it in the window (of those sampled)."""
    baseline_count: int
    """Lines with it in the baseline."""
    score: float
    """The server's JLH score: rise in frequency times relative rise; higher is more unusual."""


class UnusualWords(Value):
    """Words, the most unusual first."""

    words: tuple[UnusualWord, ...] = ()
    gaps: tuple[str, ...] = ()


async def unusual_words(
    api: SearchApi, layout: Layout, levels: Levels, query: LogQuery, baseline: TimeWindow
) -> UnusualWords:
    """Compare the query's lines with the same query over the baseline; raises `ConnectorError`."""
    texts = [field for field in layout.of("message") if field.kind is Kind.TEXT]
    if layout.timestamp is None or not texts:
        reason = "the messages are not indexed word by word: unusual words cannot be told"
        return UnusualWords(gaps=(*layout.gaps, reason))
    before = query.model_copy(update={"window": baseline})
    body = {
        "size": 0,
        "query": log_filter(query, layout, levels),
        "track_total_hits": False,
        "timeout": server_timeout(api.settings.timeout_s),
        "aggs": {
            "sample": {
                "sampler": {"shard_size": SAMPLED_A_SHARD},
                "aggs": {
                    str(number): {"significant_text": _significant(field)}
                    for number, field in enumerate(texts[:3])
                },
            }
        },
    }
    background = log_filter(before, layout, levels)
    for word in body["aggs"]["sample"]["aggs"].values():  # type: ignore[index]
        word["significant_text"]["background_filter"] = background
    reply = await api.search(body, layout.index)
    words = [word for number in range(len(texts[:3])) for word in _words(reply, str(number))]
    ranked = sorted(words, key=lambda word: word.score, reverse=True)
    return UnusualWords(words=tuple(ranked[:WORDS_MAX]), gaps=(*layout.gaps, *reply_gaps(reply)))


def _significant(field: Field) -> dict[str, Any]:
    return {
        "field": field.name,
        "size": 20,
        "min_doc_count": 3,
        "filter_duplicate_text": False,
        "jlh": {},
    }


def _words(reply: Mapping[str, Any], number: str) -> list[UnusualWord]:
    try:
        buckets = reply["aggregations"]["sample"][number]["buckets"]
        return [
            UnusualWord(
                word=str(bucket["key"])[:100],
                count=int(bucket["doc_count"]),
                baseline_count=int(bucket["bg_count"]),
                score=float(bucket["score"]),
            )
            for bucket in buckets
        ]
    except (KeyError, TypeError, ValueError):
        return []
