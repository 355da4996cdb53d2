"""Reads what a raw log line says about itself: its time, its level, a stack trace below it."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from it_incident_response.analysis.log_mining.masking import without_escapes
from it_incident_response.analysis.log_traces import (
    Libraries,
    is_frame,
    is_python_end,
    is_start,
    read_trace,
)
from it_incident_response.analysis.log_wrappers import unwrapped
from it_incident_response.domain.evidence import LogLevel, LogLine

EVENT_LENGTH_MAX = 64 * 1024
"""Characters of an event that are looked at."""
EVENT_LINES_MAX = 1_000
TRACE_GAP = timedelta(seconds=2)
"""Lines of one trace are written at once; what comes later is another event."""
_HEADER_LENGTH = 160
_STARTS = ("Traceback (", "panic: ", "goroutine ", "The above exception", "During handling")
_LINES_BETWEEN_FRAMES = 4
_LINES_OF_A_CALL = 200

_LEVELS = {
    "trace": LogLevel.DEBUG, "debug": LogLevel.DEBUG, "dbg": LogLevel.DEBUG,
    "info": LogLevel.INFO, "information": LogLevel.INFO, "notice": LogLevel.INFO,
    "warn": LogLevel.WARNING, "warning": LogLevel.WARNING,
    "error": LogLevel.ERROR, "err": LogLevel.ERROR, "severe": LogLevel.ERROR,
    "crit": LogLevel.FATAL, "critical": LogLevel.FATAL, "fatal": LogLevel.FATAL,
    "panic": LogLevel.FATAL, "emerg": LogLevel.FATAL, "alert": LogLevel.FATAL,
}  # fmt: skip
_KLOG_LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "fatal"}
_WORDS = "|".join(sorted(_LEVELS, key=len, reverse=True))
_UPPER = re.compile(rf"^[^a-z]{{0,40}}?(?<![\w/.-])({_WORDS.upper()})(?![\w/.-])[\]:|>)]*\s*")
_BRACKETED = re.compile(rf"(?i)^\W{{0,4}}[\[<(]({_WORDS})[\])>]:?\s*")
_LEADING = re.compile(rf"(?i)^({_WORDS})(?::|\s*\||\s+-)\s*")
_FIELD = re.compile(
    rf"(?i)(?:^|[\s,{{])\"?(?:level|lvl|severity|log\.level|loglevel)\"?\s*[=:]\s*\"?({_WORDS})\b"
)
_KLOG = re.compile(r"^([IWEF])\d{4} \d{2}:\d{2}:\d{2}\.\d+\s+\d+ [^\]\s]+\]\s*")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_ISO = re.compile(
    r"^[\[(]?(\d{4})[-/.](\d{2})[-/.](\d{2})[T ](\d{2}):(\d{2}):(\d{2})(?:[.,:](\d{1,9}))?"
    r"\s?(Z|UTC|[+-]\d{2}:?\d{2})?[\])]?[\s:|-]*"
)
_ACCESS = re.compile(
    rf"^\[?(\d{{2}})/({_MONTHS})/(\d{{4}}):(\d{{2}}):(\d{{2}}):(\d{{2}}) ([+-]\d{{4}})\]?\s*"
)
_SYSLOG = re.compile(
    rf"^(?:<\d{{1,3}}>)?\[?(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?:{_MONTHS}) +\d{{1,2}} "
    r"\d{2}:\d{2}:\d{2}(?:\.\d+)?(?: \d{4})?\]?\s*"
)
"""Without a year or a zone, so it tells no moment; it is only taken off."""
_CLOCK = re.compile(r"^\[?\d{2}:\d{2}:\d{2}(?:[.,]\d+)?\]?\s+")


class Event(NamedTuple):
    """One log event, maybe of many lines."""

    text: str
    """Its first line, without escape sequences, time and level; of a trace what names the fault."""
    level: LogLevel | None
    """The level that the text names, if it does."""
    at: datetime | None
    """The time that the text names, if it has a date; without a zone it is taken for UTC."""
    exception: str | None
    frame: str | None


def read_event(message: str, libraries: Libraries | None = None) -> Event:
    """Read one message, which may have several lines; it is looked at up to a bound."""
    whole = without_escapes(message[:EVENT_LENGTH_MAX])
    wrapped = unwrapped(whole)
    lines = wrapped.text.strip("\r\n").splitlines()[:EVENT_LINES_MAX] or [""]
    at, rest = _time(lines[0].strip())
    level, text = _level(rest)
    at, level = at or _time(wrapped.time)[0], level or _LEVELS.get(wrapped.level.lower())
    trace = read_trace([rest, *lines[1:]], libraries) if len(lines) > 1 else None
    if trace is None:
        return Event(text or rest, level, at, None, None)
    if trace.head and (not text or text.startswith("Traceback (")):
        text = trace.head
    return Event(text, level or LogLevel.ERROR, at, trace.exception, trace.frame)


def joined(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Join the lines of a stack trace, each from its own log line, into one; the rest stays.

    Lines belong together that come from the same service, host and pod, one right after the other
    and at most `TRACE_GAP` apart. The joined line has the first one's time and the gravest level.
    Lines come out in order of time.
    """
    open_events: dict[tuple[str | None, ...], list[LogLine]] = {}
    done: list[LogLine] = []
    for line in sorted(lines, key=lambda line: line.at):
        place = (line.service, line.host, line.pod)
        event = open_events.get(place)
        if event and _continues(event, line):
            event.append(line)
            continue
        if event:
            done.append(_as_one(event))
        open_events[place] = [line]
    done.extend(map(_as_one, open_events.values()))
    yield from sorted(done, key=lambda line: line.at)


