"""Judges counts of log lines and mined templates by rules; asks nobody, knows no clock."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from it_incident_response.analysis.count_test import Excess, excess
from it_incident_response.analysis.log_rules import Breach, Grouping, LogRule, alert_labels
from it_incident_response.analysis.template_memory import Family, TemplateMemory
from it_incident_response.domain.evidence import LogLine, TimeWindow

SLOTS_A_WINDOW = 5
"""Slots of time that a template rule's window has: how finely its lines are counted."""
BREACHES_APART_MAX = 10
"""Templates of one service that get an alert each; of more there is one alert for all."""
MANY = "many"
HISTORY_WINDOWS_MIN = 4
"""Earlier windows without which there is no telling what is usual."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A number of lines at one time from one place."""

    at: datetime
    count: int
    service: str | None = None
    host: str | None = None


Group = tuple[str | None, str | None]
"""Service and host that an alert is about."""


def seen_in(lines: Iterable[LogLine]) -> list[Seen]:
    """Return lines as counts of one."""
    return [Seen(line.at, 1, line.service, line.host) for line in lines]


def grouped(rule: LogRule, seen: Iterable[Seen]) -> dict[Group, list[Seen]]:
    """Return the counts by what the rule raises one alert for."""
    groups: defaultdict[Group, list[Seen]] = defaultdict(list)
    for item in seen:
        groups[_group(rule, item)].append(item)
    return dict(groups)


def pattern_breaches(rule: LogRule, seen: Iterable[Seen], window: TimeWindow) -> list[Breach]:
    """Return one breach for each group that has at least `rule.at_least` lines in the window."""
    found = []
    for group, items in grouped(rule, seen).items():
        count = sum(item.count for item in items)
        if count >= rule.at_least:
            text = f"{count} {_lines_of(rule)}{_from(group)} in {_span(rule.window_s)}"
            found.append(_breach(rule, group, text, _onset(items, window), count=count))
    return found


def spike_breaches(
    rule: LogRule,
    seen: Iterable[Seen],
    history: Mapping[Group, Sequence[float]],
    windows: int,
    window: TimeWindow,
) -> list[Breach]:
    """Return one breach for each group with far more lines than in the same hour of earlier days.

    `history` has the counts of windows of the same length; a group has fewer than `windows` of
    them where the others were empty. A breach has at least `rule.at_least` lines, `rule.factor`
    times the median, and a chance (`count_test.excess`) below `rule.significance` divided by the
    number of groups tested (Bonferroni). With fewer than four windows nothing is judged.
    """
    if windows < HISTORY_WINDOWS_MIN:
        return []
    groups = grouped(rule, seen)
    found = []
    for group, items in groups.items():
        count = sum(item.count for item in items)
        known = list(history.get(group, ()))[:windows]
        usual = excess(count, [*known, *[0.0] * (windows - len(known))])
        if _is_excessive(rule, count, usual, len(groups)):
            text = (
                f"{count} {_lines_of(rule)}{_from(group)} in {_span(rule.window_s)}, usual at this "
                f"hour: {usual.expected:g} (chance {usual.p_value:.1g})"
            )
            found.append(
                _breach(rule, group, text, _onset(items, window), count=count, usual=usual)
            )
    return found


def absence_breaches(
    rule: LogRule, seen: Iterable[Seen], window: TimeWindow, *, is_any_line: bool
) -> list[Breach]:
    """Return a breach for each expected group without a line in the window.

    Expected is each service and host that the rule names, or the rule as a whole if it names none.
    `is_any_line` tells whether the log system has any line of that time: if not, collecting the
    logs may be what broke, and the breach says so.
    """
    present = {_place_of(rule, item) for item in seen if item.count}
    hint = "" if is_any_line else "; there are no lines of anything, so collecting may have broken"
    return [
        _breach(
            rule,
            group,
            f"no {_lines_of(rule)}{_from(group)} for {_span(rule.window_s)}{hint}",
            window.end,
            count=0,
        )
        for group in _expected(rule)
        if group not in present
    ]


def template_memory(rule: LogRule) -> TemplateMemory:
    """Return the memory that a template rule needs."""
    return TemplateMemory(rule.window_s / SLOTS_A_WINDOW, rule.baseline_s + 2 * rule.window_s)


