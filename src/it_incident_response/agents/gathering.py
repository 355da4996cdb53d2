"""Gathers evidence for one incident from every source at once; a silent source becomes a gap."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from it_incident_response.actions import RunDiagnosticCommand
from it_incident_response.analysis.log_patterns import mine
from it_incident_response.analysis.metric_findings import find
from it_incident_response.analysis.signals_for import signals_for
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    AlertFact,
    Evidence,
    Finding,
    LogLevel,
    LogLine,
    LogPattern,
    MetricFinding,
    Shape,
    SourceGap,
    TimeWindow,
)
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value
from it_incident_response.domain.topology import Topology
from it_incident_response.errors import ActionError, ConnectorError
from it_incident_response.ports import (
    ChangeSource,
    Clock,
    LogQuery,
    LogSource,
    MetricRequest,
    MetricSource,
)

Look = Callable[[RunDiagnosticCommand, IncidentId], Awaitable[Execution]]
Redact = Callable[[str], str]

ALERTS_CITED = 100
"""Alerts that become evidence; the worst and newest first."""
ENTITIES_READ = 24
"""Things whose metrics are read; an incident that touches more is read by its first ones."""
PATTERNS_KEPT = 20
LOG_LINES_READ = 5000
LOOKS_MADE = 12


class GatherSettings(Value):
    """How far back to look and how long to wait; all in seconds."""

    window_s: float = 900.0
    baseline_s: float = 3600.0
    source_budget_s: float = 10.0


@dataclass(frozen=True)
class Sources:
    """What can be asked; None: not configured, which is a gap too."""

    metrics: MetricSource | None = None
    logs: LogSource | None = None
    changes: ChangeSource | None = None
    look: Look | None = None
    inventory: Inventory = field(default_factory=Inventory)
    topology: Topology = field(default_factory=Topology)


@dataclass(frozen=True)
class Seen:
    """One observation before it is stored."""

    source: str
    summary: str
    finding: Finding
    query: str | None = None
    link: str | None = None
    window: TimeWindow | None = None
    is_partial: bool = False


class Gatherer:
    """Asks every source in parallel, each within its time budget."""

    def __init__(
        self, sources: Sources, clock: Clock, settings: GatherSettings, redact: Redact
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._settings = settings
        self._redact = redact

    async def gather(self, incident: Incident, alerts: Sequence[Alert]) -> list[Evidence]:
        """Return evidence in a fixed order: alerts, metrics, logs, changes, looks, gaps."""
        scope = self._scope(incident, alerts)
        groups = await asyncio.gather(
            self._within("metrics", self._metrics(scope)),
            self._within("logs", self._logs(scope)),
            self._within("changes", self._changes(scope)),
            self._within("hosts", self._looks(scope, incident.id)),
        )
        seen = [*_alert_facts(alerts), *(item for group in groups for item in group)]
        now = self._clock.now()
        return [
            Evidence(
                id=new_id(now),
                incident_id=incident.id,
                source=item.source,
                summary=self._redact(item.summary),
                finding=item.finding,
                query=item.query,
                link=item.link,
                window=item.window,
                observed_at=now,
                is_partial=item.is_partial,
            )
            for item in seen
        ]

    async def _within(self, source: str, work: Awaitable[list[Seen]]) -> list[Seen]:
        try:
            async with asyncio.timeout(self._settings.source_budget_s):
                return await work
        except TimeoutError:
            reason = f"no answer within {self._settings.source_budget_s:g} s"
        except (ConnectorError, ActionError) as error:
            reason = error.message
        return [gap(source, reason)]

    def _scope(self, incident: Incident, alerts: Sequence[Alert]) -> "Scope":
        now = self._clock.now()
        # Not after now, whatever the clock says that stamped them: a window has its start first.
        starts = [alert.starts_at for alert in alerts if alert.is_firing] or [incident.opened_at]
        began = min(*starts, now)
        start = began - timedelta(seconds=self._settings.window_s)
        named = [
            e for name in incident.affected_systems for e in self._sources.inventory.named(name)
        ]
        own = [entity for alert in alerts for entity in alert.entities]
        entities = tuple(dict.fromkeys([*named, *own]))
        near = [n for entity in entities for n in sorted(self._sources.topology.neighbours(entity))]
        return Scope(
            entities=entities,
            neighbours=tuple(n for n in dict.fromkeys(near) if n not in entities),
            alerts=tuple(alerts),
            began=began,
            start=start,
            baseline=start - timedelta(seconds=self._settings.baseline_s),
            now=now,
        )

    async def _metrics(self, scope: "Scope") -> list[Seen]:
        source = self._sources.metrics
        if source is None:
            return [gap("metrics", "no metric source is configured")]
        window = TimeWindow(start=scope.baseline, end=scope.now)
        request = MetricRequest(
            signals=signals_for(scope.alerts, scope.entities),
            entities=scope.measurable()[:ENTITIES_READ],
            window=window,
        )
        seen = []
        for series in await source.series(request):
            finding = find(
                series,
                incident_start=scope.start,
                baseline_start=scope.baseline,
                now=scope.now,
                began=scope.began,
            )
            seen.append(
                Seen(
                    source=series.source,
                    summary=describe_metric(finding),
                    finding=finding,
                    query=series.query,
                    link=series.link,
                    window=window,
                )
            )
        return seen

    async def _logs(self, scope: "Scope") -> list[Seen]:
        source = self._sources.logs
        if source is None:
            return [gap("logs", "no log source is configured")]
        window = TimeWindow(start=scope.start, end=scope.now)
        before = TimeWindow(start=scope.baseline, end=scope.start)
        services = scope.names(EntityKind.SERVICE)
        hosts = () if services else scope.names(EntityKind.HOST, EntityKind.NODE)
        queries = [
            LogQuery(
                window=w,
                services=services,
                hosts=hosts,
                minimum_level=LogLevel.INFO,
                limit=LOG_LINES_READ,
            )
            for w in (window, before)
        ]
        now_lines, old_lines = await asyncio.gather(*(source.lines(q) for q in queries))
        patterns = mine(
            _redacted(now_lines.lines, self._redact),
            _redacted(old_lines.lines, self._redact),
            window,
            before,
        )
        return [
            Seen(
                source="logs",
                summary=describe_pattern(pattern),
                finding=pattern,
                query=now_lines.query,
                link=now_lines.link,
                window=window,
                is_partial=now_lines.is_truncated,
            )
            for pattern in patterns[:PATTERNS_KEPT]
        ]

    async def _changes(self, scope: "Scope") -> list[Seen]:
        source = self._sources.changes
        if source is None:
            return []
        window = TimeWindow(start=scope.baseline, end=scope.now)
        return [
            Seen(
                source="changes",
                summary=f"{change.what}: {change.summary}",
                finding=change,
                window=window,
            )
            for change in await source.changes(window)
        ]

    async def _looks(self, scope: "Scope", incident_id: IncidentId) -> list[Seen]:
        look = self._sources.look
        if look is None:
            return []
        proposed = RunDiagnosticCommand.propose(scope.entities, self._sources.inventory)
        looks = [a for a in proposed if isinstance(a, RunDiagnosticCommand)][:LOOKS_MADE]
        results = await asyncio.gather(
            *(_looked(look(action, incident_id), action) for action in looks),
            return_exceptions=True,
        )
        seen: dict[str, Seen] = {}
        for action, result in zip(looks, results, strict=True):
            if isinstance(result, ConnectorError | ActionError):
                seen.setdefault(result.message, gap(f"host {action.host}", result.message))
            elif isinstance(result, BaseException):
                raise result
            else:
                seen[f"{action.host} {result.summary}"] = result
        return list(seen.values())


class Scope(Value):
    """What an incident is about and which times matter."""

    entities: tuple[Entity, ...]
    neighbours: tuple[Entity, ...]
    alerts: tuple[Alert, ...]
    began: datetime
    start: datetime
    baseline: datetime
    now: datetime

    def measurable(self) -> tuple[Entity, ...]:
        """Return the entities that metrics are kept of, the affected ones first."""
        kinds = (EntityKind.NAMESPACE, EntityKind.JOB, EntityKind.DEVICE)
        return tuple(e for e in (*self.entities, *self.neighbours) if e.kind not in kinds)

    def names(self, *kinds: EntityKind) -> tuple[str, ...]:
        """Return the names of the affected and neighbouring entities of these kinds."""
        return tuple(e.name for e in (*self.entities, *self.neighbours) if e.kind in kinds)


async def _looked(look: Awaitable[Execution], action: RunDiagnosticCommand) -> Seen:
    execution = await look
    if execution.state is not StepState.FINISHED or not execution.results:
        return gap(f"host {action.host}", execution.error or f"{action.command} did not run")
    finding = action.finding(execution.results[0])
    facts = ", ".join(f"{name}={value}" for name, value in sorted(finding.facts.items())[:6])
    about = action.unit or action.path or ""
    name = action.command.value.replace("_", " ")
    return Seen(
        source=f"host {action.host}",
        summary=f"{name} {about} on {action.host}: {facts or 'see the output'}",
        finding=finding,
        query=finding.command,
    )


def gap(source: str, reason: str) -> Seen:
    """Return the observation that a source was silent."""
    return Seen(
        source=source,
        summary=f"{source} could not be asked: {reason}",
        finding=SourceGap(source=source, reason=reason),
    )


def _alert_facts(alerts: Sequence[Alert]) -> list[Seen]:
    worst = sorted(alerts, key=lambda a: (not a.is_firing, -a.severity.rank, a.starts_at))
    return [
        Seen(
            source=alert.source,
            summary=f"alert {alert.name} {alert.status} since {alert.starts_at:%H:%M:%S} UTC"
            + (f": {text}" if (text := _annotation(alert)) else ""),
            finding=AlertFact(
                fingerprint=alert.fingerprint,
                name=alert.name,
                entities=alert.entities,
                labels=alert.labels,
                annotations=alert.annotations,
                starts_at=alert.starts_at,
                is_firing=alert.is_firing,
            ),
            link=alert.generator_url,
        )
        for alert in worst[:ALERTS_CITED]
    ]


def _annotation(alert: Alert) -> str:
    return (alert.annotations.get("summary") or alert.annotations.get("description") or "")[:300]


def describe_metric(finding: MetricFinding) -> str:
    """Return one sentence on what a series shows."""
    name = f"{finding.signal} of {finding.entity}"
    if finding.shape is Shape.NO_DATA or finding.current is None:
        return f"{name} has no data"
    level = f"{finding.current:.4g}"
    if finding.shape is Shape.NORMAL:
        return f"{name} is normal at {level}"
    usual = f", usually {finding.baseline:.4g}" if finding.baseline is not None else ""
    since = f", since {finding.onset:%H:%M:%S} UTC" if finding.onset else ""
    return f"{name}: {finding.shape.value.replace('_', ' ')} to {level}{usual}{since}"


def describe_pattern(pattern: LogPattern) -> str:
    """Return one sentence on what a log pattern shows."""
    place = " on ".join(part for part in (pattern.service, pattern.host) if part)
    where = f" from {place}" if place else ""
    usual = f", usually {pattern.baseline_count:.1f}" if pattern.baseline_count >= 0.05 else ", new"
    return f"{pattern.count}x {pattern.level}{where}{usual}: {pattern.template[:200]}"


def _redacted(lines: Sequence[LogLine], redact: Redact) -> list[LogLine]:
    return [line.model_copy(update={"message": redact(line.message)}) for line in lines]
