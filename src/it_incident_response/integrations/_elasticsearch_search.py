"""Reads the lines of a query page by page over a point in time, the newest first."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from it_incident_response.domain.evidence import LogLine
from it_incident_response.errors import ConnectorError, ConnectorReplyInvalid
from it_incident_response.integrations._elasticsearch_api import SearchApi, Server
from it_incident_response.integrations._elasticsearch_fields import Kind, Layout
from it_incident_response.integrations._elasticsearch_levels import LEVELS, Levels
from it_incident_response.integrations._elasticsearch_lines import (
    LineReader,
    Reading,
    moment,
)
from it_incident_response.integrations._elasticsearch_query import log_filter, query_gaps
from it_incident_response.integrations._elasticsearch_settings import NAME, Role
from it_incident_response.integrations._http import ReplyTooLong
from it_incident_response.ports.clock import Stopwatch
from it_incident_response.ports.sources import LogQuery

log = logging.getLogger(__name__)

LINES_MAX = 200_000
"""Most lines of one answer, whatever is asked for."""
CHARS_MAX = 64_000_000
"""Most characters of all messages of one answer together."""
LOOKED_AT_MAX = 20
"""Lines looked at for each one wanted, where the server cannot select exactly."""
SERVER_TIME_SHARE = 0.8
"""Part of our time limit after which the server is to answer with what it has."""


@dataclass
class Found:
    """What a search has given so far; lines newest first."""

    lines: list[LogLine] = field(default_factory=list)
    gaps: dict[str, None] = field(default_factory=dict)
    chars: int = 0
    looked_at: int = 0
    unreadable: int = 0
    is_truncated: bool = False

    def note(self, *gaps: str) -> None:
        """Add gaps, each once."""
        self.gaps |= dict.fromkeys(gaps)


class LineSearch:
    """One search for lines."""

    def __init__(self, api: SearchApi, layout: Layout, levels: Levels, query: LogQuery) -> None:
        self._api = api
        self._layout = layout
        self._query = query
        self._reader = LineReader(layout, levels)
        self._limit = max(0, min(query.limit, LINES_MAX))
        self._filter = log_filter(query, layout, levels)
        self._watch = Stopwatch(api.clock)
        self._found = Found()
        self._full_page = min(api.settings.page_size, self._limit + 1)
        self._page_size = self._full_page

    @property
    def text(self) -> str:
        """The query of the first page as sent, with the index, fit to be run again by anyone."""
        body = self._body(None, Server("elasticsearch"))
        return f"GET /{self._layout.index}/_search {orjson.dumps(body).decode()}"

    async def run(self) -> Found:
        """Return at most the limit of lines; raises `ConnectorError`."""
        found = self._found
        found.note(*self._layout.gaps, *query_gaps(self._query, self._layout))
        if self._layout.timestamp is None or self._limit == 0:
            return found
        server = await self._api.server()
        if self._limit < self._api.settings.page_size:
            last = await self._page(None, None, server)
            if last is None or found.is_truncated:
                return self._ended()
        await self._paged(server)
        return self._ended()

    async def _paged(self, server: Server) -> None:
        self._found.lines.clear()
        self._found.chars = self._found.looked_at = self._found.unreadable = 0
        pit = await self._api.open_pit(self._layout.index)
        try:
            after: Sequence[Any] | None = None
            while not self._is_enough():
                after = await self._page(pit, after, server)
                if after is None:
                    return
        finally:
            with contextlib.suppress(ConnectorError):  # it expires by itself
                await self._api.close_pit(pit)

    def _is_enough(self) -> bool:
        found = self._found
        if found.is_truncated:
            return True
        reasons = {
            f"stopped after {len(found.lines)} lines: {CHARS_MAX} characters": (
                found.chars >= CHARS_MAX
            ),
            f"only the newest {found.looked_at} lines that may match were looked at": (
                found.looked_at >= max(LOOKED_AT_MAX * self._limit, 10_000)
            ),
            f"stopped after {len(found.lines)} lines: "
            f"{self._api.settings.time_budget_s:g} s were over": (
                self._watch.elapsed_s >= self._api.settings.time_budget_s
            ),
        }
        for reason, holds in reasons.items():
            if holds:
                found.note(reason)
                found.is_truncated = True
        return found.is_truncated

    async def _page(
        self, pit: str | None, after: Sequence[Any] | None, server: Server
    ) -> Sequence[Any] | None:
        """Take in one page and return where the next begins; None: there is no next."""
        size = self._page_size
        try:
            reply = await self._api.search(
                self._body(pit, server, after=after, size=size), None if pit else self._layout.index
            )
        except ReplyTooLong:
            return await self._smaller(pit, after, server)
        self._found.note(*reply_gaps(reply))
        self._page_size = min(self._full_page, size * 8)  # grows back after lines of great length
        hits = hits_of(reply)
        for hit in hits:
            self._take(self._reader.read(hit))
            if self._found.is_truncated:
                break
        if len(hits) < size:
            return None
        return _sort_of(hits[-1])

    async def _smaller(
        self, pit: str | None, after: Sequence[Any] | None, server: Server
    ) -> Sequence[Any] | None:
        """Ask for fewer lines; a single one that is too long is stepped over, and named."""
        if self._page_size > 1:
            self._page_size = max(1, self._page_size // 8)
            return after or []
        body = self._body(pit, server, after=after, size=1) | {"_source": False, "fields": []}
        hits = hits_of(await self._api.search(body, None if pit else self._layout.index))
        if not hits:
            return None
        sort = _sort_of(hits[0])
        at = moment(sort[0])
        size = self._api.settings.response_bytes_max
        self._found.note(f"a line of {at} is left out: it has more than {size} bytes")
        self._found.looked_at += 1
        self._page_size = self._full_page
        return sort

    def _take(self, reading: Reading | None) -> None:
        found = self._found
        found.looked_at += 1
        if reading is None:
            found.unreadable += 1
        elif self._is_wanted(reading):
            if len(found.lines) >= self._limit:
                found.is_truncated = True
                return
            found.lines.append(reading.line)
            found.chars += len(reading.line.message)

    def _is_wanted(self, reading: Reading) -> bool:
        """Check what the server may have answered too generously."""
        query = self._query
        if LEVELS.index(reading.line.level) < LEVELS.index(query.minimum_level):
            return False
        trace = () if query.trace_id is None else (query.trace_id,)
        asked: Mapping[Role, Sequence[str]] = {
            "service": query.services,
            "host": query.hosts,
            "pod": query.pods,
            "trace": trace,
        }
        return all(
            not names or bool(set(names) & set(reading.names[role]))
            for role, names in asked.items()
            if any(field.kind in (Kind.TEXT, Kind.MIXED) for field in self._layout.of(role))
        )

    def _ended(self) -> Found:
        found = self._found
        if found.unreadable:
            found.note(f"{found.unreadable} documents without a readable time are left out")
        return found

    def _body(
        self,
        pit: str | None,
        server: Server,
        *,
        after: Sequence[Any] | None = None,
        size: int | None = None,
    ) -> dict[str, Any]:
        settings = self._api.settings
        body: dict[str, Any] = {
            "query": self._filter,
            "sort": self._sort(pit, server),
            "size": self._page_size if size is None else size,
            "_source": {"includes": self._sources()},
            "fields": self._wanted_fields(),
            "track_total_hits": False,
            "timeout": server_timeout(settings.timeout_s),
        }
        if pit is not None:
            body["pit"] = {"id": pit, "keep_alive": "1m"}
        if after:
            body["search_after"] = list(after)
        return body

    def _sort(self, pit: str | None, server: Server) -> list[dict[str, Any]]:
        stamp = self._layout.timestamp
        assert stamp is not None  # noqa: S101 - `run` leaves before, if there is none
        order: dict[str, Any] = {"order": "desc"}
        if len(stamp.types) > 1:
            order["numeric_type"] = "date_nanos"
        tie = [] if pit is None else [{server.tiebreaker: {"order": "asc"}}]
        return [{stamp.name: order}, *tie]

    def _sources(self) -> list[str]:
        """Texts are taken from the document itself: `fields` leaves out what is not indexed."""
        return [*self._layout.names["message"], *self._layout.names["stack"]]

    def _wanted_fields(self) -> list[Any]:
        roles: tuple[Role, ...] = ("level", "service", "host", "pod", "trace", "attributes")
        names = dict.fromkeys(field.name for role in roles for field in self._layout.of(role))
        stamp = self._layout.timestamp
        assert stamp is not None  # noqa: S101 - `run` leaves before, if there is none
        return [{"field": stamp.name, "format": "strict_date_optional_time_nanos"}, *names]


def server_timeout(timeout_s: float) -> str:
    """Return the server's own time limit, a little before ours, so that it can answer in part."""
    return f"{max(1, round(timeout_s * SERVER_TIME_SHARE * 1000))}ms"


