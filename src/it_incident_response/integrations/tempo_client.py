"""Reads traces from Grafana Tempo: TraceQL finds them, OTLP-JSON brings them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

from it_incident_response.domain.trace import Span
from it_incident_response.errors import ConnectorError, ConnectorRejected, ConnectorReplyInvalid
from it_incident_response.integrations._http import HttpClient, HttpRequest
from it_incident_response.integrations._otlp import spans_of_otlp
from it_incident_response.integrations.connector import Connector, ConnectorSettings
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import (
    Health,
    HealthCheck,
    TraceBatch,
    TraceQuery,
    TraceSource,
)

NAME = "tempo"
FETCHED_AT_ONCE = 8
TRACES_MAX = 100
"""Whole traces are fetched one by one: more of them are no evidence but a burden."""


class TempoSettings(ConnectorSettings):
    """Where Tempo's query frontend is; port 3200 by default. Tenants by `X-Scope-OrgID`."""


class TempoClient:
    """One Tempo; asynchronous."""

    def __init__(self, settings: TempoSettings, surroundings: Surroundings) -> None:
        self._http = HttpClient(NAME, settings, surroundings)

    async def check(self) -> Health:
        """Ask for the build; raises `ConnectorError`."""
        reply = await self._http.json(HttpRequest("GET", "/api/status/buildinfo"))
        version = reply.get("version") if isinstance(reply, Mapping) else None
        if not isinstance(version, str):
            raise ConnectorReplyInvalid(NAME, "the reply to /api/status/buildinfo has no version")
        return Health(version=version)

    async def traces(self, query: TraceQuery) -> TraceBatch:
        """Return spans of whole traces, the failed ones first; raises `ConnectorError`."""
        if query.trace_id is not None:
            spans = await self._trace(query.trace_id)
            return TraceBatch(spans=tuple(spans), query=f"trace {query.trace_id}")
        limit = max(1, min(TRACES_MAX, query.limit))
        services = traceql(query.services)
        failed = f"{{ {services + ' && ' if services else ''}status = error }}"
        found, gaps = await self._search(failed, query, limit)
        if len(found) < limit:
            more, missing = await self._search(f"{{ {services or 'true'} }}", query, limit)
            found, gaps = list(dict.fromkeys([*found, *more])), [*gaps, *missing]
        chosen = found[:limit]
        spans, lost = await self._fetched(chosen)
        return TraceBatch(
            spans=tuple(spans),
            query=failed,
            is_truncated=len(found) > len(chosen),
            gaps=tuple(dict.fromkeys([*gaps, *lost])),
        )

    async def _search(
        self, traceql_query: str, query: TraceQuery, limit: int
    ) -> tuple[list[str], list[str]]:
        pairs = (
            ("q", traceql_query),
            ("start", str(int(query.window.start.timestamp()))),
            ("end", str(int(query.window.end.timestamp()) + 1)),
            ("limit", str(limit)),
        )
        reply = await self._http.json(HttpRequest("GET", "/api/search", params=pairs))
        if not isinstance(reply, Mapping) or not reply.keys() & {"traces", "metrics"}:
            raise ConnectorReplyInvalid(NAME, "the reply to /api/search is no search's")
        listed = reply.get("traces") or []
        if not isinstance(listed, list):
            raise ConnectorReplyInvalid(NAME, "the reply to /api/search has no list of traces")
        ids = [item.get("traceID") for item in listed if isinstance(item, Mapping)]
        return [name for name in ids if isinstance(name, str)], _partial(reply)

    async def _fetched(self, traces: list[str]) -> tuple[list[Span], list[str]]:
        """Return the spans of the traces, and why some are missing."""
        gate = asyncio.Semaphore(FETCHED_AT_ONCE)

        async def fetch(trace: str) -> list[Span] | str:
            async with gate:
                try:
                    return await self._trace(trace)
                except ConnectorError as error:
                    return f"a trace could not be fetched: {error.message}"

        spans: list[Span] = []
        lost: list[str] = []
        for answer in await asyncio.gather(*(fetch(trace) for trace in traces)):
            if isinstance(answer, str):
                lost.append(answer)
            else:
                spans += answer
        return spans, lost

    async def _trace(self, trace: str) -> list[Span]:
        name = quote(trace, safe="")
        try:
            reply = await self._http.json(HttpRequest("GET", f"/api/v2/traces/{name}"))
        except ConnectorRejected:
            # Before Tempo 2.7 there was only the first version of this call.
            reply = await self._http.json(HttpRequest("GET", f"/api/traces/{name}"))
        return list(spans_of_otlp(reply))

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def traceql(services: tuple[str, ...]) -> str:
    """Return the TraceQL condition that a span is of one of the services; empty for none."""
    names = [
        'resource.service.name = "{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))
        for name in services
        if name.isprintable()
    ]
    return f"({' || '.join(names)})" if names else ""


def _partial(reply: Any) -> list[str]:
    status = reply.get("status") if isinstance(reply, Mapping) else None
    if status in ("PARTIAL", 1) or isinstance(reply, Mapping) and reply.get("partial"):
        return ["tempo answered in part"]
    return []


CONNECTOR = Connector(
    name=NAME,
    settings=TempoSettings,
    capabilities=frozenset({TraceSource, HealthCheck}),
    make=TempoClient,
)
