"""The many spellings of a log level: what they mean, and the queries that find them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.integrations._elasticsearch_fields import Field, Kind, Layout
from it_incident_response.integrations._elasticsearch_settings import NumericLevels

Query = dict[str, Any]

LEVELS = tuple(LogLevel)
"""In rising order."""

_SPELLINGS: Mapping[LogLevel, tuple[str, ...]] = {
    LogLevel.DEBUG: ("debug", "trace", "verbose", "fine", "finer", "finest", "dbg", "d", "7"),
    LogLevel.INFO: ("info", "information", "informational", "notice", "config", "i", "5", "6"),
    LogLevel.WARNING: ("warning", "warn", "w", "4"),
    LogLevel.ERROR: ("error", "err", "severe", "e", "3"),
    LogLevel.FATAL: (
        "fatal",
        "critical",
        "crit",
        "alert",
        "emerg",
        "emergency",
        "panic",
        "f",
        "0",
        "1",
        "2",
    ),
}
"""Of a level field: log4j, JUL, .NET, Go, Android and syslog names, syslog numbers as text.

OpenTelemetry's short names with a number (`ERROR2`) are read too.
"""
_WORDS: Mapping[LogLevel, tuple[str, ...]] = {
    LogLevel.DEBUG: ("debug", "trace"),
    LogLevel.INFO: ("info", "notice"),
    LogLevel.WARNING: ("warning", "warn"),
    LogLevel.ERROR: ("error", "err", "severe"),
    LogLevel.FATAL: ("fatal", "critical", "crit", "panic", "emerg"),
}
"""Of a message whose document has no level: the first of these words at its beginning counts."""
_LEVEL_OF = {text: level for level, texts in _SPELLINGS.items() for text in texts}
_LEVEL_OF_WORD = {word: level for level, words in _WORDS.items() for word in words}
WORDS_READ = 12
"""Words of a message in which its level is looked for: room for a timestamp, host and thread."""
_HEAD_CHARS = 400
_EVERY_NUMBER_BELOW = 25
"""Of numbers above, only the round ones are usual: pino's and Python's."""
_WORD = re.compile(r"[^\W_]+")

_NUMERIC: Mapping[str, tuple[tuple[LogLevel, int, int], ...]] = {
    "syslog": (
        (LogLevel.FATAL, 0, 2),
        (LogLevel.ERROR, 3, 3),
        (LogLevel.WARNING, 4, 4),
        (LogLevel.INFO, 5, 6),
        (LogLevel.DEBUG, 7, 7),
    ),
    "opentelemetry": (
        (LogLevel.DEBUG, 1, 8),
        (LogLevel.INFO, 9, 12),
        (LogLevel.WARNING, 13, 16),
        (LogLevel.ERROR, 17, 20),
        (LogLevel.FATAL, 21, 24),
    ),
    "pino": (
        (LogLevel.DEBUG, 8, 29),
        (LogLevel.INFO, 30, 39),
        (LogLevel.WARNING, 40, 49),
        (LogLevel.ERROR, 50, 59),
        (LogLevel.FATAL, 60, 69),
    ),
    "python": (
        (LogLevel.DEBUG, 8, 19),
        (LogLevel.INFO, 20, 29),
        (LogLevel.WARNING, 30, 39),
        (LogLevel.ERROR, 40, 49),
        (LogLevel.FATAL, 50, 59),
    ),
}
"""First and last number of each level: RFC 5424 6.2.1, OpenTelemetry logs data model, pino's and
bunyan's defaults, Python's logging."""


class Levels:
    """Reads and queries levels as one cluster's settings say."""

    def __init__(self, numeric: NumericLevels) -> None:
        self._numeric = numeric

    def of_value(self, value: object, field: str) -> LogLevel | None:
        """Return what a value of a level field means; None if it means nothing to us."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            return self._of_number(float(value), field)
        text = str(value)[:40].strip().lower()
        if text.isdecimal():
            return self._of_number(float(text[:6]), field)
        return _LEVEL_OF.get(text) or _LEVEL_OF.get(text.rstrip("1234"))

    def at_least(self, level: LogLevel, layout: Layout) -> Query | None:
        """Return the query for lines of this level or a higher one; None: every line.

        Lines without any level count as INFO. The sets nest, so the lines of exactly one level are
        a difference of counts.
        """
        if level is LogLevel.DEBUG:
            return None
        if level is LogLevel.INFO:
            return {"bool": {"must_not": [self._debug(layout)]}}
        wanted = LEVELS[LEVELS.index(level) :]
        return self._any_of(wanted, layout)

    def _debug(self, layout: Layout) -> Query:
        debug = self._any_of([LogLevel.DEBUG], layout)
        higher = self._any_of([LogLevel.WARNING, LogLevel.ERROR, LogLevel.FATAL], layout)
        return {"bool": {"filter": [debug], "must_not": [higher]}}

    def _any_of(self, wanted: Sequence[LogLevel], layout: Layout) -> Query:
        fields = layout.of("level")
        clauses = [clause for field in fields for clause in self._clauses(field, wanted)]
        if in_text := _in_messages(wanted, layout):
            absent = [{"exists": {"field": field.name}} for field in fields]
            clauses.append({"bool": {"filter": [in_text], "must_not": absent}})
        return any_query(clauses)

    def _clauses(self, field: Field, wanted: Sequence[LogLevel]) -> list[Query]:
        if field.kind is Kind.NUMBER:
            return self._number_clauses(field.name, wanted)
        texts = [text for level in wanted for text in _SPELLINGS[level]]
        cases = [case for text in texts for case in (text, text.upper(), text.capitalize())]
        if field.kind is Kind.KEYWORD:
            return [{"terms": {field.name: list(dict.fromkeys(cases))}}]
        if field.kind is Kind.MIXED:  # one by one: a keyword field takes a text as one word
            values = dict.fromkeys([*cases, *self._numbers(field.name, wanted)])
            return [{"match": {field.name: {"query": v, "lenient": True}}} for v in values]
        words = " ".join(text for text in texts if len(text) > 1 or text.isdecimal())
        return [{"match": {field.name: {"query": words}}}]

    def _numbers(self, name: str, wanted: Sequence[LogLevel]) -> list[str]:
        """Return each number that is usual for the levels, where no range can be asked for."""
        return [
            str(number)
            for scheme in self._schemes(name)
            for level, first, last in _NUMERIC[scheme]
            for number in range(first, last + 1)
            if level in wanted and (last < _EVERY_NUMBER_BELOW or number % 10 == 0)
        ]

    def _number_clauses(self, name: str, wanted: Sequence[LogLevel]) -> list[Query]:
        return [
            {"range": {name: {"gte": first, "lte": last}}}
            for scheme in self._schemes(name)
            for level, first, last in _NUMERIC[scheme]
            if level in wanted
        ]

    def _of_number(self, number: float, field: str) -> LogLevel | None:
        for scheme in self._schemes(field):
            for level, first, last in _NUMERIC[scheme]:
                if first <= number < last + 1:
                    return level
        return None

    def _schemes(self, field: str) -> tuple[str, ...]:
        if self._numeric != "auto":
            return (self._numeric,)
        compact = field.lower().replace(".", "").replace("_", "")
        return ("opentelemetry",) if "severitynumber" in compact else ("syslog", "pino")


def level_in_text(message: str) -> LogLevel | None:
    """Return the level that the beginning of a message names, if it does."""
    for count, match in enumerate(_WORD.finditer(message[:_HEAD_CHARS])):
        if count >= WORDS_READ:
            return None
        if level := _LEVEL_OF_WORD.get(match[0].lower()):
            return level
    return None


def any_query(clauses: Sequence[Query]) -> Query:
    """Return a query for what matches any of the clauses; of none, nothing does."""
    if not clauses:
        return {"match_none": {}}
    if len(clauses) == 1:
        return clauses[0]
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def _in_messages(wanted: Sequence[LogLevel], layout: Layout) -> Query | None:
    clauses = [clause for field in layout.of("message") if (clause := _in_message(field, wanted))]
    return any_query(clauses) if clauses else None


def _in_message(field: Field, wanted: Sequence[LogLevel]) -> Query | None:
    """Return the query for a level word at the beginning of a message with none before it."""
    inside = [word for level in wanted for word in _WORDS[level]]
    if field.has_positions:
        found = _spans(field.name, inside)
        other = [word for level in LEVELS if level not in wanted for word in _WORDS[level]]
        if other:
            nearest = {"include": found, "exclude": _spans(field.name, other), "pre": WORDS_READ}
            found = {"span_not": nearest}
        return {"span_first": {"match": found, "end": WORDS_READ}}
    if field.kind is Kind.KEYWORD:
        return None  # the whole message is one word there
    return {"match": {field.name: {"query": " ".join(inside), "lenient": True}}}


def _spans(name: str, words: Sequence[str]) -> Query:
    return {"span_or": {"clauses": [{"span_term": {name: word}} for word in words]}}
