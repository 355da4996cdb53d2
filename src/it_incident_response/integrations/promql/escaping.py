"""Puts texts from outside into PromQL, where they can be nothing but the text they are."""

import re
from collections.abc import Iterable

from it_incident_response.errors import InputRejected

_REGEX_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def promql_string(text: str) -> str:
    """Return `text` as a double-quoted PromQL string literal (Go's escapes).

    Lone surrogates, which no UTF-8 label can hold, become U+FFFD.
    """
    return f'"{"".join(map(_escaped, text))}"'


def exact_regex(text: str) -> str:
    """Return an RE2 expression that matches exactly `text`; also right for Alertmanager.

    The result is an expression, not yet a string literal: pass it to `promql_string` for PromQL.
    """
    return _REGEX_SPECIAL.sub(r"\\\1", text)


def any_of_regex(texts: Iterable[str]) -> str:
    """Return an RE2 expression that matches exactly these texts."""
    return "|".join(exact_regex(text) for text in texts)


def matcher(name: str, operator: str, value: str) -> str:
    """Return a label matcher such as `job="api"`; raises `InputRejected` for a bad label name."""
    if not _LABEL_NAME.fullmatch(name):
        raise InputRejected(f"{name[:60]!r} is not a Prometheus label name")
    if operator not in ("=", "!=", "=~", "!~"):
        raise InputRejected(f"{operator[:10]!r} is not a matching operator")
    return f"{name}{operator}{promql_string(value)}"


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if "\ud800" <= char <= "\udfff":
        return "\ufffd"
    return char if char >= " " and char != "\x7f" else f"\\x{ord(char):02x}"
