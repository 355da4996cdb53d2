"""What the variables of a dashboard stand for: saved choices, built-in ones, values looked up."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorError
from it_incident_response.integrations._grafana_api import DataSource, GrafanaApi
from it_incident_response.integrations._grafana_dashboard import Dashboard, Panel, Variable
from it_incident_response.integrations._grafana_template import (
    NotFilled,
    Values,
    Variables,
    fill_promql,
)

PROMETHEUS = frozenset(
    {"prometheus", "grafana-amazonprometheus-datasource", "grafana-azureprometheus-datasource"}
)
VALUES_MAX = 500
"""Values of one variable; `All` of more is asked for as `.+`."""
POINTS = 1_000
"""Points asked of a panel: as many as a wide screen shows."""
SCRAPE_S = 15.0
"""Grafana's own default of a Prometheus data source's scrape interval."""
_ANYTHING = ".+"
_LABEL_VALUES = re.compile(
    r"^label_values\(\s*(?:(?P<metric>.+?)\s*,\s*)?(?P<label>\w+)\s*\)$", re.S
)
_METRICS = re.compile(r"^metrics\((?P<pattern>.*)\)$", re.S)
_OF_SERVICES = frozenset(
    {"service", "app", "application", "job", "deployment", "workload", "service_name", "svc"}
)
_UNITS_S = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "y": 31536000.0,
}
_INTERVAL = re.compile(r">?(\d{1,9})(ms|s|m|h|d|w|y)")
_ROUND_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600)


@dataclass
class Resolved:
    """The variables of a dashboard for one window and service."""

    variables: dict[str, Values] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)

    def chosen(self) -> Mapping[str, Sequence[str]]:
        """Return the values as a link to the dashboard takes them."""
        return {
            name: ("$__all",) if values.is_raw and values.is_multi else values.values
            for name, values in self.variables.items()
        }


class VariableReader:
    """Finds out what the variables of dashboards stand for."""

    def __init__(self, api: GrafanaApi, sources: Sequence[DataSource]) -> None:
        self._api = api
        self._sources = sources

    async def resolved(
        self, dashboard: Dashboard, window: TimeWindow, service: str | None
    ) -> Resolved:
        """Return what each variable stands for; one that cannot be told is a gap.

        Variables named like `service` are set to the incident's service where it is among their
        values. They are resolved in the dashboard's order, as later ones may use earlier ones.
        """
        found = Resolved()
        for variable in dashboard.variables:
            try:
                values = await self._values(variable, found.variables, window, service)
            except (ConnectorError, NotFilled) as error:
                reason = error.message if isinstance(error, ConnectorError) else str(error)
                found.gaps.append(f"variable ${variable.name}: {reason}")
                values = _saved(variable)
            found.variables[variable.name] = values
        return found

    def source(self, reference: Any, variables: Variables) -> DataSource | None:
        """Return the data source that a panel, target or variable names; None: the default one."""
        uid = reference.get("uid") if isinstance(reference, Mapping) else reference
        if isinstance(uid, str) and "$" in uid:
            name = re.sub(r"^\$\{?(\w+).*$", r"\1", uid)
            values = variables.get(name)
            uid = values.values[0] if values and values.values else None
        if uid in (None, "", "default"):
            return next((source for source in self._sources if source.is_default), None)
        named = (s for s in self._sources if uid in (s.uid, s.name))
        found = next(named, None)
        if found is None and isinstance(reference, Mapping) and isinstance(uid, str):
            return DataSource(uid, str(reference.get("type") or ""), uid)
        return found

    async def _values(
        self, variable: Variable, known: Variables, window: TimeWindow, service: str | None
    ) -> Values:
        if variable.type == "interval" and any(v.startswith("$__auto") for v in variable.current):
            return Values((_written(rounded_s(_span_s(window) / 30)),), is_raw=True)
        is_wanted = service is not None and variable.name.lower() in _OF_SERVICES
        if variable.type != "query" or not (variable.is_all or is_wanted):
            values: Sequence[str] = variable.options
        elif variable.is_all and variable.all_value and not is_wanted:
            values = ()
        else:
            values = await self._looked_up(variable, known, window)
        if is_wanted and service in values:
            return Values((str(service),), variable.is_multi)
        if variable.is_all:
            return _all(variable, values)
        return _saved(variable)

    async def _looked_up(
        self, variable: Variable, known: Variables, window: TimeWindow
    ) -> Sequence[str]:
        """Return the values of a query variable; of one with an expression, the saved options.

        Regular expressions of dashboards are not run: one can be made that never ends.
        """
        source = self.source(variable.datasource, known)
        if variable.regex or source is None or source.type not in PROMETHEUS:
            return variable.options
        span = (("start", str(window.start.timestamp())), ("end", str(window.end.timestamp())))
        query = fill_promql(variable.query.strip(), known)
        if found := _LABEL_VALUES.match(query):
            matches = (("match[]", found["metric"]),) if found["metric"] else ()
            path = f"/api/v1/label/{found['label']}/values"
            answer = await self._api.proxied(source.uid, path, (*matches, *span))
        elif _METRICS.match(query):
            return variable.options
        elif query == "label_names()":
            answer = await self._api.proxied(source.uid, "/api/v1/labels", span)
        else:
            return variable.options
        texts = answer if isinstance(answer, list) else []
        return [text for text in texts if isinstance(text, str)]


def built_in(panel: Panel, source: DataSource, window: TimeWindow) -> dict[str, Values]:
    """Return Grafana's own variables for a panel: intervals, range, times."""
    span_s = _span_s(window)
    scrape_s = seconds_of(source.interval) or SCRAPE_S
    least_s = seconds_of(panel.interval) or (scrape_s if source.type in PROMETHEUS else 1.0)
    step_s = max(least_s, rounded_s(span_s / POINTS))
    rate_s = max(step_s + scrape_s, 4 * scrape_s)
    start, end = (round(moment.timestamp() * 1000) for moment in (window.start, window.end))
    texts = {
        "__interval": _written(step_s),
        "__interval_ms": str(round(step_s * 1000)),
        "__rate_interval": _written(rate_s),
        "__rate_interval_ms": str(round(rate_s * 1000)),
        "__range": f"{round(span_s)}s",
        "__range_s": str(round(span_s)),
        "__range_ms": str(round(span_s * 1000)),
        "__from": str(start),
        "__to": str(end),
    }
    return {name: Values((text,), is_raw=True) for name, text in texts.items()}


