"""Reading single fields of a body from outside: each is bounded, none is trusted to be there."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from it_incident_response.errors import InputRejected

SHORT = 200
"""Characters of a name, a version, an author."""
LONG = 500
"""Characters of a summary."""
LINK_MAX = 2000
FILES_MAX = 200
"""File names kept of one change."""
PATH_MAX = 300
DIFF_MAX = 20_000
AHEAD_MAX = timedelta(hours=1)
"""So far may a sender's clock be ahead of ours; beyond it the time is not believed."""
_MILLISECONDS_FROM = 1e11
"""Seconds would be the year 5138: such a number counts milliseconds."""
_DEPTH_MAX = 6


class Fields:
    """One JSON object of a body; reading what is not there, or is something else, gives None."""

    def __init__(self, content: Any) -> None:
        self._content = content if isinstance(content, Mapping) else {}

    def value(self, *path: str) -> Any:
        """Return what is at the path, whatever it is."""
        found: Any = self._content
        for name in path[:_DEPTH_MAX]:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def text(self, *path: str, limit: int = SHORT) -> str | None:
        """Return a text or whole number as text without spaces around it; None if it is empty."""
        found = self.value(*path)
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63:
            found = str(found)
        if not isinstance(found, str):
            return None
        return found[: limit * 2].strip()[:limit] or None

    def first_line(self, *path: str, limit: int = LONG) -> str | None:
        """Return the first line of a text."""
        text = self.text(*path, limit=limit)
        return (text.splitlines() or [""])[0].strip() or None if text else None

    def link(self, *path: str) -> str | None:
        """Return a web address; None for anything else, which nobody should be led to."""
        text = self.text(*path, limit=LINK_MAX + 1)
        is_link = text is not None and text.startswith(("https://", "http://"))
        return text if text and is_link and len(text) <= LINK_MAX and text.isprintable() else None

    def moment(self, *path: str) -> datetime | None:
        """Return a time given as RFC 3339 text or as seconds or milliseconds since 1970."""
        return moment(self.value(*path))

    def flag(self, *path: str) -> bool:
        """Return whether a value is `true`."""
        return self.value(*path) is True

    def inner(self, *path: str) -> "Fields":
        """Return an object inside this one; empty if there is none."""
        return Fields(self.value(*path))

    def each(self, *path: str, limit: int = 100) -> Iterator["Fields"]:
        """Yield the first objects of a list."""
        found = self.value(*path)
        for item in found[:limit] if isinstance(found, list) else ():
            yield Fields(item)

    def texts(self, *path: str, limit: int = FILES_MAX) -> Sequence[str]:
        """Return the first texts of a list, each bounded."""
        found = self.value(*path)
        items = found[:limit] if isinstance(found, list) else ()
        return [item[:PATH_MAX] for item in items if isinstance(item, str) and item]


def moment(given: Any) -> datetime | None:
    """Return the UTC time that a value means; None if it means none."""
    try:
        if isinstance(given, str):
            return _parsed(given.strip()[:64])
        if isinstance(given, int | float) and not isinstance(given, bool):
            return _since_1970(float(given))
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _parsed(text: str) -> datetime | None:
    # GitLab writes `2026-01-31 12:00:00 +0100` and `2026-01-31 12:00:00 UTC`.
    for zone in (" UTC", " Z"):
        text = text.removesuffix(zone) + "Z" if text.endswith(zone) else text
    head, space, zone = text.rpartition(" ")
    if space and zone[:1] in "+-" and ":" in head:
        text = head + zone
    found = datetime.fromisoformat(text)
    return None if found.tzinfo is None else found.astimezone(UTC)


def _since_1970(number: float) -> datetime | None:
    if not math.isfinite(number) or number <= 0:
        return None
    seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
    return datetime.fromtimestamp(seconds, UTC)


def believed(given: datetime | None, received_at: datetime) -> datetime:
    """Return when a change was made: the time given, or of receiving if that lies in the future."""
    if given is None or given > received_at + AHEAD_MAX:
        return received_at
    return given


def decoded(body: bytes) -> Any:
    """Return the JSON of a body; raises `InputRejected`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputRejected(f"the body is no JSON: {error.msg} at character {error.pos}") from None


def decoded_object(body: bytes) -> Fields:
    """Return the JSON object of a body; raises `InputRejected`."""
    content = decoded(body)
    if not isinstance(content, dict):
        raise InputRejected("the body is no JSON object")
    return Fields(content)
