"""The requests to Grafana's HTTP API that we make, each answered with checked JSON."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorRejected, ConnectorReplyInvalid
from it_incident_response.integrations._grafana_settings import NAME, GrafanaSettings
from it_incident_response.integrations._http import HttpClient, HttpRequest, Pairs
from it_incident_response.integrations._replies import M
from it_incident_response.ports.registry import Surroundings

_NOT_FOR_US = (403, 404)
_HINT = "is the URL that of a Grafana, 9 or later?"


class DashboardReply(BaseModel):
    """`GET /api/dashboards/uid/:uid`."""

    dashboard: dict[str, Any]
    meta: dict[str, Any] = {}


class Hit(BaseModel):
    """One entry of `GET /api/search`."""

    uid: str
    title: str = ""
    url: str = ""


class QueryReply(BaseModel):
    """`POST /api/ds/query`."""

    results: dict[str, dict[str, Any]]


class ProvisionedRule(BaseModel):
    """One entry of `GET /api/v1/provisioning/alert-rules`."""

    uid: str
    title: str = ""
    folder_uid: str = Field(default="", alias="folderUID")
    group: str = Field(default="", alias="ruleGroup")
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    is_paused: bool = Field(default=False, alias="isPaused")


class EvaluatedRule(BaseModel):
    """An alerting rule below its group in `GET /api/prometheus/grafana/api/v1/rules`."""

    name: str
    uid: str | None = None
    state: str = ""
    health: str = ""
    query: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _RuleGroup(BaseModel):
    name: str = ""
    file: str = ""
    rules: list[EvaluatedRule] = []


class _RuleGroups(BaseModel):
    groups: list[_RuleGroup]


class _RulesReply(BaseModel):
    status: str
    data: _RuleGroups


class _Created(BaseModel):
    id: int


class _Listed(BaseModel):
    hits: list[Hit] = []
    rules: list[ProvisionedRule] = []
    sources: list[dict[str, Any]] = []


@dataclass(frozen=True)
class DataSource:
    """A data source as Grafana lists it."""

    uid: str
    type: str
    name: str
    is_default: bool = False
    interval: str = ""
    """`jsonData.timeInterval`: the scrape interval that its owner stated."""


class GrafanaApi:
    """Access to one Grafana with one token."""

    def __init__(self, settings: GrafanaSettings, surroundings: Surroundings) -> None:
        self.url = settings.url
        self._http = HttpClient(NAME, settings, surroundings)
        self._org = (
            {"X-Grafana-Org-Id": str(settings.org_id)} if settings.org_id is not None else {}
        )
        self._has_credentials = bool(settings.secrets())

    async def health(self) -> str | None:
        """Return the version; with credentials, prove them too."""
        reply = await self._get("/api/health")
        if not isinstance(reply, Mapping) or not {"database", "version"} & reply.keys():
            raise self._misshapen("the reply to /api/health is not Grafana's")
        if self._has_credentials:
            await self._get("/api/org")
        version = reply.get("version")
        return version[:40] if isinstance(version, str) else None

    async def dashboard(self, uid: str) -> DashboardReply:
        """Return a dashboard's JSON; raises `ConnectorRejected` (404) if there is none."""
        path = f"/api/dashboards/uid/{quote(uid, safe='')}"
        return self._read(await self._get(path), DashboardReply, path)

    async def library_model(self, uid: str) -> Mapping[str, Any]:
        """Return the model of a library panel."""
        path = f"/api/library-elements/{quote(uid, safe='')}"
        reply = await self._get(path)
        result = reply.get("result") if isinstance(reply, Mapping) else None
        model = result.get("model") if isinstance(result, Mapping) else None
        if not isinstance(model, Mapping):
            raise self._misshapen("a library panel has no model")
        return model

    async def search(self, text: str, limit: int) -> Sequence[Hit]:
        """Return the dashboards whose titles have the text."""
        params = (("query", text[:200]), ("type", "dash-db"), ("limit", str(limit)))
        reply = await self._get("/api/search", params)
        return self._read({"hits": reply or []}, _Listed, "/api/search").hits

    async def data_sources(self) -> Sequence[DataSource]:
        """Return all data sources; a token that may not list them gets what its panels may use."""
        try:
            reply = await self._get("/api/datasources")
        except ConnectorRejected as error:
            if error.status not in _NOT_FOR_US:
                raise
            return await self._sources_of_settings()
        listed = self._read({"sources": reply or []}, _Listed, "/api/datasources").sources
        return [_data_source(item, bool(item.get("isDefault"))) for item in listed]

    async def _sources_of_settings(self) -> Sequence[DataSource]:
        settings = await self._get("/api/frontend/settings")
        named = settings.get("datasources") if isinstance(settings, Mapping) else None
        if not isinstance(named, Mapping):
            raise self._misshapen("/api/frontend/settings names no data sources")
        default = settings.get("defaultDatasource")
        return [
            _data_source({"name": name, **item}, name == default)
            for name, item in named.items()
            if isinstance(item, Mapping)
        ]

    async def query(self, body: Mapping[str, Any]) -> QueryReply:
        """Run a panel's queries (`POST /api/ds/query`)."""
        request = HttpRequest("POST", "/api/ds/query", json=body, headers=self._org)
        return self._read(await self._http.json(request), QueryReply, "/api/ds/query")

    async def proxied(self, uid: str, path: str, params: Pairs) -> Any:
        """Ask a Prometheus data source through Grafana's proxy and return `data`."""
        path = f"/api/datasources/proxy/uid/{quote(uid, safe='')}{path}"
        reply = await self._get(path, params)
        if not isinstance(reply, Mapping) or reply.get("status") != "success":
            raise self._misshapen("a proxied data source did not answer as Prometheus does")
        return reply.get("data")

    async def rules(self) -> tuple[Sequence[ProvisionedRule], Sequence[tuple[str, EvaluatedRule]]]:
        """Return the rules as they are kept, where that may be read, and as they are evaluated."""
        kept, evaluated = await asyncio.gather(self._kept_rules(), self._evaluated_rules())
        return kept, evaluated

    async def annotate(self, body: Mapping[str, Any]) -> int:
        """Post an annotation and return its id."""
        path = "/api/annotations"
        request = HttpRequest("POST", path, json=body, headers=self._org, is_repeatable=False)
        return self._read(await self._http.json(request), _Created, path).id

    def scrub(self, text: str) -> str:
        """Return text from outside fit for a message."""
        return self._http.replies.scrub(text)

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._http.aclose()

    async def _kept_rules(self) -> Sequence[ProvisionedRule]:
        path = "/api/v1/provisioning/alert-rules"
        try:
            reply = await self._get(path)
        except ConnectorRejected as error:
            if error.status not in _NOT_FOR_US:
                raise
            return ()
        return self._read({"rules": reply or []}, _Listed, path).rules

    async def _evaluated_rules(self) -> Sequence[tuple[str, EvaluatedRule]]:
        path = "/api/prometheus/grafana/api/v1/rules"
        groups = self._read(await self._get(path), _RulesReply, path).data.groups
        return [(f"{group.file}/{group.name}", rule) for group in groups for rule in group.rules]

    async def _get(self, path: str, params: Pairs = ()) -> Any:
        return await self._http.json(HttpRequest("GET", path, params, headers=self._org))

    def _read(self, reply: Any, model: type[M], path: str) -> M:
        return self._http.replies.read(reply, model, f"the reply to {path}")

    def _misshapen(self, problem: str) -> ConnectorReplyInvalid:
        return ConnectorReplyInvalid(NAME, problem, hint=_HINT)


def window_ms(window: TimeWindow) -> tuple[str, str]:
    """Return a window as `/api/ds/query` takes it: Unix milliseconds in texts."""
    return (
        str(round(window.start.timestamp() * 1000)),
        str(round(window.end.timestamp() * 1000)),
    )


def _data_source(item: Mapping[str, Any], is_default: bool) -> DataSource:
    more = item.get("jsonData")
    interval = more.get("timeInterval") if isinstance(more, Mapping) else None
    return DataSource(
        uid=str(item.get("uid") or "")[:200],
        type=str(item.get("type") or "")[:200],
        name=str(item.get("name") or "")[:200],
        is_default=is_default,
        interval=interval if isinstance(interval, str) else "",
    )
