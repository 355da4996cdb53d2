"""Runs the queries of panels: through Grafana's query API, else through its data-source proxy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.errors import ConnectorError, ConnectorRejected
from it_incident_response.integrations._grafana_api import DataSource, GrafanaApi, window_ms
from it_incident_response.integrations._grafana_dashboard import Panel, read_panel
from it_incident_response.integrations._grafana_frames import (
    POINTS_MAX,
    SERIES_MAX,
    FrameAnswer,
    FrameSeries,
    read_frames,
)
from it_incident_response.integrations._grafana_template import (
    DEPTH_MAX,
    NotFilled,
    Values,
    Variables,
    fill_plain,
    fill_promql,
)
from it_incident_response.integrations._grafana_variables import (
    POINTS,
    PROMETHEUS,
    VariableReader,
    built_in,
    step_ms,
)

_LIKE_PROMQL = PROMETHEUS | {"loki"}
_NOT_QUERIED = frozenset({"grafana", "-- grafana --", "-- dashboard --", "datasource", "__expr__"})
"""Built-in sources: their data are elsewhere on the dashboard or made up."""
_NO_QUERY_API = (403, 404, 405)
_TEXT_MAX = 20_000


@dataclass(frozen=True)
class PanelSeries:
    """One series of a panel with the exact query that gave it."""

    series: FrameSeries
    query: str
    unit: str
    """Grafana's unit id; empty if neither panel nor data source states one."""


