"""Metrics: the series that the alerts are about, and what each shows."""

import asyncio
from collections.abc import Sequence

from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import Seen, describe_metric, missing_part
from it_incident_response.analysis.metric_findings import find_all
from it_incident_response.analysis.signals_for import signals_for
from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import MetricFinding, Shape, SignalSeries
from it_incident_response.ports import (
    MetricReader,
    MetricRequest,
    MetricSource,
    PanelSource,
    SeriesBatch,
)

ENTITIES_READ = 24
"""Things whose metrics are read; an incident that touches more is read by its first ones."""


PANELS_KEPT = 40
"""Series of dashboards that become evidence: of those that changed, the most changed."""


async def metrics_seen(name: str, source: MetricSource, scope: Scope) -> Sequence[Seen]:
    """Return a finding for each series; raises `ConnectorError`."""
    request = MetricRequest(
        signals=signals_for(scope.alerts, scope.entities),
        entities=scope.measurable()[:ENTITIES_READ],
        window=scope.whole,
    )
    if isinstance(source, MetricReader):
        batch = await source.read_metrics(request)
    else:
        batch = SeriesBatch(series=tuple(await source.series(request)))
    seen = await asyncio.to_thread(_seen, batch.series, scope)
    return [*seen, *(missing_part(f"metrics {name}", reason) for reason in batch.gaps)]


async def panels_seen(name: str, source: PanelSource, scope: Scope) -> Sequence[Seen]:
    """Return what changed on the dashboards of the services; raises `ConnectorError`."""
    batch = await source.panels(scope.names(EntityKind.SERVICE), scope.whole)
    seen = await asyncio.to_thread(_seen, batch.series, scope)
    changed = sorted((item for item in seen if _change(item)), key=_change, reverse=True)
    gaps = (missing_part(f"metrics {name} (panels)", reason) for reason in batch.gaps)
    return [*changed[:PANELS_KEPT], *gaps]


def _change(seen: Seen) -> float:
    """Return how far a series is from normal; 0 for one that is normal."""
    finding = seen.finding
    if not isinstance(finding, MetricFinding) or finding.shape in (Shape.NORMAL, Shape.NO_DATA):
        return 0.0
    return max(abs(finding.effect), 1e-9)


def _seen(listed: Sequence[SignalSeries], scope: Scope) -> list[Seen]:
    findings = find_all(
        listed,
        incident_start=scope.start,
        baseline_start=scope.baseline,
        now=scope.now,
        began=scope.began,
    )
    return [
        Seen(
            source=series.source,
            summary=describe_metric(finding),
            finding=finding,
            query=series.query,
            link=series.link,
            window=scope.whole,
        )
        for series, finding in zip(listed, findings, strict=True)
    ]
