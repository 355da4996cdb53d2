"""Everything that is wrong with a configuration, found in one go."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from it_incident_response.errors import ConfigError


class Problem(NamedTuple):
    """One thing that is wrong: where, what, and what to write instead. Never holds a secret."""

    where: str
    what: str
    key: str = ""

    def __str__(self) -> str:
        subject = f"{self.where}: {self.key}" if self.key else self.where
        return f"{subject}: {self.what}"


class ConfigProblems(ConfigError):
    """A configuration that cannot be used; `problems` lists all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        if len(lines) == 1:
            super().__init__(f"configuration: {lines[0]}")
        else:
            found = "".join(f"\n  - {line}" for line in lines)
            super().__init__(f"configuration: {len(lines)} problems{found}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known word, or what is known, or nothing."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(names)}" if 0 < len(names) <= 15 else ""
