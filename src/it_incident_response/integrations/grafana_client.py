"""Reads dashboards with their data and the alert rules of Grafana; marks incidents on it."""

import asyncio
import html
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from it_incident_response.domain.evidence import Signal, SignalSeries, TimeWindow
from it_incident_response.domain.model import Value
from it_incident_response.errors import (
    ConnectorError,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
    InputRejected,
)
from it_incident_response.integrations._grafana_api import DashboardReply, GrafanaApi
from it_incident_response.integrations._grafana_dashboard import Dashboard, Panel, read_dashboard
from it_incident_response.integrations._grafana_meaning import as_signal, owner_of
from it_incident_response.integrations._grafana_panels import PanelAnswer, PanelRunner
from it_incident_response.integrations._grafana_settings import (
    DEFAULT_URL,
    EVERY_SERVICE,
    NAME,
    UID,
    GrafanaSettings,
)
from it_incident_response.integrations._grafana_variables import Resolved, VariableReader
from it_incident_response.integrations.connector import Connector, read_settings
from it_incident_response.ports.blocking import run_blocking
from it_incident_response.ports.registry import Surroundings
from it_incident_response.ports.sources import (
    Annotator,
    Health,
    HealthCheck,
    PanelSource,
    SeriesBatch,
)

CONCURRENT_MAX = 4
"""Panels run at once."""
WHOLE_BUDGETS = 4.0
"""How many time budgets a person who asks for a whole dashboard is willing to wait."""
ANNOTATION_MAX = 2_000
TAGS_MAX = 10
TAG = "it-incident-response"
"""On every annotation of ours, so that a dashboard can choose them."""
GAPS_MAX = 20

T = TypeVar("T")


class GrafanaAlertRule(Value):
    """An alert rule that Grafana evaluates itself."""

    uid: str | None
    title: str
    group: str
    """Folder and group."""
    state: str
    """`firing`, `pending` or `inactive`; `unknown` where the evaluation is not told."""
    health: str = ""
    query: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    is_paused: bool = False


@dataclass(frozen=True)
class DashboardReading:
    """A dashboard with what its panels show over a window."""

    dashboard: Dashboard
    resolved: Resolved
    answers: tuple[PanelAnswer, ...]
    links: Mapping[int, str] = field(default_factory=dict)
    """Address of each panel by its id, over the window and with the variables as they were."""
    gaps: tuple[str, ...] = ()


