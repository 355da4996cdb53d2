"""The embedded server's output in our log: its levels, one bounded line each, no flood."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

log = logging.getLogger("it_incident_response.temporal")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_CHUNK_BYTES = 65_536
_LINE_BYTES_MAX = 65_536
_SHOWN_MAX = 500
_KEPT_LINES = 20
_BURST = 50
"""Lines shown of each wave; the server repeats one complaint for every shard and queue."""
_WAVE_S = 30.0
_FIELDS = ("component", "service", "address", "error", "Error", "wf-id", "wf-namespace")


class LogPump:
    """Reads a server's output to its end; the last lines are kept for an error's text."""

    def __init__(self) -> None:
        self.is_quiet = False
        """True while the server stops or starts: its complaints are then DEBUG."""
        self._kept: deque[str] = deque(maxlen=_KEPT_LINES)
        self._shown = 0
        self._dropped = 0
        self._wave_ends_at = 0.0

    @property
    def tail(self) -> str:
        """The last thing it said, in one line."""
        return self._kept[-1] if self._kept else "it said nothing"

    def said(self, words: str) -> bool:
        """Tell whether the words stand in the last lines."""
        return any(words in line for line in self._kept)

    async def run(self, stream: asyncio.StreamReader) -> None:
        """Log each line until the stream ends; a longer line than the bound is cut."""
        rest, is_cut = b"", False
        while chunk := await stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if not is_cut:
                    self.take(line)
                is_cut = False
            if len(rest) > _LINE_BYTES_MAX:
                if not is_cut:
                    self.take(rest)
                rest, is_cut = b"", True
        if rest and not is_cut:
            self.take(rest)

    def take(self, line: bytes) -> None:
        """Log one line."""
        text = line[:_LINE_BYTES_MAX].decode("utf-8", "replace").strip()
        if not text:
            return
        level, shown = _parsed(text)
        if level >= logging.WARNING:
            self._kept.append(shown)
        if self.is_quiet:
            level = logging.DEBUG
        if level >= logging.WARNING and not self._may_show():
            return
        log.log(level, "%s", shown)

    def _may_show(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._wave_ends_at:
            if self._dropped:
                log.warning("%d more lines like these were left out", self._dropped)
            self._shown, self._dropped, self._wave_ends_at = 0, 0, now + _WAVE_S
        self._shown += 1
        self._dropped += self._shown > _BURST
        return self._shown <= _BURST


def _parsed(text: str) -> tuple[int, str]:
    entry: Any = None
    if text.startswith("{"):
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            entry = None
    if not isinstance(entry, dict):
        # Its last words stand there as plain text: `Error: failed starting server: ...`
        level = logging.ERROR if text.startswith(("Error:", "panic:", "fatal")) else logging.INFO
        return level, _printable(text)
    level = _LEVELS.get(str(entry.get("level", "")).lower(), logging.INFO)
    return level, _printable(" ".join([str(entry.get("msg", "")), *_fields(entry)]))


def _fields(entry: dict[str, Any]) -> Iterator[str]:
    for name in _FIELDS:
        if value := entry.get(name):
            yield f"{name.lower()}={value}"


def _printable(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN_MAX + 1])
    return shown if len(shown) <= _SHOWN_MAX else shown[: _SHOWN_MAX - 3] + "..."
