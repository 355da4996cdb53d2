"""Metrics: the series that the alerts are about, and what each shows."""

from collections.abc import Sequence

from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import Seen, describe_metric
from it_incident_response.analysis.metric_findings import find
from it_incident_response.analysis.signals_for import signals_for
from it_incident_response.domain.evidence import SignalSeries
from it_incident_response.ports import MetricRequest, MetricSource

ENTITIES_READ = 24
"""Things whose metrics are read; an incident that touches more is read by its first ones."""


async def metrics_seen(source: MetricSource, scope: Scope) -> Sequence[Seen]:
    """Return a finding for each series; raises `ConnectorError`."""
    request = MetricRequest(
        signals=signals_for(scope.alerts, scope.entities),
        entities=scope.measurable()[:ENTITIES_READ],
        window=scope.whole,
    )
    return [_seen(series, scope) for series in await source.series(request)]


def _seen(series: SignalSeries, scope: Scope) -> Seen:
    finding = find(
        series,
        incident_start=scope.start,
        baseline_start=scope.baseline,
        now=scope.now,
        began=scope.began,
    )
    return Seen(
        source=series.source,
        summary=describe_metric(finding),
        finding=finding,
        query=series.query,
        link=series.link,
        window=scope.whole,
    )
