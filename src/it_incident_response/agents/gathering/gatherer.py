"""Gathers evidence for one incident from every source at once; a silent source becomes a gap."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple

from it_incident_response.agents.gathering.alerts import alerts_seen
from it_incident_response.agents.gathering.asking import all_of
from it_incident_response.agents.gathering.changes import changes_seen
from it_incident_response.agents.gathering.hosts import hosts_seen
from it_incident_response.agents.gathering.known_topology import KnownTopology
from it_incident_response.agents.gathering.logs import log_patterns_seen, log_rates_seen
from it_incident_response.agents.gathering.metrics import metrics_seen, panels_seen
from it_incident_response.agents.gathering.scope import Scope, scope_of
from it_incident_response.agents.gathering.seen import Seen, gap
from it_incident_response.agents.gathering.sources import GatherSettings, Sources
from it_incident_response.agents.gathering.traces import traces_seen
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.evidence import (
    Change,
    Evidence,
    Finding,
    MetricFinding,
    SpanFinding,
)
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.topology import Topology
from it_incident_response.ports import Clock, LogCounter
from it_incident_response.safety.redaction import Redactor

Question = tuple[str, Awaitable[Sequence[Seen]]]


class Gathered(NamedTuple):
    """What was found about one incident, and the graph in which it stands."""

    evidence: list[Evidence]
    topology: Topology
    scope: Scope


class Gatherer:
    """Asks every source in parallel, each question within its time budget."""

    def __init__(
        self,
        sources: Sources,
        clock: Clock,
        settings: GatherSettings,
        redactor: Redactor,
        topology: KnownTopology,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._settings = settings
        self._redactor = redactor
        self._topology = topology

    async def gather(self, incident: Incident, alerts: Sequence[Alert]) -> Gathered:
        """Return evidence in a fixed order: alerts, metrics, logs, traces, changes, hosts."""
        settings, sources = self._settings, self._sources
        topology = await self._topology.refreshed(settings.source_budget_s)
        now = self._clock.now()
        scope = scope_of(incident, alerts, settings, now, sources.inventory, topology)
        asked = dict(self._questions(scope, incident.id))
        seen = [
            *alerts_seen(alerts),
            *self._absent(),
            *await all_of(asked, settings.source_budget_s),
        ]
        evidence = await asyncio.to_thread(self._stored_form, seen, incident.id)
        return Gathered(evidence, topology, scope)

    def _questions(self, scope: Scope, incident_id: IncidentId) -> Iterator[Question]:
        """Yield what is asked; the name of each begins with the kind of what stays unknown."""
        sources = self._sources
        for name, metrics in sources.metrics.items():
            yield f"metrics {name}", metrics_seen(name, metrics, scope)
        for name, panels in sources.panels.items():
            yield f"metrics {name} (panels)", panels_seen(name, panels, scope)
        for name, logs in sources.logs.items():
            if isinstance(logs, LogCounter):
                yield f"logs {name} (counts)", log_rates_seen(name, logs, scope)
            yield f"logs {name}", log_patterns_seen(name, logs, scope, self._redactor.redact)
        for name, traces in sources.traces.items():
            yield f"traces {name}", traces_seen(name, traces, scope)
        for name, changes in sources.changes.items():
            yield f"changes {name}", changes_seen(name, changes, scope)
        if sources.look is not None:
            yield "hosts", hosts_seen(sources.look, sources.inventory, scope, incident_id)

    def _absent(self) -> Iterator[Seen]:
        """Yield a gap for each kind that nobody can tell about: silence proves nothing."""
        if not self._sources.metrics:
            yield gap("metrics", "no metric source is configured")
        if not self._sources.logs:
            yield gap("logs", "no log source is configured")

    def _stored_form(self, seen: Sequence[Seen], incident_id: IncidentId) -> list[Evidence]:
        now = self._clock.now()
        return [
            Evidence(
                id=new_id(now),
                incident_id=incident_id,
                source=item.source,
                summary=self._redactor.redact(item.summary),
                finding=self._redacted(item.finding),
                query=self._redactor.redact(item.query) if item.query else None,
                link=item.link,
                window=item.window,
                observed_at=now,
                is_partial=item.is_partial,
            )
            for item in seen
        ]

    def _redacted(self, finding: Finding) -> Finding:
        """Return what was written elsewhere without secrets; log lines were done before mining."""
        if isinstance(finding, MetricFinding):
            title = self._redactor.redact(finding.title) if finding.title else finding.title
            return finding.model_copy(update={"title": title})
        if not isinstance(finding, Change | SpanFinding):
            return finding
        return type(finding).model_validate(self._redactor.redact_value(finding.model_dump()))