@dataclass(frozen=True)
class PanelAnswer:
    """What a panel shows, and what of it is missing."""

    panel: Panel
    series: tuple[PanelSeries, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Query:
    """One target of a panel, ready to be asked."""

    ref: str
    text: str
    source: DataSource
    target: Mapping[str, Any]
    variables: Variables


class PanelRunner:
    """Runs panels of one dashboard for one window."""

    def __init__(
        self, api: GrafanaApi, reader: VariableReader, variables: Variables, window: TimeWindow
    ) -> None:
        self._api = api
        self._reader = reader
        self._variables = variables
        self._window = window

    async def run(self, panel: Panel) -> PanelAnswer:
        """Return what the panel shows; whatever fails becomes a gap that names the query."""
        try:
            panel = await self._whole(panel)
        except ConnectorError as error:
            return PanelAnswer(panel, gaps=(_said("its library panel", error),))
        series: list[PanelSeries] = []
        gaps: list[str] = []
        for number, target in enumerate(panel.targets):
            try:
                query = self._query(panel, target, number)
                if query is None:
                    continue
                answer = await self._asked(query)
            except NotFilled as error:
                gaps.append(f"{_text_of(target)}: {error}")
                continue
            except ConnectorError as error:
                gaps.append(_said(query.text if query else _text_of(target), error))
                continue
            gaps += [f"{query.text}: {self._api.scrub(notice)}" for notice in answer.notices]
            series += [
                PanelSeries(one, query.text or answer.executed or "", one.unit or panel.unit)
                for one in answer.series
            ]
        if len(series) > SERIES_MAX:
            gaps.append(f"{SERIES_MAX} of its {len(series)} series were kept")
        return PanelAnswer(panel, tuple(series[:SERIES_MAX]), tuple(gaps))

    async def _whole(self, panel: Panel) -> Panel:
        if panel.targets or panel.library_uid is None:
            return panel
        model = read_panel(await self._api.library_model(panel.library_uid))
        return replace(model, id=panel.id, title=panel.title or model.title)

    def _query(self, panel: Panel, target: Mapping[str, Any], number: int) -> _Query | None:
        reference = target.get("datasource") or panel.datasource
        if _name_of(reference) == "-- mixed --":
            reference = None
        if _name_of(reference) in _NOT_QUERIED:
            return None
        source = self._reader.source(reference, self._variables)
        if source is None:
            raise NotFilled("its data source is not known, or may not be read with this token")
        if source.type in _NOT_QUERIED:
            return None
        variables = {**self._variables, **built_in(panel, source, self._window)}
        filled = _filled(target, source, variables)
        ref = str(target.get("refId") or chr(ord("A") + number % 26))[:20]
        return _Query(ref, _text_of(filled), source, filled, variables)

    async def _asked(self, query: _Query) -> FrameAnswer:
        start, end = window_ms(self._window)
        interval_ms = step_ms(query.variables)
        asked = {
            **query.target,
            "refId": query.ref,
            "datasource": {"type": query.source.type, "uid": query.source.uid},
            "intervalMs": interval_ms,
            "maxDataPoints": POINTS,
        }
        if query.source.type in PROMETHEUS:
            asked |= {"range": True, "instant": False, "exemplar": False}
        try:
            reply = await self._api.query({"from": start, "to": end, "queries": [asked]})
        except ConnectorRejected as error:
            if error.status not in _NO_QUERY_API or query.source.type not in PROMETHEUS:
                raise
            return await self._by_proxy(query, interval_ms / 1000)
        result = reply.results.get(query.ref, {})
        if error_text := result.get("error"):
            return FrameAnswer(notices=[str(error_text)[:300]])
        try:
            return read_frames(result.get("frames"))
        except ValueError as error:
            return FrameAnswer(notices=[f"its data frames are not as documented: {error}"])

    async def _by_proxy(self, query: _Query, step_s: float) -> FrameAnswer:
        span_s = (self._window.end - self._window.start).total_seconds()
        params = (
            ("query", query.text),
            ("start", f"{self._window.start.timestamp():.3f}"),
            ("end", f"{self._window.end.timestamp():.3f}"),
            ("step", f"{max(step_s, span_s / (POINTS_MAX - 1)):.3f}"),
        )
        data = await self._api.proxied(query.source.uid, "/api/v1/query_range", params)
        result = data.get("result") if isinstance(data, Mapping) else None
        listed = result if isinstance(result, list) else []
        return FrameAnswer(series=[s for item in listed[:SERIES_MAX] if (s := _of_matrix(item))])


def _of_matrix(item: Any) -> FrameSeries | None:
    metric = item.get("metric") if isinstance(item, Mapping) else None
    values = item.get("values") if isinstance(item, Mapping) else None
    if not isinstance(metric, Mapping) or not isinstance(values, list):
        return None
    labels = {str(k): str(v) for k, v in list(metric.items())[:64] if k != "__name__"}
    points = []
    for pair in values[:POINTS_MAX]:
        try:
            at, value = float(pair[0]), float(pair[1])
        except (TypeError, ValueError, IndexError, KeyError):
            continue
        if math.isfinite(at) and math.isfinite(value):
            points.append((at, value))
    if not points:
        return None
    shown = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    name = (shown or str(metric.get("__name__") or ""))[:300]
    times, numbers = zip(*sorted(points), strict=True)
    return FrameSeries(name, labels, "", tuple(times), tuple(numbers))


def _filled(
    target: Mapping[str, Any], source: DataSource, variables: Mapping[str, Values]
) -> Mapping[str, Any]:
    """Return a target whose texts, however deep, have their variables filled in."""
    fill = fill_promql if source.type in _LIKE_PROMQL else fill_plain

    def of(value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return fill(value[:_TEXT_MAX], variables)
        if depth > DEPTH_MAX:
            return value
        if isinstance(value, Mapping):
            return {key: of(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, Sequence):
            return [of(inner, depth + 1) for inner in value]
        return value

    # Legends and names are for people: a value that fits no query is of no harm there.
    kept = {key: target[key] for key in ("legendFormat", "refId", "datasource") if key in target}
    asked = {key: value for key, value in target.items() if key not in kept}
    return {**of(asked, 0), **kept}


def _text_of(target: Mapping[str, Any]) -> str:
    """Return the query of a target, whatever its data source calls it."""
    for key in ("expr", "rawSql", "query", "target", "expression"):
        text = target.get(key)
        if isinstance(text, str) and text:
            return text[:_TEXT_MAX]
    return f"query {str(target.get('refId') or '?')[:20]}"


def _name_of(reference: Any) -> str:
    name = reference.get("uid") if isinstance(reference, Mapping) else reference
    return name.lower() if isinstance(name, str) else ""


def _said(asked: str, error: ConnectorError) -> str:
    return f"{asked}: {error.message.removeprefix(f'{error.connector}: ')}"
