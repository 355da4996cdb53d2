"""Groups log lines that differ only in variables, and compares them with a baseline."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from it_incident_response.analysis.log_events import Event, joined, read_event
from it_incident_response.analysis.log_mining.masking import (
    LINE_LENGTH_MAX,
    VARIABLE,
    first_line,
    mask,
)
from it_incident_response.analysis.log_mining.miner import TemplateMiner
from it_incident_response.analysis.pattern_novelty import Counted, Verdict, judged
from it_incident_response.domain.evidence import (
    LogLevel,
    LogLine,
    LogPattern,
    Novelty,
    TimeWindow,
)

__all__ = ["GROUPS_MAX", "LINE_LENGTH_MAX", "REST", "VARIABLE", "mine", "template_of"]

GROUPS_MAX = 2_000
"""Patterns counted apart; lines of further ones go into one rest a service and level."""
EXAMPLES_KEPT = 3
EXAMPLE_LENGTH_MAX = 400
REST = "(further patterns)"

_RANK = {level: rank for rank, level in enumerate(LogLevel)}
_LEVEL_WEIGHTS = {
    LogLevel.DEBUG: 0.0,
    LogLevel.INFO: 1.0,
    LogLevel.WARNING: 3.0,
    LogLevel.ERROR: 5.0,
    LogLevel.FATAL: 6.0,
}
_NOVELTY_WEIGHTS = {
    Novelty.NEW: 3.0,
    Novelty.SURGE: 2.5,
    Novelty.UNKNOWN: 2.0,
    Novelty.USUAL: 0.0,
}
"""Added to a level's weight: a new warning tells more than an error that is as frequent as ever."""
_ABSENT_WEIGHTS = {Novelty.GONE: 2.2, Novelty.DROP: 1.8}
"""Instead of a level's weight: what no longer comes says less, be it a heartbeat or an error."""


class _Key(NamedTuple):
    template: int
    level: LogLevel
    service: str | None
    host: str | None
    exception: str | None
    frame: str | None


@dataclass
class _Group:
    first_at: datetime
    last_at: datetime
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, line: LogLine) -> None:
        self.count += 1
        self.first_at = min(self.first_at, line.at)
        self.last_at = max(self.last_at, line.at)
        example = line.message[:EXAMPLE_LENGTH_MAX]
        if len(self.examples) < EXAMPLES_KEPT and example not in self.examples:
            self.examples.append(example)


_Groups = dict[_Key, _Group]


def template_of(message: str) -> str:
    """Return the message's first line with what has the shape of a variable replaced by `<*>`.

    A variable that looks like a word stays; `mine` and `TemplateMiner` find it by its values.
    """
    return mask(first_line(message))


def mine(
    lines: Iterable[LogLine],
    baseline_lines: Iterable[LogLine],
    window: TimeWindow,
    baseline: TimeWindow,
) -> tuple[LogPattern, ...]:
    """Return the patterns of `lines`, and those of the baseline that are gone, most telling first.

    The lines of a stack trace are one event. Each pattern's count is compared with the number
    expected from `baseline_lines`, scaled to the window's length (`pattern_novelty.judged`).
    Telling is what is severe, and new or much more frequent than before. A gone pattern has count
    0, the time when it came last, and examples.
    """
    miner = TemplateMiner()
    read_before, read_now = _read(baseline_lines), _read(lines)
    ids = [
        miner.add([event.text for _, event in part]).tolist() for part in (read_before, read_now)
    ]
    before = _grouped(read_before, [miner.current(found) for found in ids[0]])
    now = _grouped(read_now, [miner.current(found) for found in ids[1]])
    keys = list(now) + [key for key in before if key not in now and key.template]
    window_s, baseline_s = _seconds(window), _seconds(baseline)
    counts = [_counted(key, now, before) for key in keys]
    verdicts = judged(counts, window_s, baseline_s)
    patterns = [
        _pattern(key, now.get(key) or before[key], miner, counted, verdict, window_s / baseline_s)
        for key, counted, verdict in zip(keys, counts, verdicts, strict=True)
        if counted.now or verdict.novelty is Novelty.GONE
    ]
    return tuple(sorted(patterns, key=_telling))


def _read(lines: Iterable[LogLine]) -> list[tuple[LogLine, Event]]:
    return [(line, read_event(line.message)) for line in joined(lines)]


def _grouped(read: Sequence[tuple[LogLine, Event]], ids: Sequence[int]) -> _Groups:
    groups: _Groups = {}
    for (line, event), found in zip(read, ids, strict=True):
        level = max(line.level, event.level or line.level, key=_RANK.__getitem__)
        key = _Key(found, level, line.service, line.host, event.exception, event.frame)
        if key not in groups and len(groups) >= GROUPS_MAX:
            key = _Key(0, level, line.service, line.host, None, None)
        groups.setdefault(key, _Group(line.at, line.at)).add(line)
    return groups


def _counted(key: _Key, now: _Groups, before: _Groups) -> Counted:
    return Counted(now[key].count if key in now else 0, before[key].count if key in before else 0)


def _pattern(
    key: _Key,
    group: _Group,
    miner: TemplateMiner,
    counted: Counted,
    verdict: Verdict,
    scale: float,
) -> LogPattern:
    return LogPattern(
        template=(miner.template(key.template) or REST) if key.template else REST,
        level=key.level,
        service=key.service,
        host=key.host,
        count=counted.now,
        baseline_count=counted.before * scale,
        first_at=group.first_at if counted.now else group.last_at,
        last_at=group.last_at,
        examples=tuple(group.examples),
        novelty=verdict.novelty,
        p_value=verdict.p_value,
        exception=key.exception,
        frame=key.frame,
    )


def _telling(pattern: LogPattern) -> tuple[float, ...]:
    """Sort key: level and novelty first, then how improbable, then the count."""
    weight = _ABSENT_WEIGHTS.get(pattern.novelty)
    if weight is None:
        weight = _LEVEL_WEIGHTS[pattern.level] + _NOVELTY_WEIGHTS[pattern.novelty]
    excess = (pattern.count - pattern.baseline_count) / math.sqrt(pattern.baseline_count + 1.0)
    return (-weight, -excess, -pattern.count)


def _seconds(window: TimeWindow) -> float:
    return max(1.0, (window.end - window.start).total_seconds())
