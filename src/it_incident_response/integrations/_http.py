"""The one place that speaks HTTP: time limits, retries, circuit breaker, auth, TLS, errors."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies
from weakref import WeakKeyDictionary

from it_incident_response.errors import (
    ConnectorError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations._breaker import CircuitBreaker
from it_incident_response.integrations._replies import HttpReply, M, ReplyReader
from it_incident_response.integrations._tls import tls_context
from it_incident_response.integrations.connector import ConnectorSettings
from it_incident_response.ports.registry import Surroundings

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

RETRY_PAUSE_S = 0.2
"""Mean of the first pause; the later ones double, with full jitter so that clients spread out."""
RETRY_PAUSE_MAX_S = 3.0
RETRY_AFTER_MAX_S = 10.0
"""A system that asks for a longer pause is reported at once instead of being waited for."""
_USER_AGENT = "it-incident-response"

Pairs = Sequence[tuple[str, str]]


class ReplyTooLong(ConnectorReplyInvalid):
    """The reply has more bytes than `response_bytes_max`; asking for less may help."""


@dataclass(frozen=True)
class HttpRequest:
    """One request below the base URL."""

    method: str
    path: str
    params: Pairs = ()
    form: Pairs = ()
    json: Any = None
    content: bytes | None = None
    """A body that is already written, in place of `form` and `json`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of this request only, such as `Content-Type` of `content`; they win over ours."""
    is_repeatable: bool = True
    """False if sending it twice does something twice: such a request is never retried."""


class HttpClient:
    """Requests to one outside system; usable from any event loop, each with its own pool."""

    def __init__(
        self, connector: str, settings: ConnectorSettings, surroundings: Surroundings
    ) -> None:
        self.replies = ReplyReader(connector, settings.secrets())
        self._connector = connector
        self._settings = settings
        self._clock = surroundings.clock
        self._transport: httpx.AsyncBaseTransport | None = surroundings.transport
        self._breaker = CircuitBreaker()
        self._tls: ssl.SSLContext | None = None
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = WeakKeyDictionary()

    async def json(self, request: HttpRequest) -> Any:
        """Send a request and return the JSON of its answer, None if it is empty.

        Raises `ConnectorUnavailable`, `ConnectorRejected` or `ConnectorReplyInvalid`.
        """
        return self.replies.decoded(await self.reply(request))

    async def reply(self, request: HttpRequest) -> HttpReply:
        """Send a request and return its successful answer as it came; raises as `json` does."""
        now = self._clock.now()
        if not self._breaker.admit(now):
            raise ConnectorUnavailable(
                self._connector,
                f"not asked: the last {self._breaker.failures} requests failed",
                hint=f"it is tried again in {self._breaker.wait_s(now):.0f} s",
            )
        try:
            answer = await self._repeated(request)
        except ConnectorUnavailable:
            self._breaker.failed(self._clock.now())
            raise
        except ConnectorError:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return answer

    async def model(self, request: HttpRequest, model: type[M]) -> M:
        """Like `json`, read as a wire model; a wrong shape is `ConnectorReplyInvalid`."""
        return self.replies.read(await self.json(request), model, f"the reply to {request.path}")

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        kept = self._kept.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.keeper.aclose()

    async def _repeated(self, request: HttpRequest) -> HttpReply:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        attempts = self._settings.attempts if request.is_repeatable else 1
        retrying = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(attempts),
            wait=_pause_s,
            retry=retry_if_exception(_is_worth_repeating),
            reraise=True,
        )
        return await retrying(self._attempt, request)

    async def _attempt(self, request: HttpRequest) -> HttpReply:
        with self._translated(request):
            async with asyncio.timeout(self._settings.timeout_s):
                reply = await self._exchange(request)
        self.replies.require_success(reply, self._clock.now())
        return reply

    async def _exchange(self, request: HttpRequest) -> HttpReply:
        client = await self._client()
        sent = client.build_request(
            request.method,
            f"{self._settings.url}{request.path}",
            params=list(request.params) or None,
            data=dict(request.form) or None,
            json=request.json,
            content=request.content,
            headers=request.headers,
            extensions=self._extensions(),
        )
        response = await client.send(sent, stream=True)
        try:
            body = await self._bounded_body(request, response)
        finally:
            await response.aclose()
        about = f"{request.method} {request.path}"
        return HttpReply(about, response.status_code, response.headers, body)

    async def _bounded_body(self, request: HttpRequest, response: "httpx.Response") -> bytes:
        import httpx

        chunks, size = [], 0
        try:
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._settings.response_bytes_max:
                    raise self._too_long(request)
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise ConnectorReplyInvalid(
                self._connector,
                self.replies.scrub(f"the reply to {request.path} broke off: {error}"),
                hint="the server, or a proxy before it, closed the connection too early",
            ) from None
        return b"".join(chunks)

    def _extensions(self) -> dict[str, str] | None:
        name = self._settings.server_name
        return None if name is None else {"sni_hostname": name}

    def _too_long(self, request: HttpRequest) -> "ReplyTooLong":
        return ReplyTooLong(
            self._connector,
            f"the reply to {request.path} is longer than {self._settings.response_bytes_max} bytes",
            hint="ask for less, or raise response_bytes_max",
        )

    async def _client(self) -> "httpx.AsyncClient":
        loop = asyncio.get_running_loop()
        kept = self._kept.get(loop)
        if kept is None:
            client = self._new_client()
            keeper = _closing_with_the_loop(client)
            self._kept[loop] = kept = _Kept(client, keeper)
            await anext(keeper)
        return kept.client

    def _new_client(self) -> "httpx.AsyncClient":
        import httpx

        settings = self._settings
        if self._tls is None and (settings.url.startswith("https:") or getproxies()):
            self._tls = tls_context(self._connector, settings)
        auth = None
        if settings.username is not None and settings.password is not None:
            auth = httpx.BasicAuth(settings.username, settings.password.get_secret_value())
        return httpx.AsyncClient(
            headers=_headers(settings),
            auth=auth,
            timeout=settings.timeout_s,
            verify=self._tls if self._tls is not None else False,
            transport=self._transport,
            follow_redirects=False,
        )

    @contextlib.contextmanager
    def _translated(self, request: HttpRequest) -> Iterator[None]:
        import httpx

        try:
            yield
        except (TimeoutError, httpx.TimeoutException):
            raise self._unavailable(
                request, f"gave no answer within {self._settings.timeout_s:g} s"
            ) from None
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ConnectorRejected(
                    self._connector,
                    self.replies.scrub(f"its certificate is not trusted: {error}"),
                    hint="set ca_file to the authority that signed it",
                ) from None
            reason = self.replies.scrub(str(error)) or type(error).__name__
            raise self._unavailable(request, f"cannot be reached: {reason}") from None
        except ssl.SSLError as error:
            # A server that wants a client certificate says so only after TLS 1.3's handshake, while
            # the reply is read; that error comes through httpx as it is.
            raise ConnectorRejected(
                self._connector,
                self.replies.scrub(f"it broke off the encrypted connection: {error}"),
                hint="if it asks for a client certificate, set cert_file and key_file",
            ) from None
        except httpx.DecodingError as error:
            raise ConnectorReplyInvalid(
                self._connector,
                self.replies.scrub(f"the reply to {request.path} is garbled: {error}"),
            ) from None

    def _unavailable(self, request: HttpRequest, problem: str) -> ConnectorUnavailable:
        return ConnectorUnavailable(
            self._connector,
            f"{self._settings.url} {problem} ({request.method} {request.path})",
            hint="is it running, and is the address right as seen from this machine?",
        )


@dataclass(frozen=True)
class _Kept:
    client: "httpx.AsyncClient"
    keeper: AsyncGenerator[None, None]


async def _closing_with_the_loop(client: "httpx.AsyncClient") -> AsyncGenerator[None, None]:
    """Close the client at the latest when its event loop shuts down its generators.

    `asyncio.run` does that at its end; so no connection outlives a loop that was made for one
    synchronous call.
    """
    try:
        yield
    finally:
        await client.aclose()


def _headers(settings: ConnectorSettings) -> Mapping[str, str]:
    headers = {"User-Agent": _USER_AGENT, "Accept": "application/json"}
    headers |= {name: value.get_secret_value() for name, value in settings.headers.items()}
    if settings.bearer_token is not None:
        token = settings.bearer_token.get_secret_value()
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _is_worth_repeating(error: BaseException) -> bool:
    if not isinstance(error, ConnectorUnavailable):
        return False
    return error.retry_after_s is None or error.retry_after_s <= RETRY_AFTER_MAX_S


def _pause_s(state: "RetryCallState") -> float:
    """Return what the server asked for, else an exponential pause with full jitter."""
    from tenacity import wait_random_exponential

    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, ConnectorUnavailable) else None
    jittered = wait_random_exponential(multiplier=2 * RETRY_PAUSE_S, max=RETRY_PAUSE_MAX_S)(state)
    return jittered if asked is None else asked + min(jittered, 1.0)
