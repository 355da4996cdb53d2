"""One watch for each kind of log rule: reads what it needs and has it judged."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from it_incident_response.agents.log_reading import (
    LogReader,
    Read,
    anything_in,
    before,
    bucket_of,
    query_of,
)
from it_incident_response.analysis.log_detection import (
    Group,
    absence_breaches,
    grouped,
    pattern_breaches,
    spike_breaches,
    template_breaches,
    template_memory,
)
from it_incident_response.analysis.log_rules import (
    EXAMPLE_LENGTH_MAX,
    EXAMPLES_SHOWN,
    Breach,
    LogRule,
    LogRuleKind,
)
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.evidence import LogLevel, LogLine, TimeWindow

HOUR_S = 3_600.0
DAY_S = 86_400.0
DAYS_MIN = 2
"""Previous days with lines at all, without which nothing is called usual."""
HOURS_KEPT = 3
LEARNING_PARTS = 12
"""The baseline is read in so many parts, so that a bounded number of lines covers all of it."""
EXAMPLES_ASKED_MAX = 10


@dataclass(frozen=True)
class Look:
    """What one look found."""

    breaches: tuple[Breach, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read. With any of them, nothing is concluded from what was not found."""


class Watch(Protocol):
    """Looks for what its rule describes."""

    @property
    def rule(self) -> LogRule:
        """The rule."""
        ...

    async def look(self, end: datetime) -> Look:
        """Look at the window that ends at `end`; a connector's failure is a problem, no error."""
        ...

    def adopt(self, alerts: Iterable[Alert]) -> None:
        """Take over what is known from alerts of this rule that are still open."""
        ...


def watch_for(rule: LogRule, reader: LogReader) -> Watch:
    """Return the watch for a rule's kind."""
    if rule.kind is LogRuleKind.TEMPLATE:
        return TemplateWatch(rule, reader)
    if rule.kind is LogRuleKind.SPIKE:
        return SpikeWatch(rule, reader)
    return CountWatch(rule, reader)


def window_of(rule: LogRule, end: datetime) -> TimeWindow:
    """Return the rule's window that ends at `end`."""
    return TimeWindow(start=end - timedelta(seconds=rule.window_s), end=end)


@dataclass
class CountWatch:
    """Watches for a pattern, or for its absence."""

    rule: LogRule
    reader: LogReader

    async def look(self, end: datetime) -> Look:
        """Count the matching lines of the window."""
        rule, window = self.rule, window_of(self.rule, end)
        read = await self.reader.counted(rule, query_of(rule, window), bucket_of(rule))
        if rule.kind is LogRuleKind.PATTERN:
            found = pattern_breaches(rule, read.seen, window)
        elif read.problems:  # who did not answer may have the line
            found = []
        else:
            found = await self._absent(read, window)
        return await _with_examples(self.reader, rule, window, found, read)

    def adopt(self, alerts: Iterable[Alert]) -> None:
        """Keep nothing: each look counts afresh."""

    async def _absent(self, read: Read, window: TimeWindow) -> list[Breach]:
        found = absence_breaches(self.rule, read.seen, window, is_any_line=True)
        if not found:
            return []
        anything = await self.reader.lines(self.rule, anything_in(window))
        is_any_line = bool(anything.lines or anything.problems)
        return absence_breaches(self.rule, read.seen, window, is_any_line=is_any_line)


