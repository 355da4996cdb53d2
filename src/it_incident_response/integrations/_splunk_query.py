"""Writes searches in Splunk's language; a value from outside can never become language."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from it_incident_response.domain.evidence import LogLevel, TimeWindow
from it_incident_response.integrations._splunk_settings import Role, SplunkSettings
from it_incident_response.ports.sources import LogQuery

NAMES_MAX = 200
"""Names of one kind in one search; more would make a search that servers refuse."""
PHRASE_CHARS_MAX = 1_000
TIME_FIELD = "iir_time"
"""`_time` is written for people in results; a field of another name keeps Unix seconds."""
COUNT_FIELD = "iir_count"
NOTHING = "-"
"""Stands for a missing field where lines are counted: `stats by` leaves out what has none."""
SPELLINGS: Mapping[LogLevel, tuple[str, ...]] = {
    LogLevel.DEBUG: ("debug", "trace", "verbose", "fine", "finer", "finest", "dbg", "7"),
    LogLevel.INFO: ("info", "information", "informational", "notice", "5", "6"),
    LogLevel.WARNING: ("warning", "warn", "4"),
    LogLevel.ERROR: ("error", "err", "severe", "3"),
    LogLevel.FATAL: ("fatal", "critical", "crit", "alert", "emerg", "emergency", "panic")
    + ("0", "1", "2"),
}
"""What level fields say: log4j, java.util.logging, .NET, Go and syslog names and numbers."""
LEVEL_OF = {text: level for level, texts in SPELLINGS.items() for text in texts}

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@-]{1,200}")
"""Values that are written as they are, in quotes: nothing in them has a meaning to Splunk."""
_WORD = re.compile(r"[A-Za-z0-9]{2,100}")
_LEVELS = tuple(LogLevel)


def literal(value: str) -> str:
    """Return an eval expression whose value is exactly this text.

    Quotes, backslashes, pipes, brackets, backticks, dollars, wildcards and whatever else Splunk's
    parsers, macros and tokens may give a meaning to are percent-encoded and decoded again by
    `urldecode` while the search runs: what stands in the search is letters, digits, `%` and `._-`.
    """
    if _PLAIN.fullmatch(value):
        return f'"{value}"'
    return f'urldecode("{quote(value, safe="", errors="replace").replace("~", "%7E")}")'


def window_arguments(window: TimeWindow) -> dict[str, str]:
    """Return the time arguments of a search: Unix seconds; the start is in, the end is not."""
    return {"earliest_time": _seconds(window.start), "latest_time": _seconds(window.end)}


def lines_search(query: LogQuery, settings: SplunkSettings) -> str:
    """Return the search for the newest `query.limit` lines, and one more if there are more."""
    kept = [TIME_FIELD, "_raw", "host", "source", "sourcetype", *settings.field_of.values()]
    return " | ".join(
        [
            *_matching(query, settings),
            f"head {query.limit + 1}",
            f"eval {TIME_FIELD}=_time",
            "fields " + ", ".join(_name(field) for field in dict.fromkeys(kept)),
        ]
    )


def counts_search(query: LogQuery, settings: SplunkSettings, bucket_s: float) -> str:
    """Return the search for numbers of lines by bucket of time, level and service."""
    fields = settings.field_of
    by = [fields[role] for role in ("level", "service") if role in fields]
    names = " ".join(_name(field) for field in by)
    return " | ".join(
        [
            *_matching(query, settings),
            # At least a second: the span of a shorter bucket would be 0.
            f"bin _time span={max(1, math.floor(bucket_s))}s",
            f"eval {TIME_FIELD}=_time",
            *([f'fillnull value="{NOTHING}" {names}'] if names else []),
            f"stats count AS {COUNT_FIELD} BY {TIME_FIELD} {names}".rstrip(),
        ]
    )


def unanswerable(query: LogQuery, settings: SplunkSettings) -> list[str]:
    """Return what the query asks for that no configured field can answer."""
    asked: Mapping[Role, object] = {
        "service": query.services,
        "host": query.hosts,
        "pod": query.pods,
        "trace": query.trace_id,
    }
    return [
        f"no field is configured for the {role} (infrastructure.logging.splunk.fields.{role}): "
        "it was not searched for"
        for role, value in asked.items()
        if value and role not in settings.field_of
    ]


def _matching(query: LogQuery, settings: SplunkSettings) -> list[str]:
    """Return the commands that choose the lines: a wide `search` first, then exact conditions."""
    fields = settings.field_of
    trace = (query.trace_id,) if query.trace_id else ()
    named: Mapping[Role, Sequence[str]] = {
        "service": query.services,
        "host": query.hosts,
        "pod": query.pods,
        "trace": trace,
    }
    terms = [*_any("index", settings.indexes), *_any("sourcetype", settings.sourcetypes)]
    exact: list[str] = []
    for role, given in named.items():
        names = list(dict.fromkeys(given))[:NAMES_MAX]
        if names and role in fields:
            terms += _wide(fields[role], names)
            exact.append(_one_of(fields[role], names))
    terms += _level_terms(query.minimum_level, fields.get("level"))
    if query.contains:
        phrase = query.contains[:PHRASE_CHARS_MAX]
        terms += [f'"{word}"' for word in _inner_words(phrase)]
        exact.append(f"match({_quoted(fields['message'])}, {_regex(phrase)})")
    search = " ".join(["search", *terms]) if terms else "search *"
    return [search, *[f"where {condition}" for condition in exact]]


def _any(field: str, values: Iterable[str]) -> list[str]:
    """Return the term for a field with one of these values, which need no encoding."""
    terms = [f'{field}="{value}"' for value in values]
    return [f"({' OR '.join(terms)})"] if terms else []


def _wide(field: str, names: Sequence[str]) -> list[str]:
    """Return a term that all events with one of the names fit, and perhaps more.

    Names that cannot be written as they are make it as wide as any value: `where` narrows it.
    """
    if all(_PLAIN.fullmatch(name) for name in names):
        return _any(_name(field), names)
    return [f"{_name(field)}=*"]


def _one_of(field: str, names: Sequence[str]) -> str:
    return f"in({_quoted(field)}, {', '.join(literal(name) for name in names)})"


def _level_terms(minimum: LogLevel, field: str | None) -> list[str]:
    """Return the term for a level at least so severe.

    Of an event without the field the words in its text decide; without any, it counts as `info`.
    """
    place = _LEVELS.index(minimum)
    below = [text for level in _LEVELS[:place] for text in SPELLINGS[level]]
    at_least = [text for level in _LEVELS[place:] for text in SPELLINGS[level]]
    if minimum is LogLevel.DEBUG or (field is None and minimum is LogLevel.INFO):
        return []
    words = f"({' OR '.join(text for text in at_least if text.isalpha())})"
    if field is None:
        return [words]
    if minimum is LogLevel.INFO:
        return [f"NOT {_name(field)} IN ({_listed(below)})"]
    return [f"({_name(field)} IN ({_listed(at_least)}) OR (NOT {_name(field)}=* {words}))"]


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def _inner_words(phrase: str) -> list[str]:
    """Return the words of a phrase that must stand as words in the line: not the outer ones.

    The phrase may begin or end within a word (`imeout` of `timeout`), and Splunk finds words.
    """
    words = [match for match in _WORD.finditer(phrase) if phrase.isascii()]
    inner = [word[0] for word in words if word.start() > 0 and word.end() < len(phrase)]
    return list(dict.fromkeys(word for word in inner if not _is_operator(word)))[:20]


def _is_operator(word: str) -> bool:
    return word.upper() in ("AND", "OR", "NOT", "IN", "BY", "AS", "TERM", "CASE")


def _regex(phrase: str) -> str:
    """Return an expression for the pattern that finds the phrase itself, letter case aside."""
    sent = phrase.encode(errors="replace").decode()  # before it is escaped: it adds question marks
    return literal("(?i)" + re.sub(r"([^A-Za-z0-9\s\x80-\U0010ffff])", r"\\\1", sent))


def _name(field: str) -> str:
    """Return a field's name for `search`, `fields` and `stats`."""
    return field if field.replace("_", "a").isalnum() else f'"{field}"'


def _quoted(field: str) -> str:
    """Return a field's name in an eval expression, where plain quotes would make it a text."""
    return f"'{field}'"


def _seconds(moment: datetime) -> str:
    return f"{moment.timestamp():.3f}"
