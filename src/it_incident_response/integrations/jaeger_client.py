"""Reads traces, and who calls whom, from Jaeger's query service (the JSON API of its interface)."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import quote

from it_incident_response.domain.topology import Topology
from it_incident_response.domain.trace import Span
from it_incident_response.errors import ConnectorReplyInvalid
from it_incident_response.integrations._http import HttpClient, HttpRequest, Pairs
from it_incident_response.integrations.connector import Connector, ConnectorSettings
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import (
    Health,
    HealthCheck,
    TopologySource,
    TraceBatch,
    TraceQuery,
    TraceSource,
)

NAME = "jaeger"
SERVICES_ASKED = 10
"""Jaeger searches one service at a time; of more the first ones are asked."""
LIMIT_MAX = 1000
TEXT_MAX = 2_000
TAGS_MAX = 50


class JaegerSettings(ConnectorSettings):
    """Where Jaeger's query service is; port 16686 by default."""

    lookback_s: float = 3600.0
    """How far back calls between services are taken from."""


class JaegerClient:
    """One Jaeger; asynchronous."""

    def __init__(self, settings: JaegerSettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._clock = surroundings.clock
        self._http = HttpClient(NAME, settings, surroundings)

    async def check(self) -> Health:
        """List the services; raises `ConnectorError`."""
        found = await self._data("/api/services")
        return Health(detail=f"{len(found)} services")

    async def traces(self, query: TraceQuery) -> TraceBatch:
        """Return spans of whole traces, those with an error first; raises `ConnectorError`."""
        if query.trace_id is not None:
            path = f"/api/traces/{quote(query.trace_id, safe='')}"
            found = [await self._data(path)]
            return _batch(found, f"GET {path}", query, gaps=())
        services = query.services or tuple(str(s) for s in await self._data("/api/services"))
        asked = services[:SERVICES_ASKED]
        gaps: tuple[str, ...] = ()
        if len(services) > len(asked):
            gaps = (f"traces of {len(asked)} of {len(services)} services were read",)
        limit = str(max(1, min(LIMIT_MAX, query.limit // max(1, len(asked)))))
        windows = [_search(service, query, limit) for service in asked]
        failed = [(*pairs, ("tags", '{"error":"true"}')) for pairs in windows]
        answers = await asyncio.gather(
            *(self._data("/api/traces", pairs) for pairs in (*failed, *windows))
        )
        words = f"GET /api/traces of {', '.join(asked)} from {query.window.start.isoformat()}"
        return _batch(answers, words, query, gaps)

    async def topology(self) -> Topology:
        """Return who called whom lately; raises `ConnectorError`."""
        now = self._clock.now()
        pairs = (
            ("endTs", str(int(now.timestamp() * 1000))),
            ("lookback", str(int(self._settings.lookback_s * 1000))),
        )
        calls: dict[str, set[str]] = {}
        for item in await self._data("/api/dependencies", pairs):
            caller, called = item.get("parent"), item.get("child")
            if isinstance(caller, str) and isinstance(called, str) and caller != called:
                calls.setdefault(caller, set()).add(called)
        return Topology(calls={name: frozenset(called) for name, called in calls.items()})

    async def _data(self, path: str, params: Pairs = ()) -> list[Any]:
        """Return the list of `data`; raises `ConnectorReplyInvalid` if it is none of its kind."""
        reply = await self._http.json(HttpRequest("GET", path, params=params))
        data = reply.get("data", False) if isinstance(reply, Mapping) else False
        if data is None:
            return []
        kind = str if path == "/api/services" else Mapping
        if not isinstance(data, list) or not all(isinstance(item, kind) for item in data):
            raise ConnectorReplyInvalid(NAME, f"the reply to {path} has no list `data` as Jaeger's")
        return data

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _search(service: str, query: TraceQuery, limit: str) -> Pairs:
    return (
        ("service", service),
        ("start", str(int(query.window.start.timestamp() * 1e6))),
        ("end", str(int(query.window.end.timestamp() * 1e6))),
        ("limit", limit),
    )


def _batch(
    answers: list[list[Any]], words: str, query: TraceQuery, gaps: tuple[str, ...]
) -> TraceBatch:
    traces: dict[str, Mapping[str, Any]] = {}
    for answer in answers:
        for trace in answer:
            if isinstance(trace, Mapping):
                traces.setdefault(str(trace.get("traceID")), trace)
    kept = list(traces.values())[: query.limit]
    spans = [span for trace in kept for span in spans_of_jaeger(trace)]
    is_cut = len(traces) > len(kept)
    return TraceBatch(spans=tuple(spans), query=words, is_truncated=is_cut, gaps=gaps)


def spans_of_jaeger(trace: Mapping[str, Any]) -> list[Span]:
    """Return the spans of one trace as Jaeger's interface gets it, leaving out what is none."""
    processes = trace.get("processes")
    names = {
        str(key): str(value.get("serviceName") or "unknown")[:TEXT_MAX]
        for key, value in (processes.items() if isinstance(processes, Mapping) else ())
        if isinstance(value, Mapping)
    }
    raw = trace.get("spans")
    listed = raw if isinstance(raw, list) else []
    made = (_span(item, names) for item in listed if isinstance(item, Mapping))
    return [span for span in made if span is not None]


def _span(raw: Mapping[str, Any], names: Mapping[str, str]) -> Span | None:
    trace, own = raw.get("traceID"), raw.get("spanID")
    try:
        start = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(raw["startTime"]))
        duration_s = max(0.0, float(raw.get("duration") or 0) / 1e6)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not isinstance(trace, str) or not isinstance(own, str):
        return None
    tags = _tags(raw.get("tags"))
    is_error = tags.get("error", "").lower() == "true" or tags.get("otel.status_code") == "ERROR"
    return Span(
        trace_id=trace[:200],
        span_id=own[:200],
        parent_id=_parent(raw),
        service=names.get(str(raw.get("processID")), "unknown"),
        operation=str(raw.get("operationName") or "")[:TEXT_MAX],
        start=start,
        duration_s=duration_s,
        is_error=is_error,
        error=_error(raw, tags) if is_error else None,
        attributes=tags,
    )


def _parent(raw: Mapping[str, Any]) -> str | None:
    references = raw.get("references")
    for item in references if isinstance(references, list) else ():
        if isinstance(item, Mapping) and item.get("refType") == "CHILD_OF":
            return str(item.get("spanID"))[:200]
    return None


def _error(raw: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
    logs = raw.get("logs")
    for event in logs if isinstance(logs, list) else ():
        told = _tags(event.get("fields")) if isinstance(event, Mapping) else {}
        text = told.get("exception.message") or told.get("message") or told.get("error.object")
        if text:
            kind = told.get("exception.type")
            return f"{kind}: {text}" if kind else text
    return tags.get("otel.status_description") or tags.get("error.message")


def _tags(raw: Any) -> dict[str, str]:
    listed = raw[:TAGS_MAX] if isinstance(raw, list) else []
    return {
        str(item.get("key"))[:200]: ("true" if v is True else str(v))[:TEXT_MAX]
        for item in listed
        if isinstance(item, Mapping) and isinstance(v := item.get("value"), str | int | float)
    }


CONNECTOR = Connector(
    name=NAME,
    settings=JaegerSettings,
    capabilities=frozenset({TraceSource, TopologySource, HealthCheck}),
    make=JaegerClient,
)
