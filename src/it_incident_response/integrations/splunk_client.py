"""Searches logs in Splunk: its REST API by Splunk's own SDK (the extra `splunk`)."""

from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.errors import InputRejected
from it_incident_response.integrations._splunk_query import (
    counts_search,
    lines_search,
    unanswerable,
    window_arguments,
)
from it_incident_response.integrations._splunk_rows import Rows, counts_of, line_of
from it_incident_response.integrations._splunk_search import (
    Mode,
    Search,
    SearchRunner,
)
from it_incident_response.integrations._splunk_settings import (
    DEFAULT_URL,
    NAME,
    SplunkSettings,
)
from it_incident_response.integrations.connector import Connector, read_settings
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

__all__ = ["CONNECTOR", "SplunkLogAnalyzer", "SplunkSettings"]

LEVELS = tuple(LogLevel)


class SplunkLogAnalyzer:
    """One Splunk; asynchronous as the ports it fills, synchronous as in the user's guide."""

    def __init__(
        self,
        splunk_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        *,
        token: str | None = None,
        settings: SplunkSettings | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Connect to nothing yet; without a URL or settings, `https://localhost:8089` is meant.

        Raises `ConfigError` for a URL that is none, for a token beside a password, and where the
        package `splunk-sdk` is not installed.
        """
        if settings is None:
            given = {
                "url": splunk_url or DEFAULT_URL,
                "username": username,
                "password": password,
                "bearer_token": token,
            }
            settings = read_settings(NAME, SplunkSettings, given)
        self.splunk_url = settings.url
        self._settings = settings
        self._runner = SearchRunner(settings, surroundings or Surroundings())

    def search_logs(self, query: str, **arguments: str) -> list[dict[str, Any]]:
        """Run a search in Splunk's language and return its results, for synchronous callers.

        At most 50,000 rows. `arguments` are those of Splunk's API (`earliest_time="-15m"`,
        `latest_time="now"`). A query that begins with neither `search` nor `|` is a `search`.
        Values from outside must not be put into `query`: the asynchronous `lines` takes them apart
        from it. Raises `ConnectorError`.
        """
        search = Search(_complete(query), 0, arguments, Mode.ONESHOT)
        return [dict(row) for row in self._runner.run_here(search).rows]

    def export_logs(
        self, query: str, rows_max: int = 0, **arguments: str
    ) -> Iterator[dict[str, Any]]:
        """Like `search_logs`, streamed, with no bound on the number of rows but `rows_max`.

        Whoever stops reading ends the search at the server.
        """
        search = Search(_complete(query), rows_max, arguments, Mode.EXPORT)
        for row in self._runner.stream_here(search):
            yield dict(row)

    async def check(self) -> Health:
        """Return the version, after proving the credentials (`authentication/current-context`)."""

        def ask(service: Any) -> tuple[str, str, str]:
            # `server/info` answers anybody: only this one needs the credentials.
            service.get("authentication/current-context", output_mode="json").body.read()
            info = service.info
            return info["version"], info.get("serverName", ""), info.get("product_type", "")

        version, name, product = await self._runner.call(ask)
        return Health(version=version, detail=f"{product} {name}".strip()[:300])

    async def lines(self, query: LogQuery) -> LogBatch:
        """Return the newest matching events, oldest first; raises `ConnectorError`."""
        text = lines_search(query, self._settings)
        arguments = window_arguments(query.window)
        found = await self._runner.run(Search(text, query.limit + 1, arguments))
        fields = self._settings.field_of
        lines = sorted((line_of(row, fields) for row in found.rows), key=lambda line: line.at)
        floor = LEVELS.index(query.minimum_level)
        kept = [line for line in lines if LEVELS.index(line.level) >= floor]
        return LogBatch(
            lines=tuple(kept[-query.limit :]),
            query=text,
            link=self._link(text, arguments),
            is_truncated=len(lines) > query.limit,
            gaps=self._gaps(query, found),
        )

    async def counts(self, query: LogQuery, *, bucket_s: float) -> LogCounts:
        """Count the matching events where they are stored; raises `ConnectorError`."""
        text = counts_search(query, self._settings, bucket_s)
        arguments = window_arguments(query.window)
        found = await self._runner.run(Search(text, 0, arguments, Mode.ONESHOT))
        unlabelled = max(LogLevel.INFO, query.minimum_level, key=LEVELS.index)
        return LogCounts(
            counts=tuple(counts_of(found.rows, self._settings.field_of, unlabelled)),
            bucket_s=max(1.0, float(int(bucket_s))),
            query=text,
            link=self._link(text, arguments),
            gaps=self._gaps(query, found),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        self._runner.close()

    def close(self) -> None:
        """Close the connections, for synchronous callers."""
        self._runner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _gaps(self, query: LogQuery, found: Rows) -> tuple[str, ...]:
        gaps = [*unanswerable(query, self._settings), *found.troubles]
        if found.is_cut:
            gaps.append(f"Splunk gave no more than {len(found.rows)} results")
        return tuple(gaps)

    def _link(self, text: str, arguments: Mapping[str, str]) -> str | None:
        """Return the address at which a person sees the same search in Splunk Web."""
        if self._settings.web_url is None:
            return None
        earliest, latest = arguments["earliest_time"], arguments["latest_time"]
        return (
            f"{self._settings.web_url.rstrip('/')}/en-US/app/search/search?q={quote(text, safe='')}"
            f"&earliest={earliest}&latest={latest}"
        )


def _complete(query: str) -> str:
    text = query.strip()
    if not text:
        raise InputRejected("the search is empty", hint='write for example: index=main "error"')
    first = text.split(None, 1)[0].lower()
    return text if first == "search" or text.startswith("|") else f"search {text}"


def _make(settings: SplunkSettings, surroundings: Surroundings) -> SplunkLogAnalyzer:
    return SplunkLogAnalyzer(settings=settings, surroundings=surroundings)


CONNECTOR = Connector(
    name=NAME,
    settings=SplunkSettings,
    capabilities=frozenset({LogSource, LogCounter, HealthCheck}),
    make=_make,
)
