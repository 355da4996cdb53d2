"""Traces: which calls failed or slowed down, where that began, and who calls whom."""

import asyncio
from collections.abc import Sequence

from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import Seen, describe_span, missing_part
from it_incident_response.analysis.span_findings import find_in_spans
from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.ports import TraceQuery, TraceSource

TRACES_READ = 200
SPANS_KEPT = 30


async def traces_seen(name: str, source: TraceSource, scope: Scope) -> Sequence[Seen]:
    """Return the most telling operations; raises `ConnectorError`."""
    now, before = await asyncio.gather(
        *(source.traces(_query(scope, window)) for window in (scope.window, scope.before))
    )
    findings = await asyncio.to_thread(find_in_spans, now.spans, before.spans)
    gaps = dict.fromkeys([*now.gaps, *before.gaps])
    return [
        *(
            Seen(
                source=name,
                summary=describe_span(finding),
                finding=finding,
                query=now.query,
                link=now.link,
                window=scope.window,
                is_partial=now.is_truncated or bool(now.gaps),
            )
            for finding in findings[:SPANS_KEPT]
        ),
        *(missing_part(f"traces {name}", reason) for reason in gaps),
    ]


def _query(scope: Scope, window: TimeWindow) -> TraceQuery:
    services = scope.names(EntityKind.SERVICE)
    return TraceQuery(window=window, services=services, limit=TRACES_READ)
