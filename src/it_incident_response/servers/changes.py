"""Deploys and other changes by webhook: who sends them is proven as each sender can prove it."""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus

import orjson
from pydantic import SecretStr
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from it_incident_response.config.settings import ServerSettings
from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected, StoreUnavailable
from it_incident_response.integrations.change_payloads import SENDERS, ServiceNames, read_posted
from it_incident_response.ports import ChangeStore
from it_incident_response.servers.auth import Authenticator
from it_incident_response.servers.counters import Counters
from it_incident_response.servers.intake import Intake
from it_incident_response.servers.problem import Refusal, problem_response
from it_incident_response.servers.receiving import (
    CHECK_IN_THREAD_BYTES,
    check_form,
    discard_body,
    read_body,
)

_log = logging.getLogger(__name__)

PATH = "/api/v1/changes/"
BODY_BYTES_MAX = 5_000_000
"""A push of 2,048 commits, the most that GitHub lists, stays below it."""
_STORED_WITHIN_S = 20.0
_RETRY_AFTER_S = "5"
_JSON = frozenset({"application/json"})
_MEDIA_TYPES: Mapping[str, frozenset[str]] = {"generic": _JSON | {"application/x-ndjson"}}


@dataclass(frozen=True)
class ChangeDoor:
    """Where posted changes go, and how their senders prove who they are."""

    store: ChangeStore
    names: ServiceNames = field(default_factory=ServiceNames)
    secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    """By sender: `github`, `gitlab`, `flags`; a sender without one needs the server's own auth."""


class ChangeReceiving:
    """The endpoints that take changes."""

    def __init__(
        self, door: ChangeDoor, intake: Intake, settings: ServerSettings, counters: Counters
    ) -> None:
        self._door = door
        self._intake = intake
        self._settings = settings
        self._counters = counters
        self._authenticator = Authenticator(settings)

    def routes(self) -> list[Route]:
        """Return one route for each sender."""
        return [Route(PATH + name, self._endpoint(name), methods=["POST"]) for name in SENDERS]

    def _endpoint(self, sender: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self.receive(request, sender)

        return endpoint

    async def receive(self, request: Request, sender: str) -> Response:
        """Answer 200 once the changes are durably stored, else a problem document."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            count = await self._take(request, sender)
        except Refusal as refusal:
            await discard_body(request)
            _log.warning("changes from %s: refused: %d", sender, int(refusal.status))
            refusal.headers.setdefault("connection", "close")
            response = problem_response(refusal)
        except ClientDisconnect:
            response = Response(status_code=400)  # Nobody reads it.
        except Exception as error:  # noqa: BLE001 - boundary: a server request
            # Neither message nor traceback: both can hold what the client sent.
            _log.error("changes from %s: failed with %s", sender, type(error).__name__)
            failure = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be handled")
            response = problem_response(failure)
        else:
            answer = {"status": "stored" if count else "ignored", "changes": count}
            response = Response(orjson.dumps(answer), media_type="application/json")
        self._counters.request(f"changes_{sender}", response.status_code, loop.time() - begun)
        return response

    async def _take(self, request: Request, sender: str) -> int:
        secret = self._door.secrets.get(sender)
        if secret is None:
            self._authenticator.check(request)
        else:
            _require_proof_header(request, sender)
        check_form(request, _MEDIA_TYPES.get(sender, _JSON))
        try:
            with self._intake.reservation() as reservation:
                body = await read_body(
                    request,
                    reservation,
                    limit=min(BODY_BYTES_MAX, self._settings.max_body_bytes),
                    within_s=self._settings.request_timeout_s,
                )
                if secret is not None:
                    _require_proof(request, sender, secret.get_secret_value().encode(), body)
                changes = await self._read(request, sender, body)
                await self._store(changes)
        except StoreUnavailable as error:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                error.message,
                hint="nothing was stored; send it again",
                headers={"retry-after": _RETRY_AFTER_S},
            ) from error
        return len(changes)

    async def _read(self, request: Request, sender: str, body: bytes) -> list[Change]:
        headers = {name.lower(): value for name, value in request.headers.items()}
        given = (sender, body, headers, self._intake.clock.now(), self._door.names)
        try:
            if len(body) <= CHECK_IN_THREAD_BYTES:
                return list(read_posted(*given))
            return list(await asyncio.to_thread(read_posted, *given))
        except InputRejected as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, error.message, hint=error.hint) from error

    async def _store(self, changes: list[Change]) -> None:
        if not changes:
            return
        try:
            async with asyncio.timeout(_STORED_WITHIN_S):
                await self._door.store.add_changes(changes, self._intake.clock.now())
        except TimeoutError:
            raise StoreUnavailable(
                f"the database did not answer within {_STORED_WITHIN_S:g} s"
            ) from None


_PROOF_HEADERS: Mapping[str, str] = {
    "github": "x-hub-signature-256",
    "gitlab": "x-gitlab-token",
    "flags": "x-ld-signature",
}


def _require_proof_header(request: Request, sender: str) -> None:
    """Refuse before reading a body that could not be proven anyway."""
    if not request.headers.get(_PROOF_HEADERS[sender]):
        raise _unproven(sender)


def _require_proof(request: Request, sender: str, secret: bytes, body: bytes) -> None:
    """Raise `Refusal` unless the sender knows the secret; compares in constant time."""
    given = request.headers[_PROOF_HEADERS[sender]].encode("latin-1", "replace")
    if sender == "gitlab":
        # Digests have one length, so that not even the token's length is told by time.
        is_proven = hmac.compare_digest(sha256(given).digest(), sha256(secret).digest())
    else:
        expected = hmac.new(secret, body, sha256).hexdigest().encode()
        prefix = b"sha256=" if sender == "github" else b""
        is_proven = hmac.compare_digest(given, prefix + expected)
    if not is_proven:
        raise _unproven(sender)


def _unproven(sender: str) -> Refusal:
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        f"{_PROOF_HEADERS[sender]} is missing or does not fit",
        hint="set the same secret in the sender's webhook and in infrastructure.changes",
    )