@dataclass
class SpikeWatch:
    """Watches for far more lines than in the same hour of previous days."""

    rule: LogRule
    reader: LogReader
    _known: "OrderedDict[datetime, _Usual]" = field(default_factory=OrderedDict)

    async def look(self, end: datetime) -> Look:
        """Compare the window with those of the clock hour that its middle lies in."""
        rule, window = self.rule, window_of(self.rule, end)
        usual = await self._usual(window)
        if usual.problems:  # what is missing would make any present count look unusual
            return Look(problems=usual.problems)
        read = await self.reader.counted(rule, query_of(rule, window), bucket_of(rule))
        found = spike_breaches(rule, read.seen, usual.counts, usual.windows, window)
        return await _with_examples(self.reader, rule, window, found, read)

    def adopt(self, alerts: Iterable[Alert]) -> None:
        """Keep nothing: each look counts afresh."""

    async def _usual(self, window: TimeWindow) -> "_Usual":
        middle = window.start + (window.end - window.start) / 2
        hour = middle.replace(minute=0, second=0, microsecond=0)
        if hour not in self._known:
            usual = await self._read_days(hour)
            if usual.problems:  # asked again at the next look
                return usual
            self._known[hour] = usual
            while len(self._known) > HOURS_KEPT:
                self._known.popitem(last=False)
        return self._known[hour]

    async def _read_days(self, hour: datetime) -> "_Usual":
        present = TimeWindow(start=hour, end=hour + timedelta(seconds=HOUR_S))
        counts: defaultdict[Group, list[float]] = defaultdict(list)
        windows = 0
        for day in range(1, self.rule.days + 1):
            span = before(present, day * DAY_S)
            anything = await self.reader.lines(self.rule, anything_in(span))
            if not anything.lines and not anything.problems:
                continue
            read = await self.reader.counted(
                self.rule, query_of(self.rule, span), self.rule.window_s
            )
            if read.problems:  # one failure is enough: asking on would take as long for each day
                return _Usual({}, 0, read.problems)
            windows += int(HOUR_S // self.rule.window_s)
            for group, numbers in _in_windows(self.rule, read, span).items():
                counts[group] += numbers
        days = windows // int(HOUR_S // self.rule.window_s)
        return _Usual(dict(counts), windows if days >= DAYS_MIN else 0)


@dataclass(frozen=True)
class _Usual:
    """Counts of earlier windows; windows without a line are not in `counts`."""

    counts: Mapping[Group, list[float]]
    windows: int
    problems: tuple[str, ...] = ()


def _in_windows(rule: LogRule, read: Read, span: TimeWindow) -> dict[Group, list[float]]:
    found: dict[Group, list[float]] = {}
    for group, items in grouped(rule, read.seen).items():
        numbers: defaultdict[int, float] = defaultdict(float)
        for item in items:
            place = (item.at - span.start).total_seconds() // rule.window_s
            numbers[int(place)] += item.count
        found[group] = list(numbers.values())
    return found


class _Learned(NamedTuple):
    """From when on lines were read, and up to when."""

    start: datetime
    read_to: datetime


class TemplateWatch:
    """Watches for new and surging templates; reads each line once."""

    def __init__(self, rule: LogRule, reader: LogReader) -> None:
        self.rule = rule
        self._reader = reader
        self._memory = template_memory(rule)
        self._learned: _Learned | None = None
        self._open: tuple[Alert, ...] = ()
        self._learning: asyncio.Future[None] | None = None

    async def look(self, end: datetime) -> Look:
        """Read the lines since the last look; the first look reads the baseline too."""
        if self._learning is not None:  # the last look ran out of time while this went on
            await asyncio.shield(self._learning)
        self._call_by_open_alerts()
        learned = self._learned or await self._learn(end)
        if isinstance(learned, Look):
            return learned
        start = max(learned.read_to, end - timedelta(seconds=self.rule.window_s))
        problems: tuple[str, ...] = ()
        if start < end:
            window = TimeWindow(start=start, end=end)
            read = await self._reader.lines(self.rule, query_of(self.rule, window))
            if read.problems and not read.lines:
                return Look(problems=read.problems)
            self._learned, problems = learned._replace(read_to=end), read.problems
            await self._remember(read.lines, is_known=False)
        self._memory.forget_before(end)
        # The window's end is not in it: a moment earlier is still in its last slot.
        last = end - timedelta(microseconds=1)
        found = template_breaches(self.rule, self._memory, learned.start, last)
        return Look(tuple(found), problems)

    def adopt(self, alerts: Iterable[Alert]) -> None:
        """Remember the templates of open alerts: they are not news, and not yet usual either."""
        self._open = tuple(sorted(alerts, key=lambda a: (a.starts_at, a.fingerprint)))

    def _call_by_open_alerts(self) -> None:
        for alert in self._open:
            template_id = alert.labels.get("template_id")
            template = alert.annotations.get("template")
            if template_id and template:
                self._memory.adopt(template_id, _kin(alert, self.rule, template), template)

    async def _remember(self, lines: Sequence[LogLine], *, is_known: bool) -> None:
        """Count lines beside the event loop: 10,000 made to be slow take over a second."""
        work = asyncio.to_thread(self._memory.learn, lines, is_known=is_known)
        self._learning = asyncio.ensure_future(work)
        await asyncio.shield(self._learning)

    async def _learn(self, end: datetime) -> "_Learned | Look":
        """Read the baseline, in parts; returns a look with the reasons if it cannot be read."""
        self._memory = template_memory(self.rule)  # else a second try would count lines twice
        self._call_by_open_alerts()
        until = end - timedelta(seconds=self.rule.window_s)
        part = timedelta(seconds=self.rule.baseline_s / LEARNING_PARTS)
        start = until - LEARNING_PARTS * part
        for place in range(LEARNING_PARTS):
            window = TimeWindow(start=start + place * part, end=start + (place + 1) * part)
            read = await self._reader.lines(self.rule, query_of(self.rule, window))
            if read.problems and not read.lines:
                return Look(problems=read.problems)
            await self._remember(read.lines, is_known=True)
        self._learned = _Learned(start, until)
        return self._learned


def _kin(alert: Alert, rule: LogRule, template: str) -> LogLine:
    level = alert.labels.get("log_level", "")
    return LogLine(
        at=alert.starts_at,
        message=template,
        level=LogLevel(level) if level in list(LogLevel) else rule.level,
        service=alert.labels.get("service"),
    )


async def _with_examples(
    reader: LogReader, rule: LogRule, window: TimeWindow, found: list[Breach], read: Read
) -> Look:
    """Return the look, its breaches with the query and a few lines that anyone can check."""
    breaches = []
    for place, breach in enumerate(found):
        examples: tuple[str, ...] = ()
        if breach.count and place < EXAMPLES_ASKED_MAX:
            examples = await _examples(reader, rule, window, breach)
        update = {"examples": examples, "query": read.query, "link": read.link}
        breaches.append(breach.model_copy(update=update))
    return Look(tuple(breaches), read.problems)


async def _examples(
    reader: LogReader, rule: LogRule, window: TimeWindow, breach: Breach
) -> tuple[str, ...]:
    service = breach.labels.get("service")
    changes: dict[str, object] = {"limit": EXAMPLES_SHOWN}
    if service:
        changes["services"] = (service,)
    read = await reader.lines(rule, query_of(rule, window, **changes))
    return tuple(line.message[:EXAMPLE_LENGTH_MAX] for line in read.lines[-EXAMPLES_SHOWN:])


def aligned(now: datetime, interval_s: float, delay_s: float) -> datetime:
    """Return the end of the newest round: the same in every process that looks at the same time."""
    seconds = (now.timestamp() - delay_s) // interval_s * interval_s
    return datetime.fromtimestamp(seconds, tz=UTC)
