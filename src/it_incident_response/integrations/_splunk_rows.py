"""Reads what searches return: frames of JSON, rows, lines, counts."""

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.errors import ConnectorReplyInvalid
from it_incident_response.integrations._splunk_query import (
    COUNT_FIELD,
    LEVEL_OF,
    NOTHING,
    TIME_FIELD,
)
from it_incident_response.integrations._splunk_settings import NAME, Role
from it_incident_response.ports.sources import LogCount

MESSAGE_LENGTH_MAX = 65_536
"""Characters of a line that are kept."""
VALUE_LENGTH_MAX = 1_000
MESSAGES_MAX = 20
_FRAME_KEYS = frozenset({"preview", "result", "results", "messages", "lastrow", "offset"})
_BAD = ("FATAL", "ERROR", "WARN")
_LEVEL_WORD = re.compile(
    r"(?<![A-Za-z])(debug|trace|info|notice|warn|warning|error|err|severe|fatal|critical|crit|"
    r"panic|emerg)(?![A-Za-z])",
    re.IGNORECASE,
)
_LEVEL_CHARS = 300

Row = Mapping[str, Any]


@dataclass
class Rows:
    """Results of one search and what Splunk said about them."""

    rows: list[Row] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)
    """Type (`FATAL`, `ERROR`, `WARN`, `INFO`...) and text."""
    is_cut: bool = False
    """Not all was read: a bound of ours or of Splunk's."""

    @property
    def troubles(self) -> list[str]:
        """What Splunk warned of, as it said it."""
        return [f"{kind}: {text}" for kind, text in self.messages if kind in _BAD]

    @property
    def fatal(self) -> str | None:
        """Why the search failed as a whole, if it did."""
        return next((text for kind, text in self.messages if kind == "FATAL"), None)

    def take(self, frame: bytes) -> None:
        """Add one frame: a page of results, or one line of an export.

        Raises `ConnectorReplyInvalid` if it is not what Splunk documents. Rows of a preview are
        left out: they come again when they are final.
        """
        content = _decoded(frame)
        self._note(content)
        if content.get("preview") is True:
            return
        from splunklib.results import JSONResultsReader

        # The SDK's reader is given one frame: of a whole stream it would read every line into
        # memory first, and of several messages in a frame it passes on the last alone.
        for item in JSONResultsReader(io.BytesIO(frame.replace(b"\n", b" "))):
            if isinstance(item, Mapping):
                self.rows.append(item)

    def _note(self, content: Mapping[str, Any]) -> None:
        for message in content.get("messages") or ():
            if not isinstance(message, Mapping):
                raise _strange("a message is not an object")
            pair = (str(message.get("type", "")).upper(), one_line(str(message.get("text", ""))))
            if len(self.messages) < MESSAGES_MAX and pair not in self.messages:
                self.messages.append(pair)


def one_line(text: str) -> str:
    """Return a text of Splunk's fit for people: no control characters, bounded."""
    return "".join(char if char.isprintable() else " " for char in text[:500]).strip()


def _decoded(frame: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        if frame[:64].lstrip().startswith(b"<"):
            raise _strange("a web page or XML came where JSON was asked for") from None
        raise _strange(f"broken or truncated JSON ({len(frame)} bytes): {error}") from None
    if not isinstance(content, Mapping) or not _FRAME_KEYS & content.keys():
        raise _strange("this is no frame of search results")
    results = content.get("results", [])
    if not isinstance(results, list) or not all(isinstance(row, Mapping) for row in results):
        raise _strange("`results` is no list of objects")
    if not isinstance(content.get("result", {}), Mapping):
        raise _strange("`result` is no object")
    if not isinstance(content.get("messages", []), list):
        raise _strange("`messages` is no list")
    return content


def _strange(what: str) -> ConnectorReplyInvalid:
    return ConnectorReplyInvalid(
        NAME,
        f"the answer to a search is not as documented: {what}",
        hint="is the URL that of Splunk's management port (8089), without a proxy that changes it?",
    )


def line_of(row: Row, fields: Mapping[Role, str]) -> LogLine:
    """Return an event as a log line; raises `ConnectorReplyInvalid` for one without a time."""
    message = _text(row.get(fields["message"]), MESSAGE_LENGTH_MAX)
    if not message:
        message = _text(row.get("_raw"), MESSAGE_LENGTH_MAX) or ""
    used = {TIME_FIELD, "_time", "_raw", *fields.values()}
    others = {
        name: text
        for name, value in row.items()
        if name not in used and not name.startswith("_") and (text := _text(value))
    }
    return LogLine(
        at=_moment(row),
        message=message,
        level=_level(_named(row, fields, "level"), message),
        service=_named(row, fields, "service"),
        host=_named(row, fields, "host") or _text(row.get("host")),
        pod=_named(row, fields, "pod"),
        trace_id=_named(row, fields, "trace"),
        attributes=others,
    )


def counts_of(
    rows: Iterable[Row], fields: Mapping[Role, str], unlabelled: LogLevel
) -> Iterator[LogCount]:
    """Yield the counts of a `counts_search`; raises `ConnectorReplyInvalid` for a wrong one.

    `unlabelled` is the level of events that have no field for it.
    """
    for row in rows:
        text = _text(row.get(COUNT_FIELD)) or ""
        if not text.isdecimal() or len(text) > 18:
            raise _strange(f"{text[:40]!r} is no count")
        level, service = _named(row, fields, "level"), _named(row, fields, "service")
        yield LogCount(
            at=_moment(row),
            level=LEVEL_OF.get((level or "").strip().lower(), unlabelled),
            service=None if service == NOTHING else service,
            count=int(text),
        )


def _named(row: Row, fields: Mapping[Role, str], role: Role) -> str | None:
    return _text(row.get(fields[role])) if role in fields else None


def _text(value: object, length: int = VALUE_LENGTH_MAX) -> str | None:
    """Return a field's text; of a field with several values the first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None or isinstance(value, Mapping):
        return None
    return str(value)[:length] or None


def _level(said: str | None, message: str) -> LogLevel:
    """Return what the field says, else the first level word at the message's beginning."""
    if said and (level := LEVEL_OF.get(said.strip().lower())):
        return level
    found = _LEVEL_WORD.search(message[:_LEVEL_CHARS])
    return LEVEL_OF.get(found[1].lower(), LogLevel.INFO) if found else LogLevel.INFO


def _moment(row: Row) -> datetime:
    text = _text(row.get(TIME_FIELD)) or ""
    try:
        seconds = float(text)
        if not math.isfinite(seconds):
            raise ValueError(text)
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise _strange(f"{text[:40]!r} is no time in Unix seconds") from None
