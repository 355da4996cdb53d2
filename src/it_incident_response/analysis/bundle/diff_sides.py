"""The two sides of a difference, and what it is to have an effect."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from it_incident_response.analysis.bundle.symptoms import Symptom

DIFF_MAX = 40_000
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT = re.compile(r"^\s*(?://|#(?!include)|\*|/\*|--\s)")

Shows = Mapping[Symptom, float]


@dataclass
class Effect:
    """Something that a change does, and the trouble as which it would show."""

    name: str
    words: str
    shows: Shows
    weight: float = 1.0


@dataclass
class Sides:
    """The lines of a difference: taken away, come, and around them."""

    removed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    context: list[str] = field(default_factory=list)


def sides_of(diff: str) -> Sides:
    """Return the lines of a difference in unified or similar form, comments left out."""
    sides = Sides()
    for line in diff[:DIFF_MAX].splitlines():
        if line.startswith(("+++", "---", "@@", "diff ", "index ")):
            continue
        body = line[1:] if line[:1] in "+- " else line
        if not body.strip() or _COMMENT.match(body):
            continue
        place = {"-": sides.removed, "+": sides.added}.get(line[:1], sides.context)
        place.append(body)
    return sides


def likeness(sides: Sides) -> float:
    """Return the share of words that both sides have in common (Dice, with multiplicity)."""
    before, after = _bag(sides.removed), _bag(sides.added)
    whole = sum(before.values()) + sum(after.values())
    return 2 * sum((before & after).values()) / whole if whole else 0.0


def _bag(lines: list[str]) -> Counter[str]:
    return Counter(word for line in lines for word in IDENTIFIER.findall(line))
