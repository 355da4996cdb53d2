"""Which levels of which services wrote more lines than usual, or none, told from counts alone."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from it_incident_response.analysis.count_test import excess
from it_incident_response.domain.evidence import LogLevel, LogRate, Novelty, TimeWindow
from it_incident_response.ports.sources import LogCount

SIGNIFICANT = 1e-3
"""Chance below which a count is unusual; of 50 pairs of service and level 1 in 20 gives one."""
COUNT_MIN = 3
"""Fewer lines are no rate, whatever the test says."""

_RANK = {level: rank for rank, level in enumerate(LogLevel)}
_Series = Mapping[float, int]


def compare_rates(
    counts: Sequence[LogCount], window: TimeWindow, baseline: TimeWindow, *, bucket_s: float
) -> tuple[LogRate, ...]:
    """Return a rate for each service and level that is unusual in `window`, the worst first.

    The baseline is cut into windows as long as the incident's, counted backwards from its start,
    and the incident's count is held against them (`count_test.excess`). Gone: none came, where a
    Poisson process of the baseline's mean would be silent with a chance below `SIGNIFICANT`.
    """
    series: dict[tuple[str | None, LogLevel], dict[float, int]] = defaultdict(dict)
    for item in counts:
        at, of = item.at.timestamp(), series[item.service, item.level]
        of[at] = of.get(at, 0) + item.count
    found = [
        _rate(service, level, of, window, baseline, bucket_s)
        for (service, level), of in series.items()
    ]
    unusual = (rate for rate in found if rate.novelty is not Novelty.USUAL)
    return tuple(sorted(unusual, key=_telling))


def _rate(
    service: str | None,
    level: LogLevel,
    series: _Series,
    window: TimeWindow,
    baseline: TimeWindow,
    bucket_s: float,
) -> LogRate:
    length = max(bucket_s, (window.end - window.start).total_seconds())
    history = _history(series, window.start, baseline.start, length)
    count = _between(series, window.start, window.end)
    expected, p_value = sum(history) / len(history) if history else 0.0, None
    novelty = Novelty.UNKNOWN
    if history:
        p_value = excess(count, history).p_value
        novelty = _novelty(count, expected, p_value)
        if novelty is Novelty.GONE:
            p_value = math.exp(-expected)
    return LogRate(
        level=level,
        service=service,
        count=count,
        baseline_count=expected,
        novelty=novelty,
        p_value=p_value,
        onset=_onset(series, window, expected * bucket_s / length)
        if novelty in (Novelty.NEW, Novelty.SURGE)
        else None,
    )


def _novelty(count: int, expected: float, p_value: float) -> Novelty:
    if count == 0:
        return Novelty.GONE if math.exp(-expected) < SIGNIFICANT else Novelty.USUAL
    if count < COUNT_MIN or p_value >= SIGNIFICANT:
        return Novelty.USUAL
    return Novelty.NEW if expected == 0 else Novelty.SURGE


def _history(
    series: _Series, start: datetime, baseline_start: datetime, length: float
) -> list[float]:
    """Return the counts of windows of that length before `start`; a shorter one is scaled up."""
    whole = (start - baseline_start).total_seconds()
    if whole <= 0:
        return []
    if whole < length:
        return [_between(series, baseline_start, start) * length / whole]
    step = timedelta(seconds=length)
    return [
        float(_between(series, start - step * (n + 1), start - step * n))
        for n in range(int(whole // length))
    ]


def _between(series: _Series, start: datetime, end: datetime) -> int:
    first, last = start.timestamp(), end.timestamp()
    return sum(count for at, count in series.items() if first <= at < last)


def _onset(series: _Series, window: TimeWindow, usual: float) -> datetime | None:
    """Return the start of the first bucket with more than twice the usual number of lines."""
    inside = sorted(at for at in series if window.start.timestamp() <= at < window.end.timestamp())
    first = next((at for at in inside if series[at] > max(1.0, 2 * usual)), None)
    return datetime.fromtimestamp(first, UTC) if first is not None else None


def _telling(rate: LogRate) -> tuple[float, ...]:
    p_value = rate.p_value if rate.p_value is not None else 1.0
    return (rate.novelty is Novelty.GONE, -_RANK[rate.level], p_value, -rate.count)
