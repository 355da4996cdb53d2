"""Talks to Alertmanager's API v2 (alerts, silences, status) and reads its webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, Field

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.model import UtcTime
from it_incident_response.errors import ConnectorReplyInvalid
from it_incident_response.integrations._http import HttpClient, HttpRequest
from it_incident_response.integrations.alert_json import (
    Webhook,
    check_alerts,
    check_webhook,
    parse_alerts,
    parse_webhook,
    read_api_alerts,
    read_webhook,
)
from it_incident_response.integrations.connector import Connector, ConnectorSettings
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import (
    AlertSource,
    Health,
    HealthCheck,
    Matcher,
    Silence,
    Silencer,
)

__all__ = [
    "CONNECTOR",
    "AlertmanagerClient",
    "AlertmanagerSettings",
    "Webhook",
    "check_alerts",
    "check_webhook",
    "parse_alerts",
    "parse_webhook",
    "read_webhook",
]

NAME = "alertmanager"


class AlertmanagerSettings(ConnectorSettings):
    """How to reach Alertmanager."""

    url: str = Field(default="http://localhost:9093", min_length=1, max_length=2048)


class _Version(BaseModel):
    version: str = ""


class _Cluster(BaseModel):
    status: str = "unknown"
    peers: list[Any] | None = None


class _Status(BaseModel):
    version_info: _Version = Field(alias="versionInfo")
    cluster: _Cluster = _Cluster()


class _Created(BaseModel):
    silence_id: str = Field(alias="silenceID", min_length=1)


class _Matcher(BaseModel):
    name: str
    value: str
    is_regex: bool = Field(alias="isRegex")
    is_equal: bool = Field(default=True, alias="isEqual")


class _SilenceStatus(BaseModel):
    state: Literal["active", "pending", "expired"]


class _Silence(BaseModel):
    id: str
    matchers: list[_Matcher]
    starts_at: UtcTime = Field(alias="startsAt")
    ends_at: UtcTime = Field(alias="endsAt")
    created_by: str = Field(default="", alias="createdBy")
    comment: str = ""
    status: _SilenceStatus

    def value(self) -> Silence:
        """Return it as the port's value."""
        matchers = tuple(
            Matcher(name=m.name, value=m.value, is_regex=m.is_regex, is_equal=m.is_equal)
            for m in self.matchers
        )
        return Silence(
            id=self.id,
            matchers=matchers,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            created_by=self.created_by,
            comment=self.comment,
            state=self.status.state,
        )


class _Silences(BaseModel):
    silences: list[_Silence]


class AlertmanagerClient:
    """One Alertmanager; fills AlertSource, Silencer and HealthCheck."""

    def __init__(self, settings: AlertmanagerSettings, surroundings: Surroundings) -> None:
        self._http = HttpClient(NAME, settings, surroundings)
        self._clock = surroundings.clock

    async def check(self) -> Health:
        """Return version and cluster state (`GET /api/v2/status`)."""
        status = await self._http.model(HttpRequest("GET", "/api/v2/status"), _Status)
        return Health(
            version=status.version_info.version, detail=f"cluster {status.cluster.status}"
        )

    async def firing_alerts(self) -> Sequence[Alert]:
        """Return the alerts that are neither silenced, inhibited nor ended."""
        params = (
            ("active", "true"),
            ("silenced", "false"),
            ("inhibited", "false"),
            ("unprocessed", "true"),
        )
        reply = await self._http.json(HttpRequest("GET", "/api/v2/alerts", params))
        try:
            return read_api_alerts(reply if reply is not None else [], self._clock.now())
        except ValueError as error:
            raise ConnectorReplyInvalid(
                NAME,
                self._http.replies.scrub(f"/api/v2/alerts has an unexpected shape: {error}"),
                hint="is the URL that of an Alertmanager (0.16 or later)?",
            ) from None

    async def silence(
        self, matchers: Sequence[Matcher], *, until: datetime, author: str, comment: str
    ) -> str:
        """Create a silence that starts now and return its id.

        Matchers with `is_regex` are used as they are: quote values from outside with
        `exact_regex` first. Not retried, as a second request would make a second silence.
        """
        body = {
            "matchers": [
                {
                    "name": matcher.name,
                    "value": matcher.value,
                    "isRegex": matcher.is_regex,
                    "isEqual": matcher.is_equal,
                }
                for matcher in matchers
            ],
            "startsAt": self._clock.now().isoformat(),
            "endsAt": until.isoformat(),
            "createdBy": author,
            "comment": comment,
        }
        request = HttpRequest("POST", "/api/v2/silences", json=body, is_repeatable=False)
        return (await self._http.model(request, _Created)).silence_id

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence; raises `ConnectorRejected` if there is none of that id.

        It is looked up first: up to 0.25, Alertmanager answers 500 to the deletion of an unknown
        one, which would look as if Alertmanager were in trouble.
        """
        path = f"/api/v2/silence/{quote(silence_id, safe='')}"
        await self._http.json(HttpRequest("GET", path))
        await self._http.json(HttpRequest("DELETE", path))

    async def silences(self) -> Sequence[Silence]:
        """Return the silences that are active or pending."""
        reply = await self._http.json(HttpRequest("GET", "/api/v2/silences"))
        listed = self._http.replies.read(
            {"silences": reply or []}, _Silences, "the reply to /api/v2/silences"
        )
        return tuple(
            silence.value() for silence in listed.silences if silence.status.state != "expired"
        )

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


CONNECTOR = Connector(
    name=NAME,
    settings=AlertmanagerSettings,
    capabilities=frozenset({AlertSource, Silencer, HealthCheck}),
    make=AlertmanagerClient,
)
