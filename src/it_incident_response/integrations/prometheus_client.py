"""Reads alerts, conditions and metrics from Prometheus (HTTP API v1)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, SecretStr, field_validator, model_validator

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.evidence import SignalSeries, TimeWindow
from it_incident_response.errors import ConnectorReplyInvalid
from it_incident_response.integrations._prometheus_api import NAME, PrometheusApi
from it_incident_response.integrations._prometheus_conditions import ConditionReader
from it_incident_response.integrations._prometheus_origin import ServerFacts, ServerFactsReader
from it_incident_response.integrations._prometheus_series import SeriesReader
from it_incident_response.integrations._prometheus_wire import PromAlert, PromSeries
from it_incident_response.integrations.alert_json import read_prometheus_alerts
from it_incident_response.integrations.connector import (
    Connector,
    ConnectorSettings,
    read_settings,
)
from it_incident_response.integrations.promql.catalogue import load_catalogue
from it_incident_response.ports.blocking import run_blocking
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import (
    AlertSource,
    ConditionReading,
    ConditionSource,
    Health,
    HealthCheck,
    MetricReader,
    MetricRequest,
    MetricSource,
    SeriesBatch,
)

DEFAULT_URL = "http://localhost:9090"
_TENANT = r"^[A-Za-z0-9!._*'()|-]+$"
_OUR_PARAMS = frozenset({"query", "start", "end", "step", "match[]", "time"})

T = TypeVar("T")


class PrometheusSettings(ConnectorSettings):
    """How to reach Prometheus, or a system that speaks its HTTP API."""

    url: str = Field(default=DEFAULT_URL, min_length=1, max_length=2048)
    external_labels: Mapping[str, str] | None = None
    """Labels that it adds to alerts; None reads them from its configuration."""
    scrape_interval_s: float | None = Field(default=None, gt=0, le=3600)
    """How often it scrapes; None reads it from its configuration, if that is shown."""
    catalogue_files: tuple[Path, ...] = ()
    """Own query catalogues, tried before the shipped one."""
    tenant: str | None = Field(default=None, min_length=1, max_length=150, pattern=_TENANT)
    """Whose data Mimir, Cortex or a tenant-aware Thanos reads: the header `X-Scope-OrgID`.

    Several are joined by `|`, as Mimir's tenant federation takes them.
    """
    query_params: Mapping[str, str] = Field(default={}, max_length=20)
    """Sent with every query: `dedup: "true"`, `partial_response: "true"` of Thanos, ..."""
    time_budget_s: float = Field(default=8.0, gt=0, le=600)
    """Gathering ends after so long with the series that have come, and says so."""

    @field_validator("query_params", mode="before")
    @classmethod
    def _are_not_ours(cls, params: Any) -> Any:
        if not isinstance(params, Mapping):
            return params
        if ours := sorted(_OUR_PARAMS & {str(name) for name in params}):
            raise ValueError(f"{ours[0]!r} is set by each query itself")
        return {name: _as_param(value) for name, value in params.items()}

    @model_validator(mode="after")
    def _one_tenant(self) -> Self:
        if self.tenant and any(name.lower() == "x-scope-orgid" for name in self.headers):
            raise ValueError("the tenant is given twice: as tenant and as header X-Scope-OrgID")
        return self

    def with_tenant(self) -> "PrometheusSettings":
        """Return these settings with the tenant among the headers."""
        if self.tenant is None:
            return self
        headers = {**self.headers, "X-Scope-OrgID": SecretStr(self.tenant)}
        return self.model_copy(update={"headers": headers})


class PrometheusIncidentDetector:
    """One Prometheus; asynchronous as the ports it fills, synchronous as in the user's guide."""

    def __init__(
        self,
        prometheus_url: str | None = None,
        *,
        settings: PrometheusSettings | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Connect to nothing yet; without a URL or settings, `http://localhost:9090` is meant.

        Raises `ConfigError` for a URL that is none.
        """
        if settings is None:
            given = {"url": prometheus_url or DEFAULT_URL}
            settings = read_settings(NAME, PrometheusSettings, given)
        surroundings = surroundings or Surroundings()
        self.prometheus_url = settings.url
        self._settings = settings
        self._clock = surroundings.clock
        params = tuple(settings.query_params.items())
        self._api = PrometheusApi(settings.with_tenant(), surroundings, params)
        self._server = ServerFactsReader(self._api, surroundings.clock)
        self._conditions = ConditionReader(self._api)
        self._inventory = surroundings.inventory

    def get_active_alerts(self) -> list[dict[str, Any]]:
        """Return the firing alerts, for synchronous callers; raises `ConnectorError`.

        Each has `labels`, `annotations`, `state`, `activeAt` and `value` as Prometheus gives
        them. Where they are missing, `annotations["description"]` is filled with the summary or
        the alert's name, and `labels["severity"]` with `warning`.
        """
        return [_for_people(alert) for alert in self._blocking(self._api.alerts) if _fires(alert)]

    def query_metric(self, query: str) -> list[dict[str, Any]]:
        """Evaluate PromQL now, for synchronous callers: `[{"metric": ..., "value": [t, v]}]`.

        Values from outside have to be quoted with `promql_string` first.
        """
        return [_instant(series) for series in self._blocking(lambda: self._api.query(query))]

    def query_range_metric(
        self, query: str, start: datetime, end: datetime, step_s: float = 15.0
    ) -> list[dict[str, Any]]:
        """Evaluate PromQL over a time span, for synchronous callers: `metric` and `values`.

        The step is widened where it would give more than 11,000 points a series.
        """
        window = TimeWindow(start=start, end=end)
        found = self._blocking(lambda: self._api.query_range(query, window, step_s))
        return [_ranged(series) for series in found]

    async def check(self) -> Health:
        """Return the version (`GET /api/v1/status/buildinfo`)."""
        build = await self._api.build()
        return Health(version=build.version or None)

    async def firing_alerts(self) -> Sequence[Alert]:
        """Return every firing alert, labelled as Prometheus sends it to Alertmanager.

        Prometheus knows no silences: where Alertmanager is configured, pull from there.
        """
        server = await self._server_facts()
        firing = [alert for alert in await self._api.alerts() if _fires(alert)]
        items = [
            {**alert.model_dump(by_alias=True), "labels": server.as_sent(alert.labels)}
            for alert in firing
        ]
        try:
            return read_prometheus_alerts(items, self._clock.now())
        except ValueError as error:
            raise ConnectorReplyInvalid(NAME, f"an alert is not as documented: {error}") from None

    async def condition(self, alert: Alert) -> ConditionReading:
        """Evaluate the alert's own expression now, for its own labels; raises `ConnectorError`.

        `holds` is None, never False, where the data that the expression reads are missing.
        """
        return await self._conditions.condition(alert)

    async def series(self, request: MetricRequest) -> Sequence[SignalSeries]:
        """Return the series that exist for these signals and entities; raises `ConnectorError`."""
        return await self._reader().series(request, await self._server_facts())

    async def read_metrics(self, request: MetricRequest) -> SeriesBatch:
        """Return the series that came within the time budget; each failed query is a gap.

        Raises `ConnectorError` only if nothing was answered at all.
        """
        facts = await self._server_facts()
        return await self._reader().batch(request, facts, self._settings.time_budget_s)

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _reader(self) -> SeriesReader:
        catalogue = load_catalogue(self._settings.catalogue_files)
        return SeriesReader(self._api, catalogue, self._inventory)

    async def _server_facts(self) -> ServerFacts:
        """Return what Prometheus' configuration says, overridden by the settings."""
        labels, interval_s = self._settings.external_labels, self._settings.scrape_interval_s
        if labels is not None and interval_s is not None:
            return ServerFacts(external_labels=labels, scrape_interval_s=interval_s)
        facts = await self._server.facts()
        if labels is not None:
            facts = replace(facts, external_labels=labels, dropped_labels=())
        if interval_s is not None:
            facts = replace(facts, scrape_interval_s=interval_s, job_intervals_s={})
        return facts

    def _blocking(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def once() -> T:
            try:
                return await ask()
            finally:
                await self._api.aclose()

        return run_blocking(once)


def _as_param(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _make(settings: PrometheusSettings, surroundings: Surroundings) -> PrometheusIncidentDetector:
    return PrometheusIncidentDetector(settings=settings, surroundings=surroundings)


def _fires(alert: PromAlert) -> bool:
    return alert.state == "firing"


def _for_people(alert: PromAlert) -> dict[str, Any]:
    said = alert.annotations
    name = alert.labels.get("alertname", "")
    description = said.get("description") or said.get("summary") or name
    return {
        "labels": {**alert.labels, "severity": alert.labels.get("severity") or "warning"},
        "annotations": {**said, "description": description},
        "state": alert.state,
        "activeAt": alert.active_at,
        "value": alert.value,
    }


def _instant(series: PromSeries) -> dict[str, Any]:
    if series.values:  # a query such as `up[5m]`
        return _ranged(series)
    return {"metric": series.metric, "value": list(series.value or ())}


def _ranged(series: PromSeries) -> dict[str, Any]:
    return {"metric": series.metric, "values": [list(point) for point in series.values]}


CONNECTOR = Connector(
    name=NAME,
    settings=PrometheusSettings,
    capabilities=frozenset({AlertSource, ConditionSource, HealthCheck, MetricReader, MetricSource}),
    make=_make,
)
