"""Carries the SDK's requests: time limits, TLS, a path before the API, bounded answers."""

import io
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from it_incident_response.errors import (
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations._replies import HttpReply, ReplyReader
from it_incident_response.integrations._splunk_settings import NAME, SplunkSettings
from it_incident_response.integrations._tls import tls_context
from it_incident_response.ports.registry import Surroundings

if TYPE_CHECKING:
    import httpx

_LINE_BYTES_MAX = 64 * 1024 * 1024
"""One event of an export; Splunk's own `TRUNCATE` is 10,000 bytes unless it was raised."""


class Budget:
    """How long one search may take, and whether anybody still waits for it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._abandoned = threading.Event()

    @property
    def left_s(self) -> float:
        """Seconds left; 0 once it is used up or abandoned."""
        return 0.0 if self._abandoned.is_set() else max(0.0, self._end - time.monotonic())

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._abandoned.set()

    def pause(self, seconds: float) -> None:
        """Wait so long at most; returns at once when it is abandoned."""
        self._abandoned.wait(min(seconds, self.left_s))

    def check(self) -> None:
        """Raise `ConnectorUnavailable` if there is no time left."""
        if self.left_s <= 0:
            raise ConnectorUnavailable(
                NAME,
                f"the search was not finished within {self.seconds:g} s and was cancelled",
                hint="ask for less, or raise infrastructure.logging.splunk.search_timeout",
            )


class Transport:
    """What the SDK calls for each request, on httpx; one for all threads.

    The SDK's own one has no time limit, verifies no certificate unless told to, and knows no path
    before `/services`.
    """

    def __init__(self, settings: SplunkSettings, surroundings: Surroundings) -> None:
        self.replies = ReplyReader(NAME, settings.secrets())
        self.response_bytes_max = settings.response_bytes_max
        self._settings = settings
        self._clock = surroundings.clock
        self._given = surroundings.transport
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._of_thread = threading.local()

    def within(self, budget: Budget) -> None:
        """Let the requests of this thread take what is left of `budget`."""
        self._of_thread.budget = budget

    @property
    def asked(self) -> str:
        """The newest request of this thread, for messages."""
        return str(getattr(self._of_thread, "about", "a request"))

    def __call__(self, url: str, message: Mapping[str, Any], **_: object) -> dict[str, Any]:
        """Send one request and return the answer in the SDK's form."""
        budget: Budget = self._of_thread.budget
        budget.check()
        parts = urlsplit(url)
        about = self._of_thread.about = f"{message['method']} {parts.path}"
        target = f"{self._settings.url}{parts.path}{f'?{parts.query}' if parts.query else ''}"
        response = self._send(about, target, message, budget)
        if 300 <= response.status_code < 400:
            try:
                reply = HttpReply(about, response.status_code, response.headers, b"")
                self.replies.json(reply, self._clock.now())
            finally:
                response.close()
        is_stream = parts.path.endswith("/export") and response.status_code == 200
        body = Stream(self, about, response, budget)
        return {
            "status": response.status_code,
            "reason": response.reason_phrase,
            "headers": list(response.headers.items()),
            "body": body if is_stream else io.BytesIO(body.read()),
        }

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _send(
        self, about: str, target: str, message: Mapping[str, Any], budget: Budget
    ) -> "httpx.Response":
        import httpx

        client = self._opened()
        client.cookies.clear()  # the SDK keeps and sends its own
        limit_s = max(0.05, min(self._settings.timeout_s, budget.left_s))
        if about.startswith("POST"):  # a search answers when it has something to say
            limit_s = max(0.05, budget.left_s)
        request = client.build_request(
            message["method"],
            target,
            headers=[*self._headers(), *message["headers"]],
            content=message.get("body") or None,
            timeout=limit_s,
            extensions=self._extensions(limit_s),
        )
        if message.get("body") and "content-type" not in request.headers:
            request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            return client.send(request, stream=True)
        except (httpx.HTTPError, OSError) as error:
            raise self.failure(about, error, limit_s) from None

    def failure(
        self, about: str, error: Exception, limit_s: float, *, has_answered: bool = False
    ) -> Exception:
        """Return the `ConnectorError` that a failed exchange means."""
        import httpx

        said = self.replies.scrub(str(error)) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return self._unavailable(about, f"gave no answer within {limit_s:.3g} s")
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return ConnectorRejected(
                NAME,
                f"its certificate is not trusted: {said}",
                hint="set ca_file to the authority that signed it; Splunk's own default "
                "certificate is signed by one that everybody has, so it proves nothing",
            )
        if isinstance(error, ssl.SSLError):
            return ConnectorRejected(
                NAME,
                f"it broke off the encrypted connection: {said}",
                hint="if it asks for a client certificate, set cert_file and key_file",
            )
        if has_answered or isinstance(error, httpx.DecodingError):
            return ConnectorReplyInvalid(NAME, f"the reply to {about} broke off: {said}")
        return self._unavailable(about, f"cannot be reached: {said}")

    def _unavailable(self, about: str, problem: str) -> ConnectorUnavailable:
        return ConnectorUnavailable(
            NAME,
            f"{self._settings.url} {problem} ({about})",
            hint="is it running, and is the address that of its management port?",
        )

    def _headers(self) -> list[tuple[str, str]]:
        given = self._settings.headers.items()
        return [(name, value.get_secret_value()) for name, value in given]

    def _extensions(self, limit_s: float) -> dict[str, Any]:
        name = self._settings.server_name
        times = dict.fromkeys(("connect", "read", "write", "pool"), limit_s)
        return {"timeout": times} | ({} if name is None else {"sni_hostname": name})

    def _opened(self) -> "httpx.Client":
        import httpx

        with self._lock:
            if self._client is None:
                has_tls = self._settings.url.startswith("https:") or bool(getproxies())
                self._client = httpx.Client(
                    verify=tls_context(NAME, self._settings) if has_tls else False,
                    transport=self._given,
                    follow_redirects=False,
                    headers={"User-Agent": "it-incident-response"},
                )
            return self._client


class Stream:
    """The body of an answer, read as it comes; stops when its time is over."""

    def __init__(
        self, transport: Transport, about: str, response: "httpx.Response", budget: Budget
    ) -> None:
        self._transport = transport
        self._about = about
        self._response = response
        self._budget = budget

    def read(self, size: int | None = None) -> bytes:
        """Return the whole body; raises `ConnectorReplyInvalid` if it is longer than allowed."""
        bound = self._transport.response_bytes_max
        chunks, length = [], 0
        for chunk in self._chunks():
            chunks.append(chunk)
            length += len(chunk)
            if length > bound:
                raise ConnectorReplyInvalid(
                    NAME,
                    f"the reply to {self._about} is longer than {bound} bytes",
                    hint="ask for less, or raise response_bytes_max",
                )
        return b"".join(chunks)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body as they come, without empty ones."""
        rest = b""
        for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
            if len(rest) > _LINE_BYTES_MAX:
                raise ConnectorReplyInvalid(NAME, f"a line of {self._about} has no end")
        if rest.strip():
            yield rest

    def close(self) -> None:
        """Close the connection: Splunk ends an export nobody reads."""
        self._response.close()

    def _chunks(self) -> Iterator[bytes]:
        import httpx

        try:
            for chunk in self._response.iter_bytes():
                self._budget.check()
                yield chunk
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            limit_s = self._budget.seconds
            raise self._transport.failure(self._about, error, limit_s, has_answered=True) from None
        finally:
            self._response.close()