def template_breaches(
    rule: LogRule, memory: TemplateMemory, learned_from: datetime, end: datetime
) -> list[Breach]:
    """Return a breach for each new or surging template; for very many, one for each service.

    New: first seen while watching, less than `rule.baseline_s` ago, with at least `rule.at_least`
    lines in the window. Surging: known, at least that many lines, and far more than in the windows
    of the baseline, by the same conditions as a spike.
    """
    window_end = memory.slot(end)
    watched = (end - learned_from).total_seconds()
    windows = int(min(watched - rule.window_s, rule.baseline_s) // rule.window_s)
    by_service: defaultdict[str | None, list[Breach]] = defaultdict(list)
    tested = len(memory)
    for family in memory:
        count = family.within(window_end - SLOTS_A_WINDOW + 1, window_end + 1)
        if count < rule.at_least:
            continue
        if not family.is_known and (end - family.first_at).total_seconds() <= rule.baseline_s:
            by_service[family.kinship.service].append(_new(rule, family, count))
        elif windows >= HISTORY_WINDOWS_MIN:
            usual = excess(count, _history(family, window_end, windows))
            if _is_excessive(rule, count, usual, tested):
                breach = _surging(rule, family, count, usual, end)
                by_service[family.kinship.service].append(breach)
    return [breach for found in by_service.values() for breach in _bounded(rule, found)]


def _bounded(rule: LogRule, found: list[Breach]) -> list[Breach]:
    """Return the breaches of one service, or a single one for all if they are very many."""
    if len(found) <= BREACHES_APART_MAX:
        return found
    found.sort(key=lambda breach: -breach.count)
    service = found[0].labels.get("service")
    return [
        found[0].model_copy(
            update={
                "labels": alert_labels(rule, service=service, template_id=MANY),
                "since": min(breach.since for breach in found),
                "count": sum(breach.count for breach in found),
                "text": f"{len(found)} new or surging log templates"
                f"{_from((service, None))}, the most frequent: {found[0].template}",
            }
        )
    ]


def _new(rule: LogRule, family: Family, count: int) -> Breach:
    service = family.kinship.service
    text = f"a new log template{_from((service, None))}, {count} lines in {_span(rule.window_s)}"
    return Breach(
        labels=_template_labels(rule, family),
        since=family.first_at,
        count=count,
        expected=0.0,
        text=f"{text}: {family.template}",
        template=family.template,
        examples=tuple(family.examples),
    )


def _surging(rule: LogRule, family: Family, count: int, usual: Excess, end: datetime) -> Breach:
    service = family.kinship.service
    text = (
        f"a surging log template{_from((service, None))}, {count} lines in "
        f"{_span(rule.window_s)}, usually {usual.expected:g} (chance {usual.p_value:.1g})"
    )
    return Breach(
        labels=_template_labels(rule, family),
        since=end - timedelta(seconds=rule.window_s),
        count=count,
        expected=usual.expected,
        p_value=usual.p_value,
        text=f"{text}: {family.template}",
        template=family.template,
        examples=tuple(family.examples),
    )


def _template_labels(rule: LogRule, family: Family) -> dict[str, str]:
    kinship = family.kinship
    return alert_labels(
        rule, service=kinship.service, template_id=family.id, log_level=kinship.level.value
    )


def _history(family: Family, window_end: int, windows: int) -> list[float]:
    """Return the counts of the windows before the present one, the newest first."""
    first = window_end - SLOTS_A_WINDOW + 1
    counts = Counter[int]()
    for slot, count in family.counts.items():
        if slot < first:
            counts[(first - 1 - slot) // SLOTS_A_WINDOW] += count
    return [float(counts[place]) for place in range(windows)]


def _is_excessive(rule: LogRule, count: int, usual: Excess, tested: int) -> bool:
    return (
        count >= rule.at_least
        and count >= rule.factor * usual.expected
        and usual.p_value <= rule.significance / max(1, tested)
    )


def _breach(
    rule: LogRule,
    group: Group,
    text: str,
    since: datetime,
    *,
    count: int,
    usual: Excess | None = None,
) -> Breach:
    return Breach(
        labels=alert_labels(rule, service=group[0], host=group[1]),
        since=since,
        count=count,
        expected=usual.expected if usual else None,
        p_value=usual.p_value if usual else None,
        text=rule.summary or text,
    )


def _group(rule: LogRule, item: Seen) -> Group:
    if rule.per is Grouping.HOST:
        return item.service, item.host
    if rule.per is Grouping.SERVICE:
        return item.service, _only(rule.hosts)
    return _only(rule.services), _only(rule.hosts)


def _expected(rule: LogRule) -> list[Group]:
    if rule.per is Grouping.HOST and rule.hosts:
        return [(_only(rule.services), host) for host in rule.hosts]
    if rule.per is Grouping.SERVICE and rule.services:
        return [(service, _only(rule.hosts)) for service in rule.services]
    return [(_only(rule.services), _only(rule.hosts))]


def _place_of(rule: LogRule, item: Seen) -> Group:
    """Return which of the expected groups a line belongs to."""
    if rule.per is Grouping.HOST and rule.hosts:
        return _only(rule.services), item.host
    if rule.per is Grouping.SERVICE and rule.services:
        return item.service, _only(rule.hosts)
    return _only(rule.services), _only(rule.hosts)


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _onset(items: Sequence[Seen], window: TimeWindow) -> datetime:
    """Return when the first line came; a bucket may begin before the window."""
    return max(window.start, min(item.at for item in items if item.count))


def _lines_of(rule: LogRule) -> str:
    phrase = f" with {rule.contains!r}" if rule.contains else ""
    return f"lines of level {rule.level.value} or above{phrase}"


def _from(group: Group) -> str:
    service, host = group
    return (f" from {service}" if service else "") + (f" on {host}" if host else "")


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
