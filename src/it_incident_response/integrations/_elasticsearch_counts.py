"""Counts lines per time bucket, level and service where they are stored, by a composite search."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.errors import ConnectorReplyInvalid
from it_incident_response.integrations._elasticsearch_api import SearchApi
from it_incident_response.integrations._elasticsearch_fields import Kind, Layout
from it_incident_response.integrations._elasticsearch_levels import Levels, Query
from it_incident_response.integrations._elasticsearch_query import (
    can_filter_levels,
    log_filter,
    named_any,
    query_gaps,
)
from it_incident_response.integrations._elasticsearch_search import reply_gaps, server_timeout
from it_incident_response.integrations._elasticsearch_settings import NAME
from it_incident_response.ports.clock import Stopwatch, utc
from it_incident_response.ports.sources import LogCount, LogQuery

BUCKETS_A_PAGE = 1000
"""Composite buckets a request; with the levels below them well under the servers' 65,535."""
BUCKETS_MAX = 50_000
"""(time, service) pairs of one answer."""
SERVICE_FIELDS_MAX = 4
SERVICES_MAX = 50
"""Services that are counted one by one where they are asked for by name."""


@dataclass
class Counted:
    """What a count has given so far."""

    sums: dict[tuple[float, LogLevel, str | None], int] = field(default_factory=dict)
    gaps: dict[str, None] = field(default_factory=dict)

    def add(self, at: float, level: LogLevel, service: str | None, count: int) -> None:
        """Add lines; nothing is kept of none."""
        if count > 0:
            key = (at, level, service)
            self.sums[key] = self.sums.get(key, 0) + count

    def counts(self) -> tuple[LogCount, ...]:
        """Return the counts in order of time, level and service."""
        ordered = sorted(self.sums, key=lambda key: (key[0], key[1].value, key[2] or ""))
        return tuple(
            LogCount(at=utc(at), level=level, service=service, count=self.sums[at, level, service])
            for at, level, service in ordered
        )


