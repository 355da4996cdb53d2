"""Asks log systems together, each within its time, and says which of them did not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from it_incident_response.analysis.log_detection import Seen, seen_in
from it_incident_response.analysis.log_rules import Grouping, LogRule, concerns_line
from it_incident_response.domain.evidence import LogLevel, LogLine, TimeWindow
from it_incident_response.errors import ConnectorError
from it_incident_response.ports import LogBatch, LogCounter, LogQuery, LogSource

LINES_MAX = 10_000
"""Lines read for one question where a system cannot count by itself."""
BUCKETS_A_WINDOW = 10
"""How finely a window is counted: a breach begins with the first bucket that is not empty."""

T = TypeVar("T")


@dataclass(frozen=True)
class Read:
    """What the systems answered."""

    seen: tuple[Seen, ...] = ()
    lines: tuple[LogLine, ...] = ()
    problems: tuple[str, ...] = ()
    """Who did not answer, or not completely; of what is missing nothing can be concluded."""
    query: str | None = None
    link: str | None = None


class LogReader:
    """Several log systems by name; each is asked for at most `budget_s` seconds."""

    def __init__(self, systems: Mapping[str, LogSource], budget_s: float) -> None:
        self._systems = systems
        self._budget_s = budget_s

    async def counted(self, rule: LogRule, query: LogQuery, bucket_s: float) -> Read:
        """Return how many lines there are, counted where they are stored if that is possible."""

        async def ask(source: LogSource) -> Read:
            if isinstance(source, LogCounter) and rule.per is not Grouping.HOST:
                return await _counts(source, query, bucket_s)
            return _as_counts(await _lines(source, query))

        return await self._together(rule, ask)

    async def lines(self, rule: LogRule, query: LogQuery) -> Read:
        """Return the lines, oldest first."""
        read = await self._together(rule, lambda source: _lines(source, query))
        return Read(
            lines=tuple(sorted(read.lines, key=lambda line: line.at)),
            problems=read.problems,
            query=read.query,
            link=read.link,
        )

    async def _together(self, rule: LogRule, ask: Callable[[LogSource], Awaitable[Read]]) -> Read:
        names = rule.systems or tuple(self._systems)
        return _joined(await asyncio.gather(*(self._one(name, ask) for name in names)))

    async def _one(self, name: str, ask: Callable[[LogSource], Awaitable[Read]]) -> Read:
        source = self._systems.get(name)
        if source is None:
            return Read(problems=(f"there is no log system named {name!r}",))
        try:
            async with asyncio.timeout(self._budget_s):
                return await ask(source)
        except TimeoutError:
            return Read(problems=(f"{name}: no answer within {self._budget_s:g} s",))
        except ConnectorError as error:
            return Read(problems=(error.message,))


def query_of(rule: LogRule, window: TimeWindow, **changes: object) -> LogQuery:
    """Return the query for the lines that a rule is about."""
    query = LogQuery(
        window=window,
        services=rule.services,
        hosts=rule.hosts,
        contains=rule.contains,
        minimum_level=rule.level,
        limit=LINES_MAX,
    )
    return query.model_copy(update=changes)


def anything_in(window: TimeWindow) -> LogQuery:
    """Return the query for every line of a span of time."""
    return LogQuery(window=window, minimum_level=LogLevel.DEBUG, limit=1)


def bucket_of(rule: LogRule) -> float:
    """Return how long the buckets are in which a rule's window is counted, in seconds."""
    return max(1.0, rule.window_s // BUCKETS_A_WINDOW)


def before(window: TimeWindow, seconds: float) -> TimeWindow:
    """Return the same span of time, earlier."""
    shift = timedelta(seconds=seconds)
    return TimeWindow(start=window.start - shift, end=window.end - shift)


async def _counts(source: LogCounter, query: LogQuery, bucket_s: float) -> Read:
    counts = await source.counts(query, bucket_s=bucket_s)
    return Read(
        seen=tuple(Seen(count.at, count.count, count.service) for count in counts.counts),
        problems=counts.gaps,
        query=counts.query,
        link=counts.link,
    )


async def _lines(source: LogSource, query: LogQuery) -> Read:
    batch = await source.lines(query)
    lines = tuple(line for line in batch.lines if concerns_line(query, line.message))
    return Read(lines=lines, problems=_gaps(batch), query=batch.query, link=batch.link)


def _gaps(batch: LogBatch) -> tuple[str, ...]:
    if not batch.is_truncated:
        return batch.gaps
    return (*batch.gaps, f"only the newest {len(batch.lines)} lines were read")


def _as_counts(read: Read) -> Read:
    return Read(
        seen=tuple(seen_in(read.lines)), problems=read.problems, query=read.query, link=read.link
    )


def _joined(reads: Iterable[Read]) -> Read:
    answers = list(reads)
    return Read(
        seen=tuple(seen for read in answers for seen in read.seen),
        lines=tuple(line for read in answers for line in read.lines),
        problems=tuple(problem for read in answers for problem in read.problems),
        query=next((read.query for read in answers if read.query), None),
        link=next((read.link for read in answers if read.link), None),
    )