def decoded(raw: bytes) -> str:
    """Return bytes as text; what is not UTF-8 becomes U+FFFD."""
    return raw[: EVENT_LENGTH_MAX * 4].decode("utf-8", "replace")


def _continues(event: list[LogLine], line: LogLine) -> bool:
    if len(event) >= EVENT_LINES_MAX or line.at - event[-1].at > TRACE_GAP:
        return False
    text = line.message
    if is_frame(text):
        return True
    is_open = _is_open(event)
    if is_open and (text[:1] in ("\t", " ") or not text or _ends(event, text)):
        return True
    if text.startswith(_STARTS):
        return is_open or _is_grave(event[0])
    starts_here = len(event) == 1 and is_start(text) and not is_start(event[0].message)
    return starts_here and _is_grave(event[0])


def _is_open(event: list[LogLine]) -> bool:
    """Return whether a trace has begun in these lines."""
    return any(
        line.message.startswith(_STARTS) or is_frame(line.message)
        for line in (event[0], *event[-_LINES_BETWEEN_FRAMES:])
    )


def _ends(event: list[LogLine], text: str) -> bool:
    """Return whether a line without indent still belongs to an open trace."""
    if any(
        line.message.startswith(("panic: ", "goroutine ")) for line in event[-_LINES_OF_A_CALL:]
    ):
        return text.startswith(("[signal ", "created by ", "exit status")) or text.endswith(")")
    is_python = any(line.message.startswith("Traceback (") for line in event)
    return is_python and event[-1].message[:1] == " " and is_python_end(text)


def _is_grave(line: LogLine) -> bool:
    level = read_level(line.message)
    return LogLevel.ERROR in (line.level, level) or LogLevel.FATAL in (line.level, level)


def _as_one(event: list[LogLine]) -> LogLine:
    if len(event) == 1:
        return event[0]
    order = list(LogLevel)
    text = "\n".join(line.message[:EVENT_LENGTH_MAX] for line in event)[:EVENT_LENGTH_MAX]
    gravest = max((line.level for line in event), key=order.index)
    return event[0].model_copy(update={"message": text, "level": gravest})


def read_level(message: str) -> LogLevel | None:
    """Return the level that a line's header names; None if it names none."""
    wrapped = unwrapped(without_escapes(message[:EVENT_LENGTH_MAX]))
    _, rest = _time(wrapped.text.strip())
    return _level(rest)[0] or _LEVELS.get(wrapped.level.lower())


def _level(text: str) -> tuple[LogLevel | None, str]:
    """Return the level and the text after it."""
    klog = _KLOG.match(text)
    if klog:
        return _LEVELS[_KLOG_LEVELS[klog[1]]], text[klog.end() :]
    header = text[:_HEADER_LENGTH]
    for shape in (_BRACKETED, _LEADING, _UPPER):
        if found := shape.match(header):
            if found[1].lower() == "panic":  # Go's own word, a part of the message
                return LogLevel.FATAL, text
            return _LEVELS[found[1].lower()], text[: found.start(1)].strip(" [<(|") + text[
                found.end() :
            ]
    field = _FIELD.search(text[: _HEADER_LENGTH * 4])
    return (_LEVELS[field[1].lower()], text) if field else (None, text)


def _time(text: str) -> tuple[datetime | None, str]:
    """Return the time at the beginning and the text after it."""
    if found := _ISO.match(text):
        return _moment(found), text[found.end() :]
    if found := _ACCESS.match(text):
        return _access_moment(found), text[found.end() :]
    found = _SYSLOG.match(text) or _CLOCK.match(text)
    return None, text[found.end() :] if found else text


def _moment(found: re.Match[str]) -> datetime | None:
    *parts, fraction, zone = found.groups()
    micro = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        local = datetime(*map(int, parts), micro, tzinfo=UTC)  # type: ignore[misc,arg-type]
        return local - _offset(zone)
    except (ValueError, OverflowError):  # the 31st of June, or the year 0
        return None


def _access_moment(found: re.Match[str]) -> datetime | None:
    day, month, year, hour, minute, second, zone = found.groups()
    number = _MONTHS.split("|").index(month) + 1
    try:
        clock = map(int, (hour, minute, second))
        return datetime(int(year), number, int(day), *clock, tzinfo=UTC) - _offset(zone)  # type: ignore[misc,arg-type]
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> timedelta:
    if not zone or zone in ("Z", "UTC"):
        return timedelta()
    digits = zone[1:].replace(":", "")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -size if zone[0] == "-" else size