class LineCount:
    """One count of lines."""

    def __init__(self, api: SearchApi, layout: Layout, levels: Levels, query: LogQuery) -> None:
        self._api = api
        self._layout = layout
        self._query = query
        self._levels = levels
        self._watch = Stopwatch(api.clock)
        self._filter = log_filter(query, layout, levels)
        self._named = tuple(dict.fromkeys(query.services))[:SERVICES_MAX]
        fields = [field for field in layout.of("service") if field.is_aggregatable]
        self._service_fields = [] if self._named else fields[:SERVICE_FIELDS_MAX]

    def text(self, bucket_s: float) -> str:
        """The first request as sent, with the index, fit to be run again by anyone."""
        body = orjson.dumps(self._body(bucket_s, None)).decode()
        return f"GET /{self._layout.index}/_search {body}"

    async def run(self, bucket_s: float) -> Counted:
        """Return the counts; raises `ConnectorError`."""
        counted = Counted()
        counted.gaps |= dict.fromkeys([*self._layout.gaps, *query_gaps(self._query, self._layout)])
        if self._layout.timestamp is None:
            return counted
        counted.gaps |= dict.fromkeys(self._approximations())
        after: Mapping[str, Any] | None = None
        seen = 0
        while True:
            reply = await self._api.search(self._body(bucket_s, after), self._layout.index)
            counted.gaps |= dict.fromkeys(reply_gaps(reply))
            buckets, after = _page(reply)
            seen += len(buckets)
            for bucket in buckets:
                self._add(counted, bucket)
            if after is None or len(buckets) < BUCKETS_A_PAGE:
                return counted
            if reason := self._stop(seen):
                counted.gaps[reason] = None
                return counted

    def _stop(self, seen: int) -> str | None:
        """Return why counting ends before its end, if it does; the earliest buckets are there."""
        if seen >= BUCKETS_MAX:
            return f"counting stopped after {seen} buckets: ask for longer ones or fewer services"
        if self._watch.elapsed_s >= self._api.settings.time_budget_s:
            return f"counting stopped after {self._api.settings.time_budget_s:g} s"
        return None

    def _approximations(self) -> Iterable[str]:
        services = self._layout.of("service")
        by_words = [field.name for field in services if field.kind in (Kind.TEXT, Kind.MIXED)]
        if self._named and by_words:
            yield f"services are told apart by the words of {by_words[0]!r}: counts are estimates"
        if not self._named and services and not self._service_fields:
            yield f"field {services[0].name!r} cannot be counted by: services are not told apart"
        if not can_filter_levels(self._layout):
            yield "no field holds the level: every line is counted as info"
        elif not self._layout.of("level"):
            yield "no field holds the level: it is taken from the beginning of each message"

    def _body(self, bucket_s: float, after: Mapping[str, Any] | None) -> dict[str, Any]:
        composite: dict[str, Any] = {
            "size": BUCKETS_A_PAGE,
            "sources": [
                {"at": {"date_histogram": self._histogram(bucket_s)}},
                *(
                    {f"service{number}": {"terms": {"field": f.name, "missing_bucket": True}}}
                    for number, f in enumerate(self._service_fields)
                ),
            ],
        }
        if after is not None:
            composite["after"] = dict(after)
        return {
            "size": 0,
            "query": self._filter,
            "track_total_hits": False,
            "timeout": server_timeout(self._api.settings.timeout_s),
            "aggs": {"lines": {"composite": composite, "aggs": self._within()}},
        }

    def _histogram(self, bucket_s: float) -> dict[str, Any]:
        """Return buckets that begin with the window: `at` is never before its start."""
        width_ms = max(1, round(bucket_s * 1000))
        start_ms = round(self._query.window.start.timestamp() * 1000)
        stamp = self._layout.timestamp
        return {
            "field": stamp.name if stamp else "@timestamp",
            "fixed_interval": f"{width_ms}ms",
            "offset": f"{start_ms % width_ms}ms",
        }

    def _within(self) -> dict[str, Any]:
        levels = {"levels": {"filters": {"filters": self._level_filters()}}}
        if not self._named:
            return levels
        services = self._layout.of("service")
        named = {str(n): named_any(services, [name]) for n, name in enumerate(self._named)}
        return {"services": {"filters": {"filters": named}, "aggs": levels}}

    def _level_filters(self) -> dict[str, Query]:
        """Return nested sets of lines, from each level up; their differences are the levels."""
        if not can_filter_levels(self._layout):
            return {"info": {"match_all": {}}}
        asked = (LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR, LogLevel.FATAL)
        queries = {level: self._levels.at_least(level, self._layout) for level in asked}
        return {level.value: query for level, query in queries.items() if query is not None}

    def _add(self, counted: Counted, bucket: Mapping[str, Any]) -> None:
        key = bucket["key"]
        at = float(key["at"]) / 1000
        if not self._named:
            self._add_levels(counted, at, _service(key), bucket)
            return
        found = dict(_named_buckets(bucket, "services"))
        for number, name in enumerate(self._named):
            if str(number) in found:
                self._add_levels(counted, at, name, found[str(number)])

    def _add_levels(
        self, counted: Counted, at: float, service: str | None, bucket: Mapping[str, Any]
    ) -> None:
        up = {level: found["doc_count"] for level, found in _named_buckets(bucket, "levels")}
        totals = [bucket["doc_count"], *(up.get(level.value, 0) for level in _ABOVE_DEBUG)]
        for level, here, above in zip(LogLevel, totals, [*totals[1:], 0], strict=True):
            counted.add(at, level, service, here - above)


_ABOVE_DEBUG = tuple(LogLevel)[1:]


def _page(reply: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any] | None]:
    try:
        lines = reply["aggregations"]["lines"]
        buckets, after = lines["buckets"], lines.get("after_key")
        if isinstance(buckets, list) and all(_is_bucket(bucket) for bucket in buckets):
            return buckets, after if isinstance(after, Mapping) else None
    except (KeyError, TypeError, AttributeError):
        pass
    raise ConnectorReplyInvalid(
        NAME,
        "the reply to a count has no buckets",
        hint="is the URL that of Elasticsearch or OpenSearch, in a supported version?",
    )


def _is_bucket(bucket: Any) -> bool:
    return isinstance(bucket["key"]["at"], int | float) and _is_counted(bucket)


def _is_counted(bucket: Any) -> bool:
    return isinstance(bucket["doc_count"], int) and all(
        _is_counted(found)
        for group in ("services", "levels")
        for _, found in _named_buckets(bucket, group)
    )


def _named_buckets(bucket: Mapping[str, Any], group: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = bucket.get(group)
    return list(found["buckets"].items()) if isinstance(found, Mapping) else []


def _service(key: Mapping[str, Any]) -> str | None:
    names = (key[name] for name in sorted(key) if name.startswith("service"))
    return next((str(name)[:300] for name in names if name not in (None, "")), None)
