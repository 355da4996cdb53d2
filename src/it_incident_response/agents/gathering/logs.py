"""Logs: first counts, made where the lines are stored, then the lines and their patterns."""

import asyncio
from collections.abc import Callable, Sequence

from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import (
    Seen,
    describe_pattern,
    describe_rate,
    missing_part,
)
from it_incident_response.analysis.log_patterns import mine
from it_incident_response.analysis.log_rates import compare_rates
from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import LogLevel, LogLine, TimeWindow
from it_incident_response.ports import LogBatch, LogCounter, LogQuery, LogSource

PATTERNS_KEPT = 20
RATES_KEPT = 20
LINES_READ = 5000
BUCKET_S = 60.0

Redact = Callable[[str], str]


async def log_rates_seen(name: str, source: LogCounter, scope: Scope) -> Sequence[Seen]:
    """Return the levels and services whose number of lines changed; raises `ConnectorError`."""
    query = _query(scope, scope.whole, LogLevel.WARNING)
    counted = await source.counts(query, bucket_s=BUCKET_S)
    rates = compare_rates(counted.counts, scope.window, scope.before, bucket_s=counted.bucket_s)
    return [
        *(
            Seen(
                source=name,
                summary=describe_rate(rate),
                finding=rate,
                query=counted.query,
                link=counted.link,
                window=scope.whole,
                is_partial=bool(counted.gaps),
            )
            for rate in rates[:RATES_KEPT]
        ),
        *(missing_part(f"logs {name}", reason) for reason in counted.gaps),
    ]


async def log_patterns_seen(
    name: str, source: LogSource, scope: Scope, redact: Redact
) -> Sequence[Seen]:
    """Return the most telling patterns of the lines; raises `ConnectorError`."""
    read = [
        source.lines(_query(scope, window, LogLevel.INFO))
        for window in (scope.window, scope.before)
    ]
    now, before = await asyncio.gather(*read)
    patterns = await asyncio.to_thread(
        mine, _lines(now, redact), _lines(before, redact), _covered(now, scope), scope.before
    )
    is_partial = now.is_truncated or bool(now.gaps)
    gaps = dict.fromkeys([*now.gaps, *before.gaps])
    return [
        *(
            Seen(
                source=name,
                summary=describe_pattern(pattern),
                finding=pattern,
                query=now.query,
                link=now.link,
                window=scope.window,
                is_partial=is_partial,
            )
            for pattern in patterns[:PATTERNS_KEPT]
        ),
        *(missing_part(f"logs {name}", reason) for reason in gaps),
    ]


def _query(scope: Scope, window: TimeWindow, minimum_level: LogLevel) -> LogQuery:
    services = scope.names(EntityKind.SERVICE)
    # A service's lines come from wherever it runs; hosts narrow only where no service is named.
    hosts = () if services else scope.names(EntityKind.HOST, EntityKind.NODE)
    pods = () if services or hosts else scope.names(EntityKind.POD)
    return LogQuery(
        window=window,
        services=services,
        hosts=hosts,
        pods=pods,
        minimum_level=minimum_level,
        limit=LINES_READ,
    )


def _lines(batch: LogBatch, redact: Redact) -> list[LogLine]:
    return [line.model_copy(update={"message": redact(line.message)}) for line in batch.lines]


def _covered(batch: LogBatch, scope: Scope) -> TimeWindow:
    """Return the time that the lines cover: of a truncated batch only the newest are there."""
    if not batch.is_truncated or not batch.lines:
        return scope.window
    first = min(line.at for line in batch.lines)
    return TimeWindow(start=min(max(first, scope.start), scope.now), end=scope.now)
