"""`${VAR}` and `${VAR:-default}` in text; once, never in what was put in."""

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(
    r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
    r"|(?P<broken>\$\{)"
)


class UnsetVariable(Exception):
    """A referenced variable is not set, or the reference is not closed."""

    def __init__(self, what: str, name: str | None) -> None:
        super().__init__(what)
        self.name = name


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace the references in a text; `$${` gives a literal `${`.

    An empty variable counts as unset, as `:-` treats it in a shell. Raises `UnsetVariable`.
    """

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        if match["broken"]:
            raise UnsetVariable(
                "`${` is not followed by NAME}; write ${NAME}, ${NAME:-default}, or $${ for a "
                "literal ${",
                None,
            )
        value = variables.get(match["name"], "")
        if value == "" and match["default"] is None:
            raise UnsetVariable(f"variable {match['name']} is not set", match["name"])
        return value or (match["default"] or "")

    return _REFERENCE.sub(replace, text)


def expand_all(value: Any, variables: Mapping[str, str]) -> Any:
    """Expand every text inside lists and mappings; keys are left alone."""
    if isinstance(value, str):
        return expand(value, variables) if "$" in value else value
    if isinstance(value, Mapping):
        return {key: expand_all(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_all(item, variables) for item in value]
    return value
