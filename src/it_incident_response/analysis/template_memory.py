"""Remembers which log templates came how often, in bounded memory."""

import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from it_incident_response.analysis.log_patterns import VARIABLE, template_of
from it_incident_response.analysis.log_rules import EXAMPLE_LENGTH_MAX, EXAMPLES_SHOWN
from it_incident_response.domain.evidence import LogLevel, LogLine

FAMILIES_MAX = 5_000
"""Templates remembered; of more, those not seen for the longest time are forgotten."""
ALIKE_MAX = 30
"""Templates of one service, level, length and beginning that a new one is compared with."""
TOKENS_MAX = 40
ALIKE = 0.6
"""Share of equal words from which two texts of the same length are one template.

Between Drain's usual 0.4 and 0.7: numbers and the like are masked before, so what differs here is a
name in an otherwise constant sentence.
"""


class Kinship(NamedTuple):
    """What texts must share before they are compared word by word."""

    service: str | None
    level: LogLevel
    length: int
    first: str


@dataclass
class Family:
    """Texts that are one template."""

    id: str
    kinship: Kinship
    tokens: list[str]
    first_at: datetime
    is_known: bool
    """Seen while learning: not new, whenever it comes."""
    is_adopted: bool = False
    """An alert about it is open, by whose name it goes."""
    counts: dict[int, int] = field(default_factory=dict)
    """Lines in each slot of time."""
    examples: list[str] = field(default_factory=list)

    @property
    def template(self) -> str:
        """The text, `<*>` for each variable."""
        return " ".join(self.tokens)

    def within(self, first: int, end: int) -> int:
        """Lines in the slots `first` to `end`, the last not included."""
        return sum(count for slot, count in self.counts.items() if first <= slot < end)


class TemplateMemory:
    """Counts lines by template and slot of time; forgets the oldest first.

    A line's text is masked (`template_of`) and then joined with the most similar known template of
    the same service, level, number of words and first word. Nothing here depends on the order of
    services or on time other than the lines' own, so two processes that read the same lines
    remember the same.
    """

    def __init__(self, slot_s: float, kept_s: float, *, families_max: int = FAMILIES_MAX) -> None:
        self._slot_s = slot_s
        self._kept = int(kept_s / slot_s) + 1
        self._families_max = families_max
        self._families: OrderedDict[str, Family] = OrderedDict()
        self._alike: defaultdict[Kinship, list[Family]] = defaultdict(list)
        self.forgotten = 0
        """Templates that had to make room."""

    def __len__(self) -> int:
        return len(self._families)

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families.values())

    def slot(self, moment: datetime) -> int:
        """Return the slot of time that a moment lies in."""
        return int(moment.timestamp() // self._slot_s)

    def learn(self, lines: Iterable[LogLine], *, is_known: bool) -> None:
        """Count lines; a template that appears now is remembered as known, or as new."""
        seen: dict[tuple[str | None, LogLevel, str], Family] = {}
        for line in lines:
            text = template_of(line.message)
            if not text:
                continue
            key = (line.service, line.level, text)
            family = seen.get(key)
            if family is None or family.id not in self._families:
                family = seen[key] = self._family(line, text, is_known)
            self._count(family, line)

    def adopt(self, family_id: str, kin: LogLine, template: str) -> None:
        """Call a template by the name of the open alert about it, whoever raised that.

        Of several open alerts about one template (two processes raised it at once) the first
        adopted one is kept; the others see no more lines, and end.
        """
        tokens = _tokens(template)
        if family_id in self._families or not template:
            return
        kinship = _kinship(kin, tokens)
        found = self._most_alike(kinship, tokens)
        if found is None:
            found = Family(family_id, kinship, tokens, kin.at, is_known=False)
            self._remember(found)
        elif found.is_adopted:
            return
        else:
            del self._families[found.id]
            found.id, found.is_known = family_id, False
            found.first_at = min(found.first_at, kin.at)
            self._families[family_id] = found
        found.is_adopted = True

    def forget_before(self, moment: datetime) -> None:
        """Drop counts of slots that no question is about any more; templates stay known."""
        oldest = self.slot(moment) - self._kept
        for family in self._families.values():
            for slot in [slot for slot in family.counts if slot < oldest]:
                del family.counts[slot]

    def _family(self, line: LogLine, text: str, is_known: bool) -> Family:
        tokens = _tokens(text)
        kinship = _kinship(line, tokens)
        found = self._most_alike(kinship, tokens)
        if found is not None:
            found.tokens = [
                a if a == b else VARIABLE for a, b in zip(found.tokens, tokens, strict=True)
            ]
            self._families.move_to_end(found.id)
            return found
        family = Family(_id_of(kinship, text), kinship, tokens, line.at, is_known)
        return self._remember(family)

    def _most_alike(self, kinship: Kinship, tokens: list[str]) -> Family | None:
        """Return the template that a text belongs to, if there is one."""
        alike = self._alike.get(kinship, ())
        found = max(alike, key=lambda family: _likeness(family.tokens, tokens), default=None)
        is_one = found is not None and _likeness(found.tokens, tokens) >= ALIKE
        return found if is_one else None

    def _remember(self, family: Family) -> Family:
        if family.id in self._families:  # its words drifted so far that it is not alike any more
            return self._families[family.id]
        alike = self._alike[family.kinship]
        if len(alike) >= ALIKE_MAX:
            self._forget(alike[0])
        if len(self._families) >= self._families_max:
            self._forget(next(iter(self._families.values())))
        self._families[family.id] = family
        self._alike[family.kinship].append(family)
        return family

    def _forget(self, family: Family) -> None:
        self.forgotten += 1
        del self._families[family.id]
        alike = self._alike[family.kinship]
        alike.remove(family)
        if not alike:
            del self._alike[family.kinship]

    def _count(self, family: Family, line: LogLine) -> None:
        slot = self.slot(line.at)
        family.counts[slot] = family.counts.get(slot, 0) + 1
        family.first_at = min(family.first_at, line.at)
        example = line.message[:EXAMPLE_LENGTH_MAX]
        if len(family.examples) < EXAMPLES_SHOWN and example not in family.examples:
            family.examples.append(example)


def _tokens(text: str) -> list[str]:
    return text.split(" ", TOKENS_MAX)[:TOKENS_MAX]


def _kinship(line: LogLine, tokens: list[str]) -> Kinship:
    return Kinship(line.service, line.level, len(tokens), tokens[0])


def _likeness(known: list[str], tokens: list[str]) -> float:
    """Share of words that are the same; the lists are equally long and not empty."""
    return sum(map(str.__eq__, known, tokens)) / len(known)


def _id_of(kinship: Kinship, text: str) -> str:
    """Return a short name that the same first text gets again after a restart."""
    identity = "\0".join((kinship.service or "", kinship.level.value, text))
    return hashlib.blake2b(identity.encode(errors="replace"), digest_size=6).hexdigest()
