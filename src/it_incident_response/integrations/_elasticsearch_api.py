"""The requests to Elasticsearch and OpenSearch that we make, through their official clients."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from it_incident_response.errors import ConnectorRejected, ConnectorReplyInvalid
from it_incident_response.integrations._elasticsearch_settings import NAME, ElasticsearchSettings
from it_incident_response.integrations._elasticsearch_transport import (
    elasticsearch_client,
    opensearch_client,
)
from it_incident_response.integrations._http import HttpClient, HttpRequest
from it_incident_response.ports.registry import Surroundings

PIT_KEEP_ALIVE = "1m"
"""How long a point in time is kept between two pages; a server frees it earlier if we close it."""
_WRONG_SYSTEM = "is the URL that of Elasticsearch or OpenSearch, in a supported version?"
_DRIFTED = (
    "a proxy may drop the X-Elastic-Product header, or it is another system: "
    "set distribution to elasticsearch or opensearch"
)

_LENIENT = {"ignore_unavailable": "true", "allow_no_indices": "true"}
_QUERY_LENGTH_MAX = 2000
"""Characters of field names in one request line, beside the index pattern."""

Document = dict[str, Any]


class _NeverRaised(Exception):
    """Stands for the Elasticsearch client's own error while that client is not loaded."""


@dataclass(frozen=True)
class Server:
    """Which of the two answers, and its version as (major, minor)."""

    distribution: str
    version: str | None = None

    @property
    def release(self) -> tuple[int, int]:
        """Return major and minor number; (0, 0) if unknown."""
        numbers = [int(part) for part in (self.version or "").split(".")[:2] if part.isdecimal()]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)

    @property
    def tiebreaker(self) -> str:
        """Return the field that orders documents of the same time within a point in time.

        `_shard_doc` is unique and cheap; OpenSearch has it from 3.3 on, before that `_id` serves.
        """
        is_old = self.distribution == "opensearch" and self.release < (3, 3)
        return "_id" if is_old else "_shard_doc"


