"""Reads and counts log lines in Elasticsearch and OpenSearch, and groups hits to incidents."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from pydantic import SecretStr

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.integrations._elasticsearch_api import SearchApi
from it_incident_response.integrations._elasticsearch_counts import LineCount
from it_incident_response.integrations._elasticsearch_detect import detected, run_search
from it_incident_response.integrations._elasticsearch_fields import (
    Layout,
    names_to_ask,
    read_layout,
)
from it_incident_response.integrations._elasticsearch_levels import Levels
from it_incident_response.integrations._elasticsearch_links import discover_link
from it_incident_response.integrations._elasticsearch_presets import candidate_fields
from it_incident_response.integrations._elasticsearch_search import LineSearch, hits_of
from it_incident_response.integrations._elasticsearch_settings import (
    DEFAULT_URL,
    NAME,
    ElasticsearchSettings,
    api_key_header,
)
from it_incident_response.integrations._elasticsearch_words import UnusualWords, unusual_words
from it_incident_response.integrations.connector import Connector, read_settings
from it_incident_response.ports.blocking import run_blocking
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import (
    Health,
    HealthCheck,
    LogBatch,
    LogCounter,
    LogCounts,
    LogQuery,
    LogSource,
)

LAYOUT_KEPT_S = 60.0
"""How long the mapping is taken for unchanged: new indices and fields show within this time."""

T = TypeVar("T")


class ElasticsearchLogAnalyzer:
    """The logs of one cluster; asynchronous as the ports it fills, with synchronous methods too."""

    def __init__(
        self,
        es_url: str | None = None,
        *,
        api_key: str | SecretStr | None = None,
        index_pattern: str | None = None,
        settings: ElasticsearchSettings | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Connect to nothing yet; without a URL or settings, `http://localhost:9200` is meant.

        Raises `ConfigError` for a URL or index pattern that is none.
        """
        if settings is None:
            given: dict[str, Any] = {"url": es_url or DEFAULT_URL}
            given |= {"index_pattern": index_pattern} if index_pattern else {}
            given |= {"headers": api_key_header(api_key)} if api_key else {}
            settings = read_settings(NAME, ElasticsearchSettings, given)
        surroundings = surroundings or Surroundings()
        self.es_url = settings.url
        self._settings = settings
        self._clock = surroundings.clock
        self._api = SearchApi(settings, surroundings)
        self._levels = Levels(settings.numeric_levels)
        self._candidates = candidate_fields(settings.preset, settings.fields)
        self._layout: tuple[datetime, Layout] | None = None

    async def check(self) -> Health:
        """Return the version, and whether the index pattern matches anything."""
        server = await self._api.greeting()
        layout = await self._current_layout()
        detail = "; ".join([server.distribution, *layout.gaps])
        return Health(version=server.version, detail=detail)

    async def lines(self, query: LogQuery) -> LogBatch:
        """Return the newest matching lines, oldest first; raises `ConnectorError`.

        What could not be searched is in `gaps`; an empty answer without gaps means no lines.
        """
        layout = await self._current_layout()
        if layout.timestamp is None:
            return LogBatch(lines=(), query=self._place(), gaps=layout.gaps)
        search = LineSearch(self._api, layout, self._levels, query)
        found = await search.run()
        return LogBatch(
            lines=tuple(reversed(found.lines)),
            query=search.text,
            link=await self._link(query, layout),
            is_truncated=found.is_truncated,
            gaps=tuple(found.gaps),
        )

    async def counts(self, query: LogQuery, *, bucket_s: float) -> LogCounts:
        """Count the matching lines per bucket, level and service; raises `ConnectorError`."""
        layout = await self._current_layout()
        if layout.timestamp is None:
            return LogCounts(counts=(), bucket_s=bucket_s, query=self._place(), gaps=layout.gaps)
        counting = LineCount(self._api, layout, self._levels, query)
        counted = await counting.run(bucket_s)
        return LogCounts(
            counts=counted.counts(),
            bucket_s=bucket_s,
            query=counting.text(bucket_s),
            link=await self._link(query, layout),
            gaps=tuple(counted.gaps),
        )

    async def unusual_words(
        self, query: LogQuery, *, baseline: TimeWindow | None = None
    ) -> UnusualWords:
        """Return the words that are more frequent in the query's lines than in the baseline's.

        Without a baseline it is the time of the same length before. Raises `ConnectorError`.
        """
        layout = await self._current_layout()
        span: timedelta = query.window.end - query.window.start
        before = TimeWindow(start=query.window.start - span, end=query.window.start)
        return await unusual_words(self._api, layout, self._levels, query, baseline or before)

    def search_logs(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run a search of the query language and return its hits, for synchronous callers.

        Raises `InputRejected` for a search that is too large or has scripts, or `ConnectorError`.
        """

        async def hits() -> list[dict[str, Any]]:
            reply = await run_search(self._api, await self._current_layout(), query)
            return [hit for hit in hits_of(reply) if isinstance(hit, dict)]

        return self._blocking(hits)

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _current_layout(self) -> Layout:
        now = self._clock.now()
        if self._layout is not None:
            since, layout = self._layout
            if 0 <= (now - since).total_seconds() < LAYOUT_KEPT_S and not layout.is_empty:
                return layout
        index = self._settings.index_pattern
        caps = await self._api.field_caps(index, names_to_ask(self._candidates))
        layout = read_layout(index, self._candidates, caps)
        self._layout = (now, layout)
        return layout

    async def _link(self, query: LogQuery, layout: Layout) -> str | None:
        server = await self._api.server()
        return discover_link(self._settings, server.distribution, query, layout)

    def _place(self) -> str:
        return f"GET /{self._settings.index_pattern}/_field_caps"

    def _blocking(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def once() -> T:
            try:
                return await ask()
            finally:
                await self._api.aclose()

        return run_blocking(once)


class ElasticsearchIncidentDetector(ElasticsearchLogAnalyzer):
    """Finds candidate incidents among the documents of a search, as in the user's guide."""

    def detect_incidents(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return candidate incidents, the worst first, for synchronous callers.

        `query` is the body of a search: `{"query": {"match": {"message": "refused"}}}`. Each
        incident has `title`, `description`, `severity`, `affected_systems`, `count`, `first_at`,
        `last_at`, `examples`, `unusual_words`, `gaps` and the `query` that found it. `count` is of
        the hits read, at most 1,000 unless `size` says otherwise. Raises `InputRejected` for a
        search that is too large or has scripts, or `ConnectorError`.
        """

        async def found() -> list[dict[str, Any]]:
            layout = await self._current_layout()
            return await detected(self._api, layout, self._levels, query)

        return self._blocking(found)


def _make(settings: ElasticsearchSettings, surroundings: Surroundings) -> ElasticsearchLogAnalyzer:
    return ElasticsearchLogAnalyzer(settings=settings, surroundings=surroundings)


CONNECTOR = Connector(
    name=NAME,
    settings=ElasticsearchSettings,
    capabilities=frozenset({HealthCheck, LogCounter, LogSource}),
    make=_make,
)
