"""Turns hits into log lines; documents come from outside, so every field may be anything."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.integrations._elasticsearch_fields import Layout
from it_incident_response.integrations._elasticsearch_levels import Levels, level_in_text
from it_incident_response.integrations._elasticsearch_settings import Role

MESSAGE_CHARS_MAX = 16_384
"""Characters of a message that are kept; one of 10 MB has said by then what it has to say."""
NAME_CHARS_MAX = 300
ATTRIBUTES_MAX = 20
_DEPTH_MAX = 20
_NUMBER = re.compile(r"[0-9]{9,19}(\.[0-9]{1,9})?")

Hit = Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """What one hit gave."""

    line: LogLine
    names: Mapping[Role, tuple[str, ...]]
    """Every value of the fields by which lines are selected."""


class LineReader:
    """Reads hits of one layout."""

    def __init__(self, layout: Layout, levels: Levels) -> None:
        self._layout = layout
        self._levels = levels

    def read(self, hit: Any) -> Reading | None:
        """Return the line of a hit; None without a readable time."""
        if not isinstance(hit, Mapping):
            return None
        at = self._time(hit)
        if at is None:
            return None
        message, size = self._message(hit)
        names = {role: self._texts(hit, role) for role in _SELECTED}
        attributes = self._attributes(hit)
        if size > len(message):
            attributes["message_chars"] = str(size)
        line = LogLine(
            at=at,
            message=message,
            level=self._level(hit, message),
            service=_first(names["service"]),
            host=_first(names["host"]),
            pod=_first(names["pod"]),
            trace_id=_first(names["trace"]),
            attributes=attributes,
        )
        return Reading(line, names)

    def _time(self, hit: Hit) -> datetime | None:
        stamp = self._layout.timestamp
        sort = hit.get("sort")
        first = sort[0] if isinstance(sort, list) and sort else None
        for value in (*values_at(hit, stamp.name if stamp else "@timestamp"), first):
            if (at := moment(value)) is not None:
                return at
        return None

    def _message(self, hit: Hit) -> tuple[str, int]:
        """Return the message, cut, and its whole length; a stack trace beside it is put below."""
        message = self._longest_first(hit, "message")
        stack = self._longest_first(hit, "stack")
        if stack and stack[:200] not in message:
            size = len(message) + 1 + len(stack)
            return f"{message[:MESSAGE_CHARS_MAX]}\n{stack}"[:MESSAGE_CHARS_MAX], size
        return message[:MESSAGE_CHARS_MAX], len(message)

    def _longest_first(self, hit: Hit, role: Role) -> str:
        for name in self._layout.names[role]:
            for value in values_at(hit, name):
                if text := as_text(value):
                    return text
        return ""

    def _level(self, hit: Hit, message: str) -> LogLevel:
        for name in self._layout.names["level"]:
            for value in values_at(hit, name):
                if level := self._levels.of_value(value, name):
                    return level
        return level_in_text(message) or LogLevel.INFO

    def _texts(self, hit: Hit, role: Role) -> tuple[str, ...]:
        found = (
            text[:NAME_CHARS_MAX]
            for name in self._layout.names[role]
            for value in values_at(hit, name)
            if not isinstance(value, Mapping) and (text := as_text(value))
        )
        return tuple(dict.fromkeys(found))[:ATTRIBUTES_MAX]

    def _attributes(self, hit: Hit) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in self._layout.names["attributes"]:
            for value in values_at(hit, name)[:1]:
                if text := as_text(value):
                    found[name] = text[:NAME_CHARS_MAX]
        return dict(list(found.items())[:ATTRIBUTES_MAX])


_SELECTED: tuple[Role, ...] = ("service", "host", "pod", "trace")


def values_at(hit: Hit, path: str) -> list[Any]:
    """Return a field's values: from `fields`, or from `_source`, nested or with dotted keys."""
    fields, source = hit.get("fields"), hit.get("_source")
    if isinstance(fields, Mapping):
        for name in (path, f"{path}.keyword"):
            given = fields.get(name)
            if isinstance(given, list) and given:
                return given[:ATTRIBUTES_MAX]
    return _flat(_within(source, path.split("."))) if isinstance(source, Mapping) else []


def _within(place: Any, parts: Sequence[str], depth: int = 0) -> Iterable[Any]:
    """Yield what stands at a path, whichever of its dots are part of a key."""
    if not parts:
        yield place
    elif isinstance(place, list):
        for item in place[:ATTRIBUTES_MAX]:
            if depth < _DEPTH_MAX:
                yield from _within(item, parts, depth + 1)
    elif isinstance(place, Mapping):
        for end in range(1, len(parts) + 1):
            key = ".".join(parts[:end])
            if key in place:
                yield from _within(place[key], parts[end:], depth)


def _flat(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += value[:ATTRIBUTES_MAX] if isinstance(value, list) else [value]
    return [value for value in found[:ATTRIBUTES_MAX] if value is not None]


def as_text(value: Any) -> str:
    """Return a value as text: an object or list as JSON, nothing as nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits
        return str(value)


def moment(value: Any) -> datetime | None:
    """Return the time that a value names: ISO 8601, or Unix time in s, ms, us or ns."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    try:
        if _NUMBER.fullmatch(text):
            number = float(text)
            return datetime.fromtimestamp(number / _units_a_second(number), tz=UTC)
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _units_a_second(number: float) -> float:
    """Return how many units of this Unix time make a second: between 1973 and 5138 it is clear."""
    return next(
        (per for most, per in ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6)) if number < most), 1e9
    )


def _first(texts: Sequence[str]) -> str | None:
    return texts[0] if texts else None