def step_ms(variables: Variables) -> int:
    """Return the step that the built-in variables state, in milliseconds."""
    return int(variables["__interval_ms"].values[0])


def seconds_of(text: str) -> float | None:
    """Return the seconds of an interval such as `30s` or `>1m`; None if it is none."""
    found = _INTERVAL.fullmatch(text.strip())
    return float(found[1]) * _UNITS_S[found[2]] if found else None


def rounded_s(seconds: float) -> float:
    """Return the next interval of those that people use."""
    return float(next((step for step in _ROUND_S if step >= seconds), 86400))


def _all(variable: Variable, values: Sequence[str]) -> Values:
    if variable.all_value:
        return Values((variable.all_value,), is_multi=True, is_raw=True)
    if not values or len(values) > VALUES_MAX:
        return Values((_ANYTHING,), is_multi=True, is_raw=True)
    return Values(tuple(values), is_multi=True)


def _saved(variable: Variable) -> Values:
    if variable.is_all:
        return _all(variable, variable.options)
    current = variable.current
    if not current and variable.type in ("constant", "textbox"):
        current = (variable.query,)
    return Values(current, variable.is_multi)


def _written(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms" if seconds < 1 or seconds % 1 else f"{round(seconds)}s"


def _span_s(window: TimeWindow) -> float:
    return max(1.0, (window.end - window.start).total_seconds())
