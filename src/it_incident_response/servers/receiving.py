"""From a request to a stored body: size, form and content are checked before anything is kept."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from it_incident_response.config.settings import ServerSettings
from it_incident_response.errors import InputRejected, StoreUnavailable
from it_incident_response.servers.auth import Authenticator
from it_incident_response.servers.counters import Counters
from it_incident_response.servers.intake import Intake, Reservation
from it_incident_response.servers.problem import Refusal, problem_response

_log = logging.getLogger(__name__)

Check = Callable[[bytes, datetime], int]
"""Checks a body completely, counts its alerts; raises `InputRejected` naming the field."""

_STORED = Response(b'{"status":"stored"}', media_type="application/json")
CHECK_IN_THREAD_BYTES = 200_000
"""Above it a body is checked in a thread, so that the small ones need not wait for it."""
DISCARD_BYTES_MAX = 100_000_000
DISCARD_WITHIN_S = 3.0
_RETRY_AFTER_S = "5"
_LENGTH_DIGITS_MAX = 15


class Receiving:
    """The endpoints that take alerts."""

    def __init__(
        self,
        intake: Intake,
        settings: ServerSettings,
        checks: Mapping[str, Check],
        counters: Counters,
    ) -> None:
        self._intake = intake
        self._settings = settings
        self._checks = checks
        self._counters = counters
        self._authenticator = Authenticator(settings)
        self._big_bodies = asyncio.Semaphore(1)

    async def receive(self, request: Request, source: str, media_types: frozenset[str]) -> Response:
        """Answer 200 once the body is durably stored, else a problem document."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            size_bytes = await self._take(request, source, media_types)
        except Refusal as refusal:
            await discard_body(request)
            response = self._refused(request, source, refusal)
        except ClientDisconnect:
            response = Response(status_code=400)  # Nobody reads it; nothing was acknowledged.
        except Exception as error:  # noqa: BLE001 - boundary: a server request
            # Neither message nor traceback: both can hold what the client sent.
            _log.error("source %s: request failed with %s", source, type(error).__name__)
            failure = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be handled")
            response = problem_response(failure)
        else:
            _log.debug("source %s: stored %d bytes", source, size_bytes)
            response = _STORED
        self._counters.request(source, response.status_code, loop.time() - begun)
        return response

    async def _take(self, request: Request, source: str, media_types: frozenset[str]) -> int:
        self._authenticator.check(request)
        check_form(request, media_types)
        with self._intake.reservation() as reservation:
            try:
                body = await read_body(
                    request,
                    reservation,
                    limit=self._settings.max_body_bytes,
                    within_s=self._settings.request_timeout_s,
                )
                count = await self._checked(source, body)
                await self._intake.accept(source, body)
            except StoreUnavailable as error:
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    error.message,
                    hint="nothing was stored; send it again",
                    headers={"retry-after": _RETRY_AFTER_S},
                ) from error
        self._counters.accepted(source, count, len(body))
        return len(body)

    async def _checked(self, source: str, body: bytes) -> int:
        check, now = self._checks[source], self._intake.clock.now()
        try:
            if len(body) <= CHECK_IN_THREAD_BYTES:
                return check(body, now)
            async with self._big_bodies:  # One at a time: checking takes 20 times its size.
                return await asyncio.to_thread(check, body, now)
        except InputRejected as error:
            detail, hint = error.message, error.hint
            raise Refusal(HTTPStatus.BAD_REQUEST, detail, hint=hint) from error

    @staticmethod
    def _refused(request: Request, source: str, refusal: Refusal) -> Response:
        client = request.client.host if request.client else "unknown"
        _log.warning(
            "source %s: refused a request from %s: %d %s",
            source,
            client,
            int(refusal.status),
            refusal.status.phrase,
        )
        # Of the body there may be more than was discarded: the connection cannot be used again.
        refusal.headers.setdefault("connection", "close")
        return problem_response(refusal)


async def read_body(
    request: Request, reservation: Reservation, *, limit: int, within_s: float
) -> bytes:
    """Return the body; raises `Refusal` if it is too large or too slow, `Overloaded`."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > _LENGTH_DIGITS_MAX or int(length) > limit):
        raise _too_large(limit)
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                size_bytes += len(chunk)
                if size_bytes > limit:
                    raise _too_large(limit)
                reservation.add(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        what = f"the body did not arrive within {within_s:g} s"
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, what) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def discard_body(request: Request) -> None:
    """Read what is left of the body and forget it, within bounds.

    A connection that is closed while its client still sends is reset, and many clients then report
    a broken connection instead of the answer. Who waits for `100 Continue` sends nothing.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return
    size_bytes = 0
    try:
        async with asyncio.timeout(DISCARD_WITHIN_S):
            async for chunk in request.stream():
                size_bytes += len(chunk)
                if size_bytes > DISCARD_BYTES_MAX:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return  # Late, gone, or read to its end already: the answer is sent in any case.


def check_form(request: Request, media_types: frozenset[str]) -> None:
    """Raise `Refusal` for another content type, or for a compressed body."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in media_types:
        accepted = " or ".join(sorted(media_types))
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the content type must be {accepted}",
            hint=f"send the header `Content-Type: {min(media_types)}`",
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "compressed bodies are not accepted",
            headers={"accept-encoding": "identity"},
        )


def _too_large(limit: int) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {limit:,} bytes",
        hint="send fewer alerts at a time (max_alerts of Alertmanager's webhook_config), or raise "
        "server.max_body",
    )
