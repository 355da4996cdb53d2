"""The HTTP API v2 of Alertmanager over the simulated world."""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from it_incident_response.domain.alert import Alert
from it_incident_response.errors import ConnectorRejected
from it_incident_response.ports.sources import Matcher, Silence
from it_incident_response.simulation.ports_adapter import SimulatedSources, matches
from it_incident_response.simulation.wire_replies import BadRequest, Json, body, timestamp
from it_incident_response.simulation.world import SimulatedWorld

VERSION = "0.27.0"
RECEIVER = "iir"
_RESEND_S = 240.0
"""Alertmanager shows as end of a firing alert when it would count as resolved unless resent."""
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*', re.DOTALL)

Handler = Callable[[Request], Awaitable[Response]]


class _WireMatcher(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    name: str = Field(min_length=1, max_length=256)
    value: str = Field(max_length=4096)
    is_regex: bool = Field(alias="isRegex")
    is_equal: bool = Field(default=True, alias="isEqual")


class _WireSilence(BaseModel):
    id: str | None = None
    matchers: list[_WireMatcher] = Field(min_length=1, max_length=100)
    starts_at: datetime = Field(alias="startsAt")
    ends_at: datetime = Field(alias="endsAt")
    created_by: str = Field(alias="createdBy", max_length=1000)
    comment: str = Field(max_length=10_000)


class AlertmanagerWire:
    """Answers Alertmanager's requests from the world."""

    def __init__(self, world: SimulatedWorld, sources: SimulatedSources) -> None:
        self._world = world
        self._sources = sources

    def routes(self) -> list[Route]:
        """Return the routes of the API."""
        one = "/api/v2/silence/{id}"
        return [
            Route("/api/v2/status", self._guard(self.status)),
            Route("/api/v2/alerts", self._guard(self.alerts)),
            Route("/api/v2/alerts/groups", self._guard(self.groups)),
            Route("/api/v2/receivers", self._guard(self.receivers)),
            Route("/api/v2/silences", self._guard(self.silences)),
            Route("/api/v2/silences", self._guard(self.create_silence), methods=["POST"]),
            Route(one, self._guard(self.silence)),
            Route(one, self._guard(self.expire_silence), methods=["DELETE"]),
        ]

    def _guard(self, answer: Callable[[Request], Awaitable[Any]]) -> Handler:
        async def handler(request: Request) -> Response:
            self._world.catch_up()
            try:
                return Json(await answer(request))
            except BadRequest as error:
                return Json(str(error), 400)
            except KeyError:
                return Json("silence not found", 404)

        return handler

    async def status(self, request: Request) -> Any:
        """Say which version this is like."""
        return {
            "cluster": {"name": "simulated", "peers": [], "status": "ready"},
            "config": {"original": f"route:\n  receiver: {RECEIVER}\n"},
            "uptime": timestamp(self._world.clock.now()),
            "versionInfo": {
                "branch": "HEAD",
                "buildDate": "",
                "buildUser": "",
                "goVersion": "",
                "revision": "simulated",
                "version": VERSION,
            },
        }

    async def receivers(self, request: Request) -> Any:
        """List the one receiver."""
        return [{"name": RECEIVER}]

    async def alerts(self, request: Request) -> Any:
        """List alerts; understands `active`, `silenced` and `filter`."""
        return [self._alert(alert) for alert in self._chosen(request)]

    async def groups(self, request: Request) -> Any:
        """List alerts by their name."""
        groups: dict[str, list[Alert]] = {}
        for alert in self._chosen(request):
            groups.setdefault(alert.name, []).append(alert)
        return [
            {
                "labels": {"alertname": name},
                "receiver": {"name": RECEIVER},
                "alerts": [self._alert(alert) for alert in members],
            }
            for name, members in sorted(groups.items())
        ]

    def _chosen(self, request: Request) -> Sequence[Alert]:
        given = request.query_params
        filters = [parse_matcher(text) for text in given.getlist("filter")]
        shows_active = given.get("active", "true") != "false"
        shows_silenced = given.get("silenced", "true") != "false"
        chosen = []
        for alert in self._world.firing():
            is_shown = shows_silenced if self._sources.silenced_by(alert) else shows_active
            if is_shown and _fits(alert, filters):
                chosen.append(alert)
        return chosen

    def _alert(self, alert: Alert) -> dict[str, Any]:
        silenced_by = self._sources.silenced_by(alert)
        now = self._world.clock.now()
        return {
            "annotations": dict(alert.annotations),
            "endsAt": timestamp(now + timedelta(seconds=_RESEND_S)),
            "fingerprint": alert.fingerprint,
            "receivers": [{"name": RECEIVER}],
            "startsAt": timestamp(alert.starts_at),
            "status": {
                "inhibitedBy": [],
                "silencedBy": silenced_by,
                "state": "suppressed" if silenced_by else "active",
            },
            "updatedAt": timestamp(now),
            "generatorURL": alert.generator_url or "",
            "labels": dict(alert.labels),
        }

    async def silences(self, request: Request) -> Any:
        """List silences, expired ones included."""
        return [_silence(silence) for silence in self._sources.all_silences()]

    async def silence(self, request: Request) -> Any:
        """Show one silence."""
        return _silence(self._find(request))

    async def create_silence(self, request: Request) -> Any:
        """Create a silence."""
        try:
            wanted = _WireSilence.model_validate(orjson.loads(await body(request)))
            if wanted.ends_at.tzinfo is None:
                raise BadRequest("endsAt needs a zone")
            matchers = [Matcher.model_validate(m.model_dump()) for m in wanted.matchers]
            number = await self._sources.silence(
                matchers, until=wanted.ends_at, author=wanted.created_by, comment=wanted.comment
            )
        except (ValidationError, orjson.JSONDecodeError, ConnectorRejected) as error:
            raise BadRequest(f"bad silence: {error}") from error
        return {"silenceID": number}

    async def expire_silence(self, request: Request) -> Any:
        """End a silence."""
        await self._sources.expire_silence(self._find(request).id)
        return None

    def _find(self, request: Request) -> Silence:
        wanted = request.path_params["id"]
        return {silence.id: silence for silence in self._sources.all_silences()}[wanted]


def parse_matcher(text: str) -> Matcher:
    """Return the matcher that `name="value"` (or !=, =~, !~) means; raises `BadRequest`."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise BadRequest(f"bad matcher format: {text[:100]}")
    operator = found[2]
    return Matcher(
        name=found[1],
        value=found[3].replace('\\"', '"').replace("\\\\", "\\"),
        is_regex="~" in operator,
        is_equal=not operator.startswith("!"),
    )


def _fits(alert: Alert, filters: Sequence[Matcher]) -> bool:
    try:
        return all(matches(matcher, alert.labels.get(matcher.name, "")) for matcher in filters)
    except ConnectorRejected as error:
        raise BadRequest(str(error)) from error


def _silence(silence: Silence) -> dict[str, Any]:
    return {
        "id": silence.id,
        "status": {"state": silence.state},
        "updatedAt": timestamp(silence.starts_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": timestamp(silence.ends_at),
        "startsAt": timestamp(silence.starts_at),
        "matchers": [
            {"isEqual": m.is_equal, "isRegex": m.is_regex, "name": m.name, "value": m.value}
            for m in silence.matchers
        ],
    }
