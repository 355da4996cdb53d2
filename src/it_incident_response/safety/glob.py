"""Name patterns of the policy: `*` and `?` only, matched in bounded time, no regex."""

from typing import Annotated

from pydantic import StringConstraints

Glob = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:@/*?-]+$")
]
"""`*` stands for any characters, also none; `?` for exactly one; the rest for itself."""

_TEXT_LIMIT = 1024


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole `text` fits `pattern`, without regard to case.

    Two-pointer matching that returns to the last star only: at most len(pattern) * len(text)
    steps. A text of more than 1024 characters matches nothing but `*`.
    """
    if pattern == "*":
        return True
    if len(text) > _TEXT_LIMIT:
        return False
    return _matches(pattern.casefold(), text.casefold())


def _matches(pattern: str, text: str) -> bool:
    at_pattern = at_text = resume = 0
    star = -1
    while at_text < len(text):
        wanted = pattern[at_pattern] if at_pattern < len(pattern) else ""
        if wanted == "*":
            star, resume = at_pattern, at_text
            at_pattern += 1
        elif wanted == "?" or wanted == text[at_text]:
            at_pattern += 1
            at_text += 1
        elif star >= 0:
            at_pattern = star + 1
            resume += 1
            at_text = resume
        else:
            return False
    return not pattern[at_pattern:].strip("*")


def any_matches(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Return whether any of the names fits any of the patterns."""
    return any(matches(pattern, name) for pattern in patterns for name in names)
