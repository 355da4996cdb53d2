"""Runs the application on a socket, inside a larger asyncio program."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from it_incident_response.config.settings import ServerSettings
from it_incident_response.errors import ConfigError
from it_incident_response.servers.auth import is_loopback, refuse_exposure

_log = logging.getLogger(__name__)

HEAD_BYTES_MAX = 65_536
HEAD_WITHIN_S = 10.0
_CONNECTIONS_MAX = 2000
_KEEP_ALIVE_S = 75
"""Longer than Alertmanager's usual group interval of a minute is idle."""
_GRACE_S = 10


@asynccontextmanager
async def serving(app: ASGIApp, settings: ServerSettings) -> AsyncIterator[str]:
    """Serve while the block lasts; yields the base URL, with the real port where 0 was asked for.

    Leaving the block stops accepting, lets running requests end (10 s), then returns. Raises
    `ConfigError` if the address is taken or not ours, the certificate is unusable, or anyone
    could post without credentials.
    """
    refuse_exposure(settings)
    tls = _tls_context(settings)
    listener = _bound(settings)
    server = _server(app, tls)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="receiver")
    try:
        running.add_done_callback(lambda _: server.accepting.set())
        await server.accepting.wait()
        yield _url(settings, listener)
    finally:
        server.should_exit = True
        await running


class _Server(uvicorn.Server):
    """Leaves signals to the program around it, and says when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _GuardedProtocol(HttpToolsProtocol):
    """Closes connections whose request head is too slow or too large.

    uvicorn bounds neither: idle or dripping clients would hold connections and memory for ever.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and self._is_between_requests():
            self._expect_head()
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._head_bytes > HEAD_BYTES_MAX:
            self._head_is_complete()
            self.send_400_response("Request head too large.")

    def on_headers_complete(self) -> None:
        self._head_is_complete()
        try:
            super().on_headers_complete()
        except (UnicodeDecodeError, httptools.HttpParserInvalidURLError) as error:
            raise httptools.HttpParserError("bad request target") from error

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _head_is_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


def _server(app: ASGIApp, tls: ssl.SSLContext | None) -> _Server:
    config = uvicorn.Config(
        app,
        http=_GuardedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    return _Server(config)


def _tls_context(settings: ServerSettings) -> ssl.SSLContext | None:
    cert_file, key_file = settings.tls.cert_file, settings.tls.key_file
    if cert_file is None or key_file is None:
        if settings.has_auth and not is_loopback(settings.host):
            _log.warning("credentials reach the receiver in clear text; set server.tls")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", "unusable")
        raise ConfigError(
            f"server.tls: {cert_file} and {key_file} cannot be used: {reason}",
            hint="both must be PEM files, the certificate of exactly this unencrypted key",
        ) from error
    return context


def _bound(settings: ServerSettings) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = addresses[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"the receiver cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            hint="set server.host and server.port to a free address of this machine (port 0: any)",
        ) from error
    return listener


def _url(settings: ServerSettings, listener: socket.socket) -> str:
    scheme = "https" if settings.tls.cert_file is not None else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"
