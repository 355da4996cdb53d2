"""Groups log lines that differ only in variables, and counts them against a baseline."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from it_incident_response.domain.evidence import LogLevel, LogLine, LogPattern, TimeWindow

VARIABLE = "<*>"
LINE_LENGTH_MAX = 2_000
"""Characters of a line that are looked at: the constant text stands at its beginning."""
GROUPS_MAX = 2_000
"""Patterns counted apart; lines of further ones go into one rest a service and level."""
EXAMPLES_KEPT = 3
EXAMPLE_LENGTH_MAX = 400
REST = "(further patterns)"

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_VARIABLES = re.compile(
    r"""
    \b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b   # UUID
  | \b\d{1,4}[-/]\d{1,2}[-/]\d{1,4}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?Z?)?     # date
  | \b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?\b                                              # time
  | \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b                                             # IPv4
  | \b0x[0-9a-fA-F]+\b
  | \b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{6,}\b                    # hex id
  | "[^"]{0,200}" | '[^']{0,200}'
  | (?<![\w/])/[\w.@%+-]+(?:/[\w.@%+-]*)+                                            # path
  | (?<![A-Za-z])[-+]?\d+(?:[.,]\d+)*(?:[a-zA-Z%]{1,3}\b)?                           # number, unit
    """,
    re.VERBOSE,
)
_RANK = {level: rank for rank, level in enumerate(LogLevel)}


class _Key(NamedTuple):
    template: str
    level: LogLevel
    service: str | None
    host: str | None


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


def template_of(message: str) -> str:
    """Return the message's first line with its variables replaced by `<*>`."""
    first = _ANSI.sub("", message[:LINE_LENGTH_MAX]).strip().partition("\n")[0]
    return " ".join(_VARIABLES.sub(VARIABLE, first).split())


def mine(
    lines: Iterable[LogLine],
    baseline_lines: Iterable[LogLine],
    window: TimeWindow,
    baseline: TimeWindow,
) -> tuple[LogPattern, ...]:
    """Return the patterns of `lines`, the most telling first.

    Each is compared with the number expected from `baseline_lines`, scaled to the window's length.
    Telling is what is severe, and new or much more frequent than before.
    """
    now, before = _grouped(lines), _grouped(baseline_lines)
    scale = _seconds(window) / max(1.0, _seconds(baseline))
    patterns = [
        LogPattern(
            template=key.template,
            level=key.level,
            service=key.service,
            host=key.host,
            count=group.count,
            baseline_count=before[key].count * scale if key in before else 0.0,
            first_at=group.first_at,
            last_at=group.last_at,
            examples=tuple(group.examples),
        )
        for key, group in now.items()
    ]
    return tuple(sorted(patterns, key=_telling))


def _grouped(lines: Iterable[LogLine]) -> dict[_Key, _Group]:
    groups: dict[_Key, _Group] = {}
    for line in lines:
        key = _Key(template_of(line.message), line.level, line.service, line.host)
        if key not in groups and len(groups) >= GROUPS_MAX:
            key = key._replace(template=REST)
        groups.setdefault(key, _Group(line.at, line.at)).add(line)
    return groups


def _telling(pattern: LogPattern) -> tuple[float, ...]:
    """Sort key: level first, then the excess in Poisson standard deviations, then the count."""
    excess = (pattern.count - pattern.baseline_count) / (pattern.baseline_count + 1.0) ** 0.5
    return (-_RANK[pattern.level], -excess, -pattern.count)


def _seconds(window: TimeWindow) -> float:
    return (window.end - window.start).total_seconds()
