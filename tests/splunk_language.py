"""The part of Splunk's search language that the client writes, evaluated on events in memory.

Written from the published Search Reference (commands `search`, `where`, `bin`, `eval`, `fillnull`,
`stats`, `head`, `fields`; eval functions `in`, `match`, `urldecode`). Anything else is refused, as
Splunk refuses what it does not know: macros in backticks, subsearches in brackets, other commands.
"""

import re
from collections import Counter
from urllib.parse import unquote

Event = dict[str, object]


class Refused(Exception):
    """The search is not valid; Splunk answers 400 with this text."""


_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[(),=]|[^\s(),="]+)')


def run(text: str, events: list[Event]) -> list[Event]:
    """Return the results of a search over events, the newest first."""
    if not text.startswith(("search ", "|")):
        raise Refused("Unknown search command")
    if "`" in text:
        raise Refused("Error in 'SearchParser': The search specifies a macro that cannot be found")
    rows = sorted(events, key=lambda event: -float(str(event["_time"])))
    for place, command in enumerate(_pipeline(text)):
        name, _, rest = command.partition(" ")
        if name not in _COMMANDS or (name == "search") != (place == 0):
            raise Refused(f"Unknown search command '{name}'.")
        rows = _COMMANDS[name](rest.strip(), rows)
    return rows


def _pipeline(text: str) -> list[str]:
    parts, part, quoted, escaped = [], "", False, False
    for char in text:
        if not quoted and char in "[]":
            raise Refused("Error in 'SearchParser': Missing a search command before '['.")
        if char == "|" and not quoted:
            parts.append(part.strip())
            part = ""
            continue
        part += char
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    if quoted:
        raise Refused("Error in 'SearchParser': Mismatched quotes")
    return [*parts, part.strip()]


def _tokens(text: str) -> list[str]:
    found, end = [], 0
    while end < len(text.rstrip()):
        match = _TOKEN.match(text, end)
        if match is None:
            raise Refused(f"Error in the search near {text[end : end + 20]!r}")
        found.append(match[1])
        end = match.end()
    return found


def _text(token: str) -> str:
    if not token.startswith('"'):
        return token
    return re.sub(r"\\(.)", r"\1", token[1:-1])


class _Terms:
    """The condition of `search`: NOT binds strongest, then OR, then AND."""

    def __init__(self, text: str) -> None:
        self._left = _tokens(text)

    def condition(self):
        found = self._all()
        if self._left:
            raise Refused(f"Unable to parse the search: unbalanced {self._left[0]!r}")
        return found

    def _all(self):
        parts = [self._any()]
        while self._left and self._left[0] != ")":
            if self._left[0] == "AND":
                self._left.pop(0)
            parts.append(self._any())
        return lambda event: all(part(event) for part in parts)

    def _any(self):
        parts = [self._not()]
        while self._left and self._left[0] == "OR":
            self._left.pop(0)
            parts.append(self._not())
        return lambda event: any(part(event) for part in parts)

    def _not(self):
        if self._left and self._left[0] == "NOT":
            self._left.pop(0)
            inner = self._not()
            return lambda event: not inner(event)
        return self._one()

    def _one(self):
        if not self._left:
            raise Refused("Unable to parse the search: a term is missing")
        token = self._left.pop(0)
        if token == "(":
            inner = self._all()
            self._expect(")")
            return inner
        if token in (")", ",", "=") or token in ("AND", "OR"):
            raise Refused(f"Unable to parse the search at {token!r}")
        if self._left and self._left[0] == "=":
            self._left.pop(0)
            return _compared(_text(token), [_text(self._left.pop(0))])
        if self._left and self._left[0] == "IN":
            self._left.pop(0)
            return _compared(_text(token), self._list())
        return _word(_text(token))

    def _list(self) -> list[str]:
        self._expect("(")
        values = [_text(self._left.pop(0))]
        while self._left and self._left[0] == ",":
            self._left.pop(0)
            values.append(_text(self._left.pop(0)))
        self._expect(")")
        return values

    def _expect(self, token: str) -> None:
        if not self._left or self._left.pop(0) != token:
            raise Refused(f"Unable to parse the search: {token!r} is missing")


def _values(event: Event, field: str) -> list[str]:
    value = event.get(field)
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def _compared(field: str, wanted: list[str]):
    patterns = [
        re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE | re.DOTALL)
        for text in wanted
    ]
    return lambda event: any(p.fullmatch(v) for p in patterns for v in _values(event, field))


