"""Fills template variables into queries as Grafana does, so that no value escapes its place.

Placeholders: `$name`, `${name}`, `${name:format}`, `${name.field}`, `[[name]]`, `[[name:format]]`.
Grafana itself escapes little; here a value never ends the string literal that it stands in, and
outside of one it is a plain word, or the query is refused.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from it_incident_response.integrations.promql.escaping import exact_regex

_PLACEHOLDER = re.compile(
    r"\$\{(?P<braced>\w+)(?:\.\w+)?(?::(?P<format>\w+)(?::[^}]*)?)?\}"
    r"|\[\[(?P<square>\w+?)(?:\.\w+)?(?::(?P<squareformat>\w+))?\]\]"
    r"|\$(?P<plain>\w+)"
)
_PLAIN = re.compile(r"[\w.:,+*/@ -]*")
_WORD = re.compile(r"[\w.:, ]*")
"""What may stand outside of a string literal: names, numbers, durations, lists of them."""
FILLED_MAX = 100_000
DEPTH_MAX = 5
"""Values may name variables themselves, as those of a `constant` may."""


class NotFilled(ValueError):
    """A value does not fit the place of its variable; says which."""


class Values(NamedTuple):
    """What a variable stands for."""

    values: tuple[str, ...]
    is_multi: bool = False
    is_raw: bool = False
    """Written by the dashboard's author as a part of queries: `allValue`, a built-in variable."""

    def text(self) -> str:
        """Return it as the dashboard's title would show it."""
        return " + ".join(self.values)


Variables = Mapping[str, Values]


def fill_promql(query: str, variables: Variables) -> str:
    """Return PromQL or LogQL with its variables filled in; raises `NotFilled`.

    Unknown variables stay as they are, as Grafana leaves them.
    """
    return _filled(query, variables, _PromqlPlaces(query))


def fill_plain(query: str, variables: Variables) -> str:
    """Return a query of another language with values that can mean nothing there but themselves.

    Raises `NotFilled` for a value of more than letters, digits and `_ . : , + * / @ -` and space.
    """
    return _filled(query, variables, _plain_place)


Place = Callable[[int, str, Values, str | None], str]


def _filled(query: str, variables: Variables, place: Place) -> str:
    def value_of(found: re.Match[str]) -> str:
        name = found["braced"] or found["square"] or found["plain"]
        values = variables.get(name)
        if values is None:
            return found[0]
        return place(found.start(), name, values, found["format"] or found["squareformat"])

    filled = _PLACEHOLDER.sub(value_of, query)
    if len(filled) > FILLED_MAX:
        raise NotFilled(f"with its variables it is longer than {FILLED_MAX} characters")
    return filled


def _plain_place(_: int, name: str, values: Values, form: str | None) -> str:
    text = values.values[0] if values.is_raw and values.values else _formatted(values, form, "glob")
    if not values.is_raw and not all(_PLAIN.fullmatch(value) for value in values.values):
        raise NotFilled(f"a value of ${name} has characters that may mean something in a query")
    return text


class _PromqlPlaces:
    """Knows within which quotes each place of a PromQL query lies."""

    def __init__(self, query: str) -> None:
        self._quotes = _quotes(query)

    def __call__(self, at: int, name: str, values: Values, form: str | None) -> str:
        quote_char = self._quotes[at]
        if values.is_raw or form == "raw":
            text = ",".join(values.values)
            if quote_char and not _stays_within(text, quote_char):
                raise NotFilled(f"the value of ${name} ends the string that it stands in")
        elif quote_char:
            return _quoted(_formatted(values, form, "promql"), quote_char, name)
        else:
            text = ",".join(values.values)
        if not quote_char and not _WORD.fullmatch(text):
            raise NotFilled(f"the value of ${name} is no plain word, and stands outside of quotes")
        return text


def _quotes(query: str) -> list[str]:
    """Return, for each character, the quote of the string literal that it is in, or ''."""
    places, quote_char, escaped, is_comment = [], "", False, False
    for char in query:
        places.append(quote_char)
        if is_comment:
            is_comment = char != "\n"
        elif escaped:
            escaped = False
        elif quote_char:
            if char == "\\" and quote_char != "`":
                escaped = True
            elif char == quote_char:
                quote_char = ""
        elif char in "\"'`":
            quote_char = char
        else:
            is_comment = char == "#"
    return places


def _quoted(text: str, quote_char: str, name: str) -> str:
    if quote_char == "`":
        if "`" in text:
            raise NotFilled(f"the value of ${name} has a back quote and stands within back quotes")
        return text
    escapes = {"\\": "\\\\", quote_char: f"\\{quote_char}", "\n": "\\n", "\r": "\\r"}
    return "".join(escapes.get(char, char) for char in text)


def _stays_within(text: str, quote_char: str) -> bool:
    ends = _quotes(f"{quote_char}{text}{quote_char}.")
    return "\n" not in text and all(ends[1:-1]) and ends[-1] == ""


def _formatted(values: Values, form: str | None, default: str) -> str:
    chosen = form or ("pipe_exact" if default == "promql" else default)
    several = values.values
    if form is None and default == "promql" and not values.is_multi:
        return several[0] if several else ""
    if form is None and len(several) == 1 and default == "glob":
        return several[0]
    return _FORMATS.get(chosen, _glob)(several)


def _regex(values: Sequence[str]) -> str:
    exact = [exact_regex(value) for value in values]
    return exact[0] if len(exact) == 1 else f"({'|'.join(exact)})"


def _glob(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{{{','.join(values)}}}"


def _quoted_each(mark: str) -> Callable[[Sequence[str]], str]:
    escaped = "''" if mark == "'" else f"\\{mark}"
    return lambda values: ",".join(f"{mark}{v.replace(mark, escaped)}{mark}" for v in values)


_FORMATS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "pipe_exact": _regex,
    "regex": _regex,
    "pipe": "|".join,
    "csv": ",".join,
    "glob": _glob,
    "json": lambda values: json.dumps(list(values)),
    "lucene": lambda values: _lucene(values),
    "percentencode": lambda values: quote(_glob(values), safe=""),
    "singlequote": lambda values: ",".join("'" + v.replace("'", "\\'") + "'" for v in values),
    "doublequote": _quoted_each('"'),
    "sqlstring": _quoted_each("'"),
    "text": " + ".join,
}


def _lucene(values: Sequence[str]) -> str:
    special = re.compile(r'([+\-=&|><!(){}\[\]^"~*?:\\/ ])')
    if len(values) == 1:
        return special.sub(r"\\\1", values[0])
    quoted = [json.dumps(value) for value in values]
    return f"({' OR '.join(quoted)})"
