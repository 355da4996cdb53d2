"""The requests to Prometheus' HTTP API v1 that we make, each answered with its wire model."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from pydantic import ValidationError

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorRejected, ConnectorReplyInvalid
from it_incident_response.integrations._http import HttpClient, HttpRequest, Pairs
from it_incident_response.integrations._prometheus_wire import (
    Envelope,
    PromAlert,
    PromAlerts,
    PromBuild,
    PromConfigText,
    PromResult,
    PromRule,
    PromRules,
    PromSeries,
)
from it_incident_response.integrations._replies import M
from it_incident_response.integrations.connector import ConnectorSettings
from it_incident_response.ports.registry import Surroundings

NAME = "prometheus"
POINTS_MAX = 11_000
"""Prometheus refuses more points a series in one range query."""
_READING = ("/api/v1/query", "/api/v1/label")
"""Paths of queries and of the names of labels and metrics."""
_NO_SUCH_PAGE = 404
_GET_LENGTH_MAX = 4_000
"""A longer query goes into the body of a POST: proxies refuse long request lines."""


class RangeAnswer(NamedTuple):
    """The series of a query, and why they may not be all there are."""

    series: Sequence[PromSeries]
    warnings: Sequence[str] = ()


class PrometheusApi:
    """Read-only access to one Prometheus, or to what speaks its API."""

    def __init__(
        self, settings: ConnectorSettings, surroundings: Surroundings, params: Pairs = ()
    ) -> None:
        self.url = settings.url
        self._params = tuple(params)
        """What Thanos and others take with each query, such as `dedup=true`."""
        self._http = HttpClient(NAME, settings, surroundings)

    async def build(self) -> PromBuild:
        """Return version and revision; without them where the system does not tell any."""
        try:
            return await self._data("/api/v1/status/buildinfo", (), PromBuild)
        except ConnectorRejected as error:
            if error.status != _NO_SUCH_PAGE:
                raise
        await self.query("vector(1)")
        return PromBuild()

    async def config_text(self) -> str:
        """Return the server's configuration (YAML, secrets left out by the server)."""
        return (await self._data("/api/v1/status/config", (), PromConfigText)).yaml

    async def alerts(self) -> Sequence[PromAlert]:
        """Return all pending and firing alerts."""
        return (await self._data("/api/v1/alerts", (), PromAlerts)).alerts

    async def alerting_rules(self) -> Sequence[PromRule]:
        """Return all alerting rules."""
        rules = await self._data("/api/v1/rules", (("type", "alert"),), PromRules)
        return [rule for group in rules.groups for rule in group.rules if rule.type == "alerting"]

    async def query(self, query: str) -> Sequence[PromSeries]:
        """Evaluate a query now; a scalar is one series without labels."""
        return self._series(await self._data("/api/v1/query", (("query", query),), PromResult))

    async def query_range(
        self, query: str, window: TimeWindow, step_s: float
    ) -> Sequence[PromSeries]:
        """Evaluate a query over a window; the step is widened to stay within `POINTS_MAX`."""
        return (await self.range_answer(query, window, step_s)).series

    async def range_answer(self, query: str, window: TimeWindow, step_s: float) -> RangeAnswer:
        """Evaluate a query as `query_range` does, and say whether the answer is partial."""
        path = "/api/v1/query_range"
        params = (
            ("query", query),
            ("start", _seconds(window.start.timestamp())),
            ("end", _seconds(window.end.timestamp())),
            ("step", _seconds(step_for(window, step_s))),
        )
        envelope = await self._envelope(path, params)
        result = self._http.replies.read(envelope.data, PromResult, f"the reply to {path}")
        warnings = [self._http.replies.scrub(text) for text in envelope.shortcomings]
        return RangeAnswer(self._series(result), warnings)

    async def label_values(
        self, label: str, selectors: Sequence[str], window: TimeWindow
    ) -> Sequence[str]:
        """Return the values of a label over the series that any of the selectors match."""
        matches = [("match[]", selector) for selector in selectors]
        return await self._texts(f"/api/v1/label/{label}/values", matches, window)

    async def label_names(self, window: TimeWindow) -> Sequence[str]:
        """Return the names of all labels in use."""
        return await self._texts("/api/v1/labels", (), window)

    def graph_link(self, query: str, window: TimeWindow) -> str:
        """Return the address of Prometheus' own page that shows the query over the window."""
        seconds = max(1, round((window.end - window.start).total_seconds()))
        arguments = {
            "g0.expr": query,
            "g0.tab": "0",
            "g0.range_input": f"{seconds}s",
            "g0.end_input": f"{window.end:%Y-%m-%d %H:%M:%S}",
        }
        return f"{self.url}/graph?{urlencode(arguments)}"

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._http.aclose()

    async def _data(self, path: str, params: Pairs, model: type[M]) -> M:
        envelope = await self._envelope(path, params)
        return self._http.replies.read(envelope.data, model, f"the reply to {path}")

    async def _texts(self, path: str, params: Pairs, window: TimeWindow) -> Sequence[str]:
        span = (
            ("start", _seconds(window.start.timestamp())),
            ("end", _seconds(window.end.timestamp())),
        )
        envelope = await self._envelope(path, (*params, *span))
        values = envelope.data if envelope.data is not None else []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._misshapen(f"the reply to {path} is no list of texts")
        return values

    async def _envelope(self, path: str, params: Pairs) -> Envelope:
        if path.startswith(_READING):
            params = (*params, *self._params)
        is_long = sum(len(value) for _, value in params) > _GET_LENGTH_MAX
        if is_long and path.startswith("/api/v1/query"):
            request = HttpRequest("POST", path, form=params)
        else:
            request = HttpRequest("GET", path, params)
        return await self._http.model(request, Envelope)

    def _series(self, result: PromResult) -> Sequence[PromSeries]:
        try:
            return result.series
        except ValidationError as error:
            first: Any = error.errors(include_input=False, include_url=False)[0]
            raise self._misshapen(f"a series is not as documented: {first['msg']}") from None

    def _misshapen(self, problem: str) -> ConnectorReplyInvalid:
        return ConnectorReplyInvalid(
            NAME, problem, hint="is the URL that of a Prometheus, in a supported version?"
        )


def step_for(window: TimeWindow, wanted_s: float) -> float:
    """Return a step of at least `wanted_s` that gives at most `POINTS_MAX` points."""
    span_s = (window.end - window.start).total_seconds()
    return max(wanted_s, span_s / (POINTS_MAX - 1), 0.001)


def _seconds(value: float) -> str:
    return f"{value:.3f}"
