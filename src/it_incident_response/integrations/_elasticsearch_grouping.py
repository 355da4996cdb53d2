"""Groups log lines to candidate incidents: the same service, the same kind of message."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.domain.severity import Severity
from it_incident_response.integrations._elasticsearch_levels import LEVELS

GROUPS_MAX = 200
"""Different incidents that are told apart; what comes later is counted as one more."""
EXAMPLES = 3
_EXAMPLE_CHARS = 500
_TITLE_CHARS = 160
_SEVERITIES: Mapping[LogLevel, Severity] = {
    LogLevel.FATAL: Severity.CRITICAL,
    LogLevel.ERROR: Severity.HIGH,
    LogLevel.WARNING: Severity.MEDIUM,
    LogLevel.INFO: Severity.LOW,
    LogLevel.DEBUG: Severity.LOW,
}
_VARIABLE = re.compile(
    r"""
    [0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}   # a UUID
    | \b0x[0-9A-Fa-f]+\b
    | \b[0-9A-Fa-f]*[0-9][0-9A-Fa-f]{7,}\b                  # a hash
    | "[^"\n]{0,200}" | '[^'\n]{0,200}'
    | [-+]?\d+(?:[.,:]\d+)*
    """,
    re.VERBOSE,
)
_THE_REST = "(more kinds of messages)"


@dataclass
class Group:
    """Lines that look alike."""

    service: str | None
    shape: str
    level: LogLevel
    lines: list[LogLine] = field(default_factory=list)
    count: int = 0
    hosts: Counter[str] = field(default_factory=Counter)

    def add(self, line: LogLine) -> None:
        """Count a line; the highest level of the group is its level."""
        self.level = max(self.level, line.level, key=LEVELS.index)
        self.count += 1
        self.lines.append(line)
        if line.host and len(self.hosts) < 1000:
            self.hosts[line.host] += 1


def shape_of(message: str) -> str:
    """Return the first line of a message with its variable parts as `<*>`."""
    first = message.lstrip()[:1000].partition("\n")[0]
    return " ".join(_VARIABLE.sub("<*>", first).split())[:300]


def grouped(lines: Iterable[LogLine]) -> list[Group]:
    """Return the groups, the worst and largest first."""
    groups: dict[tuple[str | None, str], Group] = {}
    for line in lines:
        key = (line.service, shape_of(line.message))
        if key not in groups and len(groups) >= GROUPS_MAX:
            key = (None, _THE_REST)
        group = groups.setdefault(key, Group(*key, level=line.level))
        group.add(line)
    ranked = groups.values()
    return sorted(ranked, key=lambda group: (-LEVELS.index(group.level), -group.count, group.shape))


def candidate(group: Group, query: str, unusual: Sequence[str]) -> dict[str, Any]:
    """Return a candidate incident as a plain dictionary, times as ISO 8601 in UTC."""
    times = sorted(line.at for line in group.lines)
    name = group.service or "unknown service"
    examples = list(dict.fromkeys(line.message[:_EXAMPLE_CHARS] for line in group.lines))[:EXAMPLES]
    said = " ".join(group.shape.lower().split())
    hosts = ", ".join(host for host, _ in group.hosts.most_common(5))
    return {
        "title": f"{name}: {group.shape}"[:_TITLE_CHARS],
        "description": (
            f"{group.count} log lines of level {group.level.value} of {name}"
            f"{f' on {hosts}' if hosts else ''} look like: {group.shape}"
        ),
        "severity": _SEVERITIES[group.level].value,
        "affected_systems": [group.service] if group.service else list(group.hosts)[:20],
        "count": group.count,
        "first_at": times[0].isoformat(),
        "last_at": times[-1].isoformat(),
        "examples": examples,
        "unusual_words": [word for word in unusual if word.lower() in said],
        "query": query,
    }