def _word(text: str):
    if text == "*":
        return lambda event: True
    inner = ".*".join(map(re.escape, text.split("*")))
    pattern = re.compile(rf"(?<![A-Za-z0-9]){inner}(?![A-Za-z0-9])", re.IGNORECASE | re.DOTALL)
    return lambda event: bool(pattern.search(str(event["_raw"])))


def _search(text: str, rows: list[Event]) -> list[Event]:
    condition = _Terms(text).condition()
    return [row for row in rows if condition(row)]


def _where(text: str, rows: list[Event]) -> list[Event]:
    call = re.fullmatch(r"(in|match)\('([^']+)', (.+)\)", text)
    if call is None:
        raise Refused(f"Error in 'where' command: The expression is malformed: {text[:60]}")
    texts = _literals(call[3])
    if call[1] == "in":
        return [row for row in rows if set(_values(row, call[2])) & set(texts)]
    try:
        pattern = re.compile(texts[0])
    except re.error as error:
        raise Refused(f"Error in 'where' command: Regex: {error}") from error
    return [row for row in rows if any(pattern.search(v) for v in _values(row, call[2]))]


def _literals(text: str) -> list[str]:
    literal = r'(?:urldecode\("[A-Za-z0-9%._-]*"\)|"(?:[^"\\]|\\.)*")'
    if not re.fullmatch(rf"{literal}(?:, {literal})*", text):
        raise Refused(f"Error in 'where' command: The expression is malformed: {text[:60]}")
    found = []
    for each in re.findall(literal, text):
        inside = each[each.index('"') :].rstrip(")")
        found.append(unquote(_text(inside)) if each.startswith("url") else _text(each))
    return found


def _bin(text: str, rows: list[Event]) -> list[Event]:
    match = re.fullmatch(r"_time span=([1-9][0-9]*)s", text)
    if match is None:
        raise Refused("Error in 'bin' command: the span is invalid")
    span = int(match[1])
    return [row | {"_time": float(str(row["_time"])) // span * span} for row in rows]


def _eval(text: str, rows: list[Event]) -> list[Event]:
    match = re.fullmatch(r"([A-Za-z_]+)=_time", text)
    if match is None:
        raise Refused("Error in 'eval' command: The expression is malformed")
    return [row | {match[1]: f"{float(str(row['_time'])):.6f}"} for row in rows]


def _fillnull(text: str, rows: list[Event]) -> list[Event]:
    tokens = _tokens(text)
    if tokens[:2] != ["value", "="] or len(tokens) < 4:
        raise Refused("Error in 'fillnull' command")
    blank = dict.fromkeys((_text(token) for token in tokens[3:]), _text(tokens[2]))
    return [blank | row for row in rows]


def _stats(text: str, rows: list[Event]) -> list[Event]:
    match = re.fullmatch(r"count AS ([A-Za-z_]+) BY (.+)", text)
    if match is None:
        raise Refused("Error in 'stats' command: The arguments are invalid")
    names = [_text(token) for token in _tokens(match[2])]
    counts: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        if all(row.get(name) is not None for name in names):  # an event without a field is left out
            counts[tuple(_values(row, name)[0] for name in names)] += 1
    return [
        dict(zip(names, key, strict=True)) | {match[1]: str(count)}
        for key, count in sorted(counts.items())
    ]


def _head(text: str, rows: list[Event]) -> list[Event]:
    if not text.isdecimal():
        raise Refused("Error in 'head' command")
    return rows[: int(text)]


def _fields(text: str, rows: list[Event]) -> list[Event]:
    names = {_text(token) for token in _tokens(text) if token != ","}
    return [{k: v for k, v in row.items() if k in names or k == "_time"} for row in rows]


_COMMANDS = {
    "search": _search,
    "where": _where,
    "bin": _bin,
    "eval": _eval,
    "fillnull": _fillnull,
    "stats": _stats,
    "head": _head,
    "fields": _fields,
}