class GrafanaMetricsClient:
    """One Grafana; asynchronous as the ports it fills, synchronous as in the user's guide."""

    def __init__(
        self,
        grafana_url: str | None = None,
        api_key: str | None = None,
        *,
        settings: GrafanaSettings | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Connect to nothing yet; `api_key` is a service-account token.

        Raises `ConfigError` for a URL that is none.
        """
        if settings is None:
            given = {"url": grafana_url or DEFAULT_URL, "bearer_token": api_key}
            settings = read_settings(NAME, GrafanaSettings, given)
        surroundings = surroundings or Surroundings()
        self.grafana_url = settings.url
        self._settings = settings
        self._clock = surroundings.clock
        self._api = GrafanaApi(settings, surroundings)

    def get_dashboard_data(
        self,
        dashboard_id: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return a dashboard with its data, for synchronous callers; raises `ConnectorError`.

        `dashboard` and `meta` are as Grafana gives them. `panels` has for each panel with queries
        `id`, `title`, `type`, `unit`, `link`, `series` (`name`, `labels`, `query`, `unit`, `times`
        in Unix seconds, `values`) and `gaps`: what of it could not be read, in words. The window
        is the last hour unless given; `variables` are chosen instead of the saved ones.
        """

        async def once() -> dict[str, Any]:
            until = end or self._clock.now()
            window = TimeWindow(start=start or until - timedelta(hours=1), end=until)
            reply = await self._reply(dashboard_id)
            budget_s = WHOLE_BUDGETS * self._settings.time_budget_s
            data = await self._data(
                dashboard_id, reply, window, None, budget_s=budget_s, chosen=variables
            )
            return {
                "dashboard": reply.dashboard,
                "meta": reply.meta,
                "panels": [_for_people(answer, data.links) for answer in data.answers],
                "gaps": list(data.gaps),
            }

        return self._blocking(once)

    async def dashboard_data(
        self,
        uid: str,
        window: TimeWindow,
        *,
        service: str | None = None,
        budget_s: float | None = None,
    ) -> DashboardReading:
        """Return a dashboard with what its panels show over the window; raises `ConnectorError`.

        Variables named `service`, `app`, `job`... are set to `service` where they know it. Panels
        that have not answered within the budget (`time_budget_s`) have a gap that says so.
        """
        budget_s = self._settings.time_budget_s if budget_s is None else budget_s
        reply = await self._reply(uid)
        return await self._data(uid, reply, window, service, budget_s)

    async def panels(self, services: Sequence[str], window: TimeWindow) -> SeriesBatch:
        """Return the series of the services' dashboards that came within the time budget.

        Of those configured for a service, else of those found by its name, and of those that are
        configured for all. Raises `ConnectorError` if nothing can be asked at all.
        """
        found: list[SignalSeries] = []
        gaps: list[str] = []
        try:
            async with asyncio.timeout(self._settings.time_budget_s):
                dashboards = await self._dashboards_of(services)
                # So short of the whole that the dashboards before do not eat up those after.
                share_s = 0.8 * self._settings.time_budget_s / max(1, len(dashboards))
                for service, uid in dashboards:
                    await self._of_dashboard(uid, service, window, share_s, found, gaps)
        except TimeoutError:
            told = f"no answer within {self._settings.time_budget_s:g} s"
            if not found and not gaps:
                raise ConnectorUnavailable(NAME, told) from None
            gaps.append(f"the panels that are not here: {told}")
        more = len(gaps) - GAPS_MAX
        last = (f"and {more} more panels or queries failed",) if more > 0 else ()
        return SeriesBatch(series=tuple(found), gaps=(*dict.fromkeys(gaps[:GAPS_MAX]), *last))

    def panel_link(self, data: DashboardReading, panel_id: int | None, window: TimeWindow) -> str:
        """Return the address that shows a panel, or the dashboard, over a window."""
        chosen, org = data.resolved.chosen(), self._settings.org_id
        return data.dashboard.link(self.grafana_url, window, panel_id, chosen, org)

    async def alert_rules(self) -> Sequence[GrafanaAlertRule]:
        """Return Grafana's own alert rules with their state; raises `ConnectorError`.

        Where the token may not read how rules are kept (`alert.provisioning:read`), only as they
        are evaluated, in which a paused rule is missing.
        """
        kept, evaluated = await self._api.rules()
        by_uid = {rule.uid: rule for rule in kept}
        rules = [
            GrafanaAlertRule(
                uid=rule.uid,
                title=rule.name,
                group=group,
                state=rule.state or "unknown",
                health=rule.health,
                query=rule.query,
                labels=rule.labels or {},
                annotations=rule.annotations or {},
                is_paused=bool(rule.uid and rule.uid in by_uid and by_uid[rule.uid].is_paused),
            )
            for group, rule in evaluated
        ]
        known_uids = {rule.uid for rule in rules}
        known_names = {rule.title for rule in rules if rule.uid is None}
        return rules + [
            GrafanaAlertRule(
                uid=rule.uid,
                title=rule.title,
                group=f"{rule.folder_uid}/{rule.group}",
                state="unknown",
                labels=rule.labels or {},
                annotations=rule.annotations or {},
                is_paused=rule.is_paused,
            )
            for rule in kept
            if rule.uid not in known_uids and rule.title not in known_names
        ]

    async def annotate(
        self, text: str, *, start: datetime, end: datetime | None = None, tags: Sequence[str] = ()
    ) -> str:
        """Mark a moment or a span for all dashboards of the organisation; return its id.

        Dashboards show it by its tags (`it-incident-response` and those given). The text is shown
        as it is: Grafana takes annotations for HTML, so it is escaped. Not retried, since a second
        request would make a second annotation. Raises `ConnectorError`.
        """
        body: dict[str, Any] = {
            "time": round(start.timestamp() * 1000),
            "tags": [TAG, *(tag[:100] for tag in tags[:TAGS_MAX] if tag)],
            "text": html.escape(text[:ANNOTATION_MAX], quote=False),
        }
        if end is not None:
            body["timeEnd"] = round(max(start, end).timestamp() * 1000)
        return str(await self._api.annotate(body))

    async def check(self) -> Health:
        """Return the version (`/api/health`), and prove the token if there is one (`/api/org`)."""
        return Health(version=await self._api.health())

    async def aclose(self) -> None:
        """Close the connections made in this event loop."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _reply(self, uid: str) -> DashboardReply:
        if not UID.fullmatch(uid):
            raise InputRejected(f"{uid[:60]!r} is not the uid of a dashboard")
        return await self._api.dashboard(uid)

    async def _data(
        self,
        uid: str,
        reply: DashboardReply,
        window: TimeWindow,
        service: str | None,
        budget_s: float,
        chosen: Mapping[str, str] | None = None,
    ) -> DashboardReading:
        try:
            dashboard = read_dashboard(uid, reply.dashboard, reply.meta)
        except ValueError as error:
            raise ConnectorReplyInvalid(NAME, f"dashboard {uid}: {error}") from None
        dashboard = dashboard.choosing(chosen or {})
        reader = VariableReader(self._api, await self._api.data_sources())
        resolved = await reader.resolved(dashboard, window, service)
        runner = PanelRunner(self._api, reader, resolved.variables, window)
        read = dashboard.panels[: self._settings.panels_max]
        answers = await _run_all(runner, read, budget_s)
        shown, org = resolved.chosen(), self._settings.org_id
        links = {p.id: dashboard.link(self.grafana_url, window, p.id, shown, org) for p in read}
        gaps = tuple(self._shortcomings(dashboard, resolved))
        return DashboardReading(dashboard, resolved, tuple(answers), links, gaps)

    def _shortcomings(self, dashboard: Dashboard, resolved: Resolved) -> Iterator[str]:
        name = f"dashboard {dashboard.title!r}"
        yield from (f"{name}: {gap}" for gap in resolved.gaps)
        if dashboard.has_ad_hoc_filters:
            yield f"{name}: its ad hoc filters were not applied"
        if len(dashboard.panels) > self._settings.panels_max:
            counts = f"{self._settings.panels_max} of its {len(dashboard.panels)}"
            yield f"{name}: {counts} panels were read"

    async def _dashboards_of(self, services: Sequence[str]) -> Sequence[tuple[str | None, str]]:
        configured = self._settings.dashboards
        limit = self._settings.dashboards_max
        found: dict[tuple[str | None, str], None] = {}
        for service in dict.fromkeys(services):
            uids = configured.get(service, ())
            if not uids and self._settings.search and service:
                hits = await self._api.search(service, limit)
                uids = tuple(hit.uid for hit in hits if UID.fullmatch(hit.uid))
            found.update(dict.fromkeys((service, uid) for uid in uids))
        found.update(dict.fromkeys((None, uid) for uid in configured.get(EVERY_SERVICE, ())))
        return list(found)[:limit]

    async def _of_dashboard(
        self,
        uid: str,
        service: str | None,
        window: TimeWindow,
        budget_s: float,
        found: list[SignalSeries],
        gaps: list[str],
    ) -> None:
        try:
            data = await self.dashboard_data(uid, window, service=service, budget_s=budget_s)
        except ConnectorError as error:
            gaps.append(f"dashboard {uid}: {error.message.removeprefix(f'{NAME}: ')}")
            return
        gaps += data.gaps
        owner = owner_of(service, data.dashboard.title)
        for answer in data.answers:
            title = answer.panel.title
            gaps += [f"panel {title!r}: {gap}" for gap in answer.gaps]
            signal = self._settings.signals.get(title, Signal.OTHER)
            link = data.links[answer.panel.id]
            found += [
                as_signal(series, title=title, link=link, owner=owner, signal=signal)
                for series in answer.series
            ]

    def _blocking(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def once() -> T:
            try:
                return await ask()
            finally:
                await self._api.aclose()

        return run_blocking(once)


async def _run_all(
    runner: PanelRunner, panels: Sequence[Panel], budget_s: float
) -> Sequence[PanelAnswer]:
    """Return what each panel answered; of one that did not within the budget, that it did not."""
    gate = asyncio.Semaphore(CONCURRENT_MAX)

    async def run(panel: Panel) -> PanelAnswer:
        async with gate:
            return await runner.run(panel)

    if not panels:
        return ()
    running = {asyncio.ensure_future(run(panel)): panel for panel in panels}
    try:
        await asyncio.wait(running, timeout=budget_s)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    late = (f"no answer within {budget_s:.3g} s",)
    return [
        PanelAnswer(panel, gaps=late) if task.cancelled() else task.result()
        for task, panel in running.items()
    ]


def _for_people(answer: PanelAnswer, links: Mapping[int, str]) -> dict[str, Any]:
    panel = answer.panel
    return {
        "id": panel.id,
        "title": panel.title,
        "type": panel.type,
        "unit": panel.unit,
        "link": links[panel.id],
        "series": [
            {
                "name": found.series.name,
                "labels": dict(found.series.labels),
                "query": found.query,
                "unit": found.unit,
                "times": list(found.series.times),
                "values": list(found.series.values),
            }
            for found in answer.series
        ],
        "gaps": list(answer.gaps),
    }


def _make(settings: GrafanaSettings, surroundings: Surroundings) -> GrafanaMetricsClient:
    return GrafanaMetricsClient(settings=settings, surroundings=surroundings)


CONNECTOR = Connector(
    name=NAME,
    settings=GrafanaSettings,
    capabilities=frozenset({Annotator, HealthCheck, PanelSource}),
    make=_make,
)
