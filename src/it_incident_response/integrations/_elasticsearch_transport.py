"""Lets both official clients travel over our own HTTP: its limits, retries, TLS and errors."""

import asyncio
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from it_incident_response.errors import ConfigError
from it_incident_response.integrations._elasticsearch_settings import NAME
from it_incident_response.integrations._http import HttpClient, HttpRequest
from it_incident_response.integrations._replies import HttpReply

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch
    from opensearchpy import AsyncOpenSearch

_NOWHERE = "http://localhost:9200"
"""The clients want an address; it is never used, since `HttpClient` knows the real one."""
_SENT_HEADERS = ("accept", "content-type", "x-elastic-client-meta")


async def elasticsearch_client(http: HttpClient) -> "AsyncElasticsearch":
    """Return the official Elasticsearch client; raises `ConfigError` if it is not installed."""
    module = await _loaded("elasticsearch", "elasticsearch")
    transport = await _loaded("elastic_transport", "elasticsearch")
    serializers = {
        mimetype: _json_serializer(transport.JsonSerializer)()
        for mimetype in ("application/json", "application/vnd.elasticsearch+json")
    }
    client: AsyncElasticsearch = module.AsyncElasticsearch(
        _NOWHERE,
        node_class=_node_class(transport, http),
        serializers=serializers,
        max_retries=0,
        retry_on_status=(),
    )
    return client


async def opensearch_client(http: HttpClient) -> "AsyncOpenSearch":
    """Return the official OpenSearch client; raises `ConfigError` if it is not installed."""
    module = await _loaded("opensearchpy", "opensearch")
    client: AsyncOpenSearch = module.AsyncOpenSearch(
        _NOWHERE,
        connection_class=_connection_class(module, http),
        serializer=_json_serializer(module.JSONSerializer)(),
        max_retries=0,
        retry_on_status=(),
    )
    return client


async def _loaded(name: str, extra: str) -> ModuleType:
    """Import in a thread: a first import takes more than a second, which would block the loop."""
    try:
        return await asyncio.to_thread(importlib.import_module, name)
    except ImportError as error:
        raise ConfigError(
            f"{NAME}: the package {name!r} is not installed",
            hint=f"pip install 'it-incident-response[{extra}]'",
        ) from error


def _node_class(transport: ModuleType, http: HttpClient) -> type:
    base: Any = transport.BaseAsyncNode

    class Node(base):  # type: ignore[misc] # the base is only known once it is imported
        """Hands each request of elasticsearch-py to `HttpClient`."""

        _CLIENT_META_HTTP_CLIENT = ("hx", "0")

        async def perform_request(
            self,
            method: str,
            target: str,
            body: bytes | None = None,
            headers: Mapping[str, str] | None = None,
            request_timeout: Any = None,
        ) -> Any:
            reply = await _send(http, method, target, body, headers)
            meta = transport.ApiResponseMeta(
                status=reply.status,
                http_version="1.1",
                headers=transport.HttpHeaders(_kept(reply)),
                duration=0.0,
                node=self.config,
            )
            return transport.TransportApiResponse(meta, reply.body)

        async def close(self) -> None:
            """Do nothing: the connections are `HttpClient`'s."""

    return Node


def _connection_class(module: ModuleType, http: HttpClient) -> type:
    base: Any = module.AsyncConnection

    class Connection(base):  # type: ignore[misc] # the base is only known once it is imported
        """Hands each request of opensearch-py to `HttpClient`."""

        async def perform_request(  # noqa: PLR0913 - the client's own signature
            self,
            method: str,
            url: str,
            params: Mapping[str, Any] | None = None,
            body: bytes | None = None,
            timeout: Any = None,
            ignore: Any = (),
            headers: Mapping[str, str] | None = None,
        ) -> Any:
            target = f"{url}?{urlencode(params)}" if params else url
            sent = {**self.headers, **(headers or {})}
            reply = await _send(http, method, target, body, sent)
            return reply.status, _kept(reply), reply.body.decode("utf-8", "replace")

        async def close(self) -> None:
            """Do nothing: the connections are `HttpClient`'s."""

    return Connection


async def _send(
    http: HttpClient,
    method: str,
    target: str,
    body: bytes | str | None,
    headers: Mapping[str, str] | None,
) -> HttpReply:
    parts = urlsplit(target)
    request = HttpRequest(
        method,
        parts.path,
        params=parse_qsl(parts.query, keep_blank_values=True),
        content=body.encode("utf-8", "replace") if isinstance(body, str) else body,
        headers={k: v for k, v in (headers or {}).items() if k.lower() in _SENT_HEADERS},
    )
    return await http.reply(request)


def _kept(reply: HttpReply) -> dict[str, str]:
    """Return what the clients look at; they print every `Warning` header, which we do not want.

    The type is always JSON's: what is not JSON fails to decode, and that says more than the
    clients' complaint about the type.
    """
    product = reply.headers.get("x-elastic-product")
    kept = {"content-type": "application/json"}
    return kept if product is None else kept | {"x-elastic-product": product}


def _json_serializer(base: type) -> Any:
    class Json(base):  # type: ignore[misc] # either client's own serializer class
        """Reads replies fast; writes as the client does."""

        def loads(self, data: bytes | str, *_: Any) -> Any:
            return decoded(data)

    return Json


def decoded(data: bytes | str) -> Any:
    """Return the JSON of a reply, None if it is empty; raises `ValueError`.

    Invalid UTF-8 and lone surrogates, which log shippers let through, become U+FFFD: one bad
    document must not cost the page.
    """
    if not data.strip():
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        return _whole(orjson.loads(text) if "\\ud" not in text.lower() else _tolerant(text))


def _tolerant(text: str) -> Any:
    import json

    return json.loads(text, parse_constant=lambda _: None)


def _whole(value: Any) -> Any:
    """Return the value without lone surrogates, which no database or terminal takes."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value
