"""Unwraps log lines that are JSON: message, level, time and stack trace stand in fields."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

_TEXTS = ("message", "msg", "log", "MESSAGE", "short_message", "@m", "@mt", "text", "event", "body")
_LEVELS = ("level", "severity", "lvl", "levelname", "log.level", "loglevel", "@l")
_TIMES = ("timestamp", "@timestamp", "time", "ts", "@t", "datetime", "date")
_TRACES = ("stack_trace", "stacktrace", "stack", "exception", "exc_info", "error.stack_trace", "@x")
_DEPTH_MAX = 3
"""A container's JSON around an application's JSON around a text."""


class Unwrapped(NamedTuple):
    """What a line says; the text as it was, if it is not JSON with a message."""

    text: str
    level: str = ""
    time: str = ""


def unwrapped(text: str, depth: int = 0) -> Unwrapped:
    """Return the message of a line that is a JSON object, with its trace below."""
    fields = _object(text)
    message = _field(fields, _TEXTS)
    if not message:
        return Unwrapped(text)
    level, time = _field(fields, _LEVELS), _field(fields, _TIMES)
    inner = unwrapped(message, depth + 1) if depth < _DEPTH_MAX else Unwrapped(message)
    trace = _field(fields, _TRACES)
    body = f"{inner.text}\n{trace}" if trace else inner.text
    return Unwrapped(body, inner.level or level, inner.time or time)


def _object(text: str) -> Mapping[str, Any]:
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return {}
    try:
        found = orjson.loads(stripped)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _field(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if isinstance(value := fields.get(name), str) and value:
            return value
    return ""
