"""Who counts as a person: agents, connectors and the system itself never approve anything."""

import re

ANYBODY = "*"
"""In a role: every person."""

_PERSON = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}")
_NOT_PEOPLE = frozenset({"system", "policy", "configuration", "iir", "nobody", "anonymous"})


def person_name(who: str) -> str | None:
    """Return the bare name of a person given as `alice` or `user:alice`, else None.

    ASCII only, so that no two names look alike; our own names (`system`, `agent:...`) are none.
    """
    name = who.removeprefix("user:")
    if not _PERSON.fullmatch(name) or name.casefold() in _NOT_PEOPLE:
        return None
    return name


def as_actor(who: str) -> str:
    """Return how the audit trail names them: `user:alice`; other actors stay as they are."""
    name = person_name(who)
    return f"user:{name}" if name is not None else who