class SearchApi:
    """Read-only access to one cluster."""

    def __init__(self, settings: ElasticsearchSettings, surroundings: Surroundings) -> None:
        self.settings = settings
        self.clock = surroundings.clock
        self._http = HttpClient(NAME, settings, surroundings)
        self._server: Server | None = None
        self._unsupported: type[Exception] = _NeverRaised
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    async def greeting(self) -> Server:
        """Ask which system and version it is (`GET /`).

        A key that may only read the logs may not ask that; then the version stays unknown, and the
        header that Elasticsearch sets on every reply tells the two apart.
        """
        try:
            reply = await self._http.json(HttpRequest("GET", "/"))
        except ConnectorRejected as error:
            if error.status not in (403, 404, 405):
                raise
            found, number = await self._by_header(), None
        else:
            found, number = self._introduced(reply)
        configured = self.settings.distribution
        self._server = Server(found if configured == "auto" else configured, number)
        return self._server

    async def server(self) -> Server:
        """Return which system it is, asked at most once."""
        if self._server is None and self.settings.distribution == "elasticsearch":
            self._server = Server("elasticsearch")
        return self._server or await self.greeting()

    def _introduced(self, reply: Any) -> tuple[str, str]:
        version = reply.get("version") if isinstance(reply, dict) else None
        if not isinstance(version, dict) or not isinstance(version.get("number"), str):
            raise self._misshapen("the reply to / names no version", _WRONG_SYSTEM)
        is_opensearch = version.get("distribution") == "opensearch"
        return "opensearch" if is_opensearch else "elasticsearch", version["number"][:40]

    async def _by_header(self) -> str:
        path = f"/{quote(self.settings.index_pattern, safe='')}/_field_caps"
        params = (("fields", "@timestamp"), *_LENIENT.items())
        reply = await self._http.reply(HttpRequest("GET", path, params=params))
        is_elastic = reply.headers.get("x-elastic-product") == "Elasticsearch"
        return "elasticsearch" if is_elastic else "opensearch"

    async def field_caps(self, index: str, fields: Sequence[str]) -> Document:
        """Return how each field is mapped in which index; `indices` is empty if none matches."""
        parts = await self._field_caps(index, fields)
        merged: Document = {}
        for part in parts:
            given = part.get("fields")
            if not isinstance(given, dict) or not isinstance(part.get("indices"), list):
                raise self._misshapen("the reply to _field_caps names no fields", _WRONG_SYSTEM)
            merged |= given
        return {"indices": parts[0]["indices"], "fields": merged}

    async def _field_caps(self, index: str, fields: Sequence[str]) -> Sequence[Document]:
        """Ask once, or for OpenSearch, which takes the names in the request line, in parts."""
        client = await self._client()
        flags = {"include_unmapped": "true"} | _LENIENT

        async def asked(part: str) -> Document:
            params = {"fields": part} | flags
            return await self._asked(lambda: client.field_caps(index=index, params=params))

        if await self._is_opensearch():
            return await asyncio.gather(*(asked(part) for part in _parts(fields)))
        names = list(fields)
        return [await self._asked(lambda: client.field_caps(index=index, fields=names, **flags))]

    async def search(self, body: Mapping[str, Any], index: str | None) -> Document:
        """Run a search; `index` is None where the body names a point in time."""
        client = await self._client()
        flags: dict[str, Any] = {"allow_partial_search_results": "true"}
        flags |= {} if index is None else _LENIENT
        sent = dict(body)
        if await self._is_opensearch():
            return await self._asked(lambda: client.search(body=sent, index=index, params=flags))
        return await self._asked(lambda: client.search(body=sent, index=index, **flags))

    async def open_pit(self, index: str) -> str:
        """Freeze what the indices hold now, for several pages; the id may be long."""
        client = await self._client()
        if await self._is_opensearch():
            params = {"keep_alive": PIT_KEEP_ALIVE, "allow_partial_pit_creation": "true"}
            reply = await self._asked(lambda: client.create_pit(index=index, params=params))
            return self._text(reply, "pit_id")
        reply = await self._asked(
            lambda: client.open_point_in_time(
                index=index, keep_alive=PIT_KEEP_ALIVE, ignore_unavailable=True
            )
        )
        return self._text(reply, "id")

    async def close_pit(self, pit: str) -> None:
        """Free a point in time; raises `ConnectorError`."""
        client = await self._client()
        if await self._is_opensearch():
            await self._asked(lambda: client.delete_pit(body={"pit_id": [pit]}))
        else:
            await self._asked(lambda: client.close_point_in_time(id=pit))

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        self._clients.pop(asyncio.get_running_loop(), None)
        await self._http.aclose()

    async def _is_opensearch(self) -> bool:
        return (await self.server()).distribution == "opensearch"

    async def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = await self._new_client()
        return client

    async def _new_client(self) -> Any:
        if await self._is_opensearch():
            return await opensearch_client(self._http)
        client = await elasticsearch_client(self._http)
        from elasticsearch import UnsupportedProductError

        self._unsupported = UnsupportedProductError
        return client

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Document:
        """Return the reply as a plain object; the clients' own errors become ours.

        Ours pass through the clients untouched; what is left are replies they cannot read.
        """
        try:
            reply = await ask()
        except ValueError as error:  # broken JSON, from `decoded`
            raise self._misshapen(
                f"a reply is broken or truncated JSON: {error}",
                "check the URL, and any proxy that may cut answers short",
            ) from None
        except self._unsupported:
            raise self._misshapen("it does not say that it is Elasticsearch", _DRIFTED) from None
        body = getattr(reply, "body", reply)
        if not isinstance(body, dict):
            raise self._misshapen("a reply is no JSON object", _WRONG_SYSTEM)
        return body

    def _text(self, reply: Document, key: str) -> str:
        if not isinstance(reply.get(key), str):
            raise self._misshapen(f"the reply has no {key!r}", _WRONG_SYSTEM)
        text: str = reply[key]
        return text

    def _misshapen(self, problem: str, hint: str) -> ConnectorReplyInvalid:
        return ConnectorReplyInvalid(NAME, self._http.replies.scrub(problem), hint=hint)


def _parts(names: Sequence[str]) -> list[str]:
    """Return the names joined, in parts that fit into a request line of 4,096 bytes."""
    parts: list[str] = []
    for name in names:
        joined = f"{parts[-1]},{name}" if parts else name
        if parts and len(quote(joined)) <= _QUERY_LENGTH_MAX:
            parts[-1] = joined
        else:
            parts.append(name)
    return parts
