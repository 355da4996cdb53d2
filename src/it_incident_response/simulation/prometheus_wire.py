"""The HTTP API v1 of Prometheus over the simulated world."""

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from it_incident_response.ports.clock import utc
from it_incident_response.simulation.alert_rules import RULES, AlertRule, Standing
from it_incident_response.simulation.exposition import CONTENT_TYPE, number_text, text_format
from it_incident_response.simulation.promql import Grid, PromqlError, Value, Vector, evaluate
from it_incident_response.simulation.promql.parsing import matchers_of
from it_incident_response.simulation.promql.vectors import Labels
from it_incident_response.simulation.series_source import HistorySource
from it_incident_response.simulation.wire_replies import BadRequest, Json, parameters, timestamp
from it_incident_response.simulation.world import SimulatedWorld

VERSION = "2.53.0"
"""The version whose answers these are like; `revision` says that it is not Prometheus itself."""
_RANGE_POINTS_MAX = 11_000
_CONFIG = """\
global:
  scrape_interval: 15s
  scrape_timeout: 10s
  evaluation_interval: 15s
"""

Handler = Callable[[Request], Awaitable[Response]]


class PrometheusWire:
    """Answers Prometheus' requests from the world."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._source = HistorySource(world.history)

    def routes(self) -> list[Route]:
        """Return the routes of the API."""
        both = ["GET", "POST"]
        return [
            Route("/api/v1/query", self._guard(self.query), methods=both),
            Route("/api/v1/query_range", self._guard(self.query_range), methods=both),
            Route("/api/v1/series", self._guard(self.series), methods=both),
            Route("/api/v1/labels", self._guard(self.labels), methods=both),
            Route("/api/v1/label/{name}/values", self._guard(self.label_values)),
            Route("/api/v1/alerts", self._guard(self.alerts)),
            Route("/api/v1/rules", self._guard(self.rules)),
            Route("/api/v1/status/buildinfo", self._guard(self.build)),
            Route("/api/v1/status/config", self._guard(self.config)),
            Route("/metrics", self.metrics),
        ]

    def _guard(self, answer: Callable[[Request], Awaitable[Any]]) -> Handler:
        async def handler(request: Request) -> Response:
            self._world.catch_up()
            try:
                return Json({"status": "success", "data": await answer(request)})
            except BadRequest as error:
                return Json(_error("bad_data", error), 400)
            except PromqlError as error:
                is_syntax = "parse error" in str(error)
                kind, status = ("bad_data", 400) if is_syntax else ("execution", 422)
                return Json(_error(kind, error), status)

        return handler

    async def query(self, request: Request) -> Any:
        """Evaluate an instant query."""
        given = await parameters(request)
        moment = self._time(given.get("time")) if given.get("time") else self._now()
        value = evaluate(given.get("query", ""), self._source, Grid.at(moment))
        return _instant(value, moment)

    async def query_range(self, request: Request) -> Any:
        """Evaluate a range query."""
        given = await parameters(request)
        start, end = self._time(given.get("start")), self._time(given.get("end"))
        step = _duration(given.get("step"))
        if end < start or step <= 0:
            raise BadRequest('invalid parameter "end" or "step"')
        if (end - start) / step > _RANGE_POINTS_MAX:
            raise BadRequest(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the "
                "query resolution (?step=XX)"
            )
        grid = Grid.over(start, end, step)
        return _matrix(evaluate(given.get("query", ""), self._source, grid), grid)

    async def series(self, request: Request) -> Any:
        """List the series that match."""
        found = await self._alive(request, needs_match=True)
        return [dict(labels) for labels in found]

    async def labels(self, request: Request) -> Any:
        """List label names."""
        found = await self._alive(request)
        return sorted({name for labels in found for name, _ in labels})

    async def label_values(self, request: Request) -> Any:
        """List the values of one label."""
        wanted = request.path_params["name"]
        found = await self._alive(request)
        return sorted({value for labels in found for name, value in labels if name == wanted})

    async def _alive(self, request: Request, *, needs_match: bool = False) -> list[Labels]:
        given = await parameters(request)
        start = self._time(given.get("start")) if given.get("start") else self._now() - 3600
        end = self._time(given.get("end")) if given.get("end") else self._now()
        selectors = given.getlist("match[]")
        if needs_match and not selectors:
            raise BadRequest("no match[] parameter provided")
        if not selectors:
            return self._source.alive((), start, end)
        found: dict[Labels, None] = {}
        for selector in selectors:
            found.update(dict.fromkeys(self._source.alive(matchers_of(selector), start, end)))
        return list(found)

    async def alerts(self, request: Request) -> Any:
        """List pending and firing alerts."""
        return {"alerts": [_alert(standing) for standing in self._world.alerts.active.values()]}

    async def rules(self, request: Request) -> Any:
        """List the alerting rules with their alerts."""
        if request.query_params.get("type") == "record":
            return {"groups": []}
        rules = [self._rule(rule) for rule in RULES]
        group = {"name": "shop", "file": "/etc/prometheus/shop.yml", "interval": 15, "limit": 0}
        return {"groups": [{**group, "rules": rules, "lastEvaluation": self._evaluated()}]}

    def _rule(self, rule: AlertRule) -> dict[str, Any]:
        alerts = [s for s in self._world.alerts.active.values() if s.rule.name == rule.name]
        states = {_state(standing) for standing in alerts}
        state = next((s for s in ("firing", "pending") if s in states), "inactive")
        return {
            "state": state,
            "name": rule.name,
            "query": rule.expr,
            "duration": rule.for_s,
            "keepFiringFor": 0,
            "labels": {"severity": rule.severity, "env": "prod"},
            "annotations": {"summary": _template(rule.summary)},
            "alerts": [_alert(standing) for standing in alerts],
            "health": "ok",
            "evaluationTime": 0.0004,
            "lastEvaluation": self._evaluated(),
            "type": "alerting",
        }

    def _evaluated(self) -> str:
        return timestamp(utc(self._world.state.at))

    async def build(self, request: Request) -> Any:
        """Say which version this is like."""
        return {
            "version": VERSION,
            "revision": "simulated",
            "branch": "HEAD",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }

    async def config(self, request: Request) -> Any:
        """Return a configuration that names the scrape interval."""
        return {"yaml": _CONFIG}

    async def metrics(self, request: Request) -> Response:
        """Return everything in the text format, for a real Prometheus (honor_labels: true)."""
        self._world.catch_up()
        return PlainTextResponse(text_format(self._world.history), media_type=CONTENT_TYPE)

    def _now(self) -> float:
        return self._world.clock.now().timestamp()

    def _time(self, text: str | None) -> float:
        try:
            return float(text or "")
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(text or "")
        except ValueError:
            raise BadRequest(f"cannot parse {text!r} to a valid timestamp") from None
        if moment.tzinfo is None:
            raise BadRequest(f"cannot parse {text!r} to a valid timestamp")
        return moment.timestamp()


def _error(kind: str, error: Exception) -> dict[str, str]:
    return {"status": "error", "errorType": kind, "error": str(error)}


def _duration(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        pass
    from promql_parser import parse_duration

    try:
        return parse_duration(text or "").total_seconds()
    except ValueError:
        raise BadRequest(f"cannot parse {text!r} to a valid duration") from None


def _instant(value: Value, moment: float) -> dict[str, Any]:
    if isinstance(value, str):
        return {"resultType": "string", "result": [moment, value]}
    if isinstance(value, np.ndarray):
        return {"resultType": "scalar", "result": [moment, number_text(float(value[0]))]}
    result = [
        {"metric": dict(labels), "value": [moment, number_text(float(column.values[0]))]}
        for labels, column in sorted(value.items())
    ]
    return {"resultType": "vector", "result": result}


def _matrix(value: Value, grid: Grid) -> dict[str, Any]:
    if isinstance(value, str):
        raise BadRequest("invalid expression type string for range query")
    vector: Vector = value if isinstance(value, dict) else _as_vector(value)
    moments = grid.moments.tolist()
    result = []
    for labels, column in sorted(vector.items()):
        samples = zip(moments, column.values.tolist(), column.present.tolist(), strict=True)
        values = [[at, number_text(number)] for at, number, present in samples if present]
        result.append({"metric": dict(labels), "values": values})
    return {"resultType": "matrix", "result": result}


def _as_vector(value: Any) -> Vector:
    from it_incident_response.simulation.promql.vectors import everywhere

    return {(): everywhere(value)}


def _state(standing: Standing) -> str:
    return "pending" if standing.fires_since is None else "firing"


def _alert(standing: Standing) -> dict[str, Any]:
    return {
        "labels": standing.rule.labels(standing.subject),
        "annotations": standing.rule.annotations(standing.subject, standing.value),
        "state": _state(standing),
        "activeAt": timestamp(utc(standing.since)),
        "value": np.format_float_scientific(standing.value, trim="-", exp_digits=2),
    }


def _template(summary: str) -> str:
    """Return a summary as a template of Prometheus."""
    text = re.sub(r"\{value[^}]*\}", "{{ $value }}", summary)
    return re.sub(r"(?<!\{)\{(\w+)\}(?!\})", r"{{ $labels.\1 }}", text)
