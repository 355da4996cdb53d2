"""The receiver's HTTP application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from it_incident_response.config.settings import ServerSettings
from it_incident_response.errors import StoreUnavailable
from it_incident_response.servers.auth import Authenticator
from it_incident_response.servers.changes import ChangeDoor, ChangeReceiving
from it_incident_response.servers.counters import Counters
from it_incident_response.servers.intake import Intake
from it_incident_response.servers.problem import Refusal, problem_response
from it_incident_response.servers.receiving import Check, Receiving

_JSON = frozenset({"application/json"})
_JSON_OR_LINES = _JSON | {"application/x-ndjson"}
ALERTMANAGER = "alertmanager"
ALERTS = "alerts"
_READY_WITHIN_S = 3.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    intake: Intake,
    *,
    settings: ServerSettings,
    checks: Mapping[str, Check],
    changes: ChangeDoor | None = None,
) -> ASGIApp:
    """Return the application; `checks` has one entry for `alertmanager` and one for `alerts`.

    With `changes`, deploys and the like can be posted under `/api/v1/changes/`.
    `intake` must be entered (`async with`) while the application serves.
    """
    counters = Counters()
    receiving = Receiving(intake, settings, checks, counters)
    app = FastAPI(title="it_incident_response receiver", docs_url=None, redoc_url=None)

    async def alertmanager(request: Request) -> Response:
        return await receiving.receive(request, ALERTMANAGER, _JSON)

    async def alerts(request: Request) -> Response:
        return await receiving.receive(request, ALERTS, _JSON_OR_LINES)

    posts: dict[str, Endpoint] = {
        "/webhooks/alertmanager": alertmanager,
        "/api/v1/alerts": alerts,
    }
    app.router.routes += [Route(path, post, methods=["POST"]) for path, post in posts.items()]
    if changes is not None:
        app.router.routes += ChangeReceiving(changes, intake, settings, counters).routes()
    _add_health(app, intake, counters, Authenticator(settings))
    return _with_shortcuts(app, posts)


def _with_shortcuts(app: ASGIApp, posts: Mapping[str, Endpoint]) -> ASGIApp:
    """Answer `posts` at once: middleware and routing would take most of the time of an alert."""

    async def shortcut(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = posts.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)

    return shortcut


def _add_health(
    app: FastAPI, intake: Intake, counters: Counters, authenticator: Authenticator
) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Say whether alerts can be stored."""
        try:
            depth = await _inbox_depth(intake)
        except StoreUnavailable:
            return problem_response(
                Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be reached")
            )
        body = f'{{"status":"ready","inbox_depth":{depth}}}'
        return Response(body, media_type="application/json")

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Return what the receiver counts, in the Prometheus text format."""
        try:
            authenticator.check(request)
        except Refusal as refusal:
            return problem_response(refusal)
        return Response(
            counters.exposition(await _readings(intake)), headers={"content-type": _METRICS_TYPE}
        )


async def _readings(intake: Intake) -> dict[str, tuple[str, float]]:
    readings: dict[str, tuple[str, float]] = {
        "iir_receiver_held_bytes": ("Bytes being read, checked or stored.", intake.held_bytes),
        "iir_receiver_batches_total": ("Transactions that stored bodies.", intake.batches),
    }
    try:
        depth = await _inbox_depth(intake)
    except StoreUnavailable:
        readings["iir_store_up"] = ("Whether the database answers.", 0)
    else:
        readings["iir_store_up"] = ("Whether the database answers.", 1)
        readings["iir_inbox_depth"] = ("Bodies stored and not yet correlated.", depth)
    return readings


async def _inbox_depth(intake: Intake) -> int:
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            return await intake.inbox.inbox_depth()
    except TimeoutError:
        raise StoreUnavailable("the database does not answer") from None