def hits_of(reply: Mapping[str, Any]) -> list[Any]:
    """Return the hits of a reply; raises `ConnectorReplyInvalid`."""
    outer = reply.get("hits")
    hits = outer.get("hits") if isinstance(outer, Mapping) else None
    if not isinstance(hits, list):
        raise ConnectorReplyInvalid(
            NAME,
            "the reply to a search has no hits",
            hint="is the URL that of Elasticsearch or OpenSearch, in a supported version?",
        )
    return hits


def reply_gaps(reply: Mapping[str, Any]) -> list[str]:
    """Return what a search could not do: time, shards, other clusters."""
    gaps = []
    if reply.get("timed_out") is True:
        gaps.append("the query ran out of time on the server: lines are missing")
    shards = reply.get("_shards")
    if isinstance(shards, Mapping) and isinstance(shards.get("failed"), int) and shards["failed"]:
        gaps.append(
            f"{shards['failed']} of {shards.get('total')} shards failed{_why(shards)}: "
            "lines are missing"
        )
    clusters = reply.get("_clusters")
    if isinstance(clusters, Mapping) and clusters.get("skipped"):
        gaps.append(f"{clusters['skipped']} remote clusters were skipped: lines are missing")
    return gaps


def _why(shards: Mapping[str, Any]) -> str:
    failures = shards.get("failures")
    first = failures[0] if isinstance(failures, list) and failures else None
    reason = first.get("reason") if isinstance(first, Mapping) else None
    if not isinstance(reason, Mapping):
        return ""
    said = " ".join(str(reason.get("reason") or reason.get("type") or "").split())[:300]
    return f" ({said})" if said else ""


def _sort_of(hit: Any) -> list[Any]:
    sort = hit.get("sort") if isinstance(hit, Mapping) else None
    if not isinstance(sort, list) or not sort:
        raise ConnectorReplyInvalid(NAME, "a hit of a sorted search has no sort values")
    return sort
