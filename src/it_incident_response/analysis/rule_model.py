"""The closed vocabulary of diagnostic rules: what a rule may say, as typed values.

No expression language, no templates, no regular expressions: every condition is data, so that it
can be shown, cited, indexed and checked, and costs the same whatever text it meets.
"""

import re
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from it_incident_response.domain.diagnosis import CauseKind, Suggestion
from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import LogLevel, Shape, Signal
from it_incident_response.domain.model import Value

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """Return the seconds of `90s`, `15m`, `2h` or `7d`; another value is left to be judged."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNIT_S[match[2]]
    if isinstance(value, str):
        raise ValueError(f"{value!r} is no duration; write 90s, 15m, 2h or 7d")
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Phrase = Annotated[Text, AfterValidator(str.lower)]
Phrases = Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=40)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,63}$")]


class Strength(StrEnum):
    """How much a condition says about the cause; the numbers are in `diagnosis`."""

    STRONG = "strong"
    FAIR = "fair"
    WEAK = "weak"


class AlertCondition(Value):
    """A firing alert; all that is given must hold of the same alert."""

    name: Phrases | None = None
    """Any of these: its words are words of the alert's name, in order; `fail*` is a prefix."""
    mentions: Phrases | None = None
    """Any of these, in the name as above or literally in summary or description."""
    component: Phrase | None = None
    label: dict[Text, Text] | None = None
    """Label name to a value in which `*` stands for anything."""
    lasting: Seconds = 0.0
    """It has fired at least this long."""


class LogCondition(Value):
    """A log pattern, or a line that a look at a host printed."""

    contains: Phrases
    """Any of these, literally, upper or lower case."""
    words: Phrases | None = None
    """All of these as well."""
    level: LogLevel = LogLevel.DEBUG
    """At least this severe."""
    count: int = Field(default=1, ge=1)
    surge: float | None = Field(default=None, gt=1)
    """At least this many times as frequent as in the baseline."""


class MetricCondition(Value):
    """What a signal shows; all that is given must hold of the same series."""

    signal: Signal
    at_least: float | None = None
    at_most: float | None = None
    """Bounds on the current value, in the signal's unit."""
    shape: tuple[Shape, ...] | None = None
    effect: float | None = None
    """At least this effect (robust z); at most this if it is negative."""
    times: float | None = Field(default=None, gt=0)
    """At least this many times the baseline; at most, if it is below 1."""
    lasting: Seconds = 0.0
    """It has been so at least this long."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = (self.at_least, self.at_most, self.shape, self.effect, self.times)
        if all(value is None for value in given):
            raise ValueError("give at_least, at_most, shape, effect or times")
        return self


class ChangeCondition(Value):
    """A change to what alerts or what it depends on, before the incident or a little into it."""

    what: tuple[Text, ...] = Field(min_length=1)
    """deploy, config, flag, scale, certificate, infrastructure..."""
    within: Seconds = 3600.0
    """At most this long before the incident began."""
    mentions: Phrases | None = None


class CommandCondition(Value):
    """A fact that a read-only look at a host showed."""

    fact: Text
    """Name of the fact; a `*` at its end stands for anything."""
    equals: Phrases | None = None
    contains: Phrases | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = (self.equals, self.contains, self.at_least, self.at_most)
        if all(value is None for value in given):
            raise ValueError("give equals, contains, at_least or at_most")
        return self


class NeighbourCondition(Value):
    """Something seen at what the affected services call, or at what calls them."""

    where: Literal["dependency", "caller"]
    sees: "Condition"


class BeforeCondition(Value):
    """One thing that happened before another."""

    first: "Condition"
    then: "Condition"
    within: Seconds = 3600.0


class Condition(Value):
    """One condition: exactly one kind, and how much it says."""

    alert: AlertCondition | None = None
    log: LogCondition | None = None
    metric: MetricCondition | None = None
    change: ChangeCondition | None = None
    command: CommandCondition | None = None
    neighbour: NeighbourCondition | None = None
    before: BeforeCondition | None = None
    strength: Strength = Strength.FAIR

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError(f"give exactly one of {', '.join(CONDITION_KINDS)}")
        return self

    def _given(self) -> list[str]:
        return [kind for kind in CONDITION_KINDS if getattr(self, kind) is not None]

    @cached_property
    def kind(self) -> str:
        """Which kind it is: alert, log, metric, change, command, neighbour or before."""
        return self._given()[0]

    def describe(self) -> str:
        """Return the condition in words, for people."""
        kind = self.kind
        return f"{kind} {_in_words(getattr(self, kind))}"


CONDITION_KINDS = ("alert", "log", "metric", "change", "command", "neighbour", "before")


def _in_words(value: Value) -> str:
    parts = []
    for name in value.model_fields_set:
        part = getattr(value, name)
        if isinstance(part, Condition):
            part = part.describe()
        elif isinstance(part, tuple):
            part = " or ".join(f"{item!s}" for item in part)
        elif isinstance(part, dict):
            part = ", ".join(f"{key}={item}" for key, item in part.items())
        parts.append(f"{name.replace('_', ' ')} {part}")
    return ", ".join(sorted(parts))


class When(Value):
    """What has to hold: all of `all`, one or more of `any`, none of `none`."""

    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    none: tuple[Condition, ...] = ()

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not (self.all or self.any):
            raise ValueError("give conditions under `all` or `any`; `none` alone proves nothing")
        return self


class Example(Value):
    """Evidence that must, or must not, match; written in the words of `evidence_words`."""

    matches: bool
    evidence: tuple[dict[str, object], ...] = ()


class Rule(Value):
    """One diagnostic rule."""

    id: RuleId
    cause: Text
    kind: CauseKind
    about: tuple[EntityKind, ...] = (EntityKind.SERVICE, EntityKind.HOST)
    """What sort of thing is to blame, the preferred sort first."""
    of_one: bool = False
    """All of it has to be seen at one and the same service or host."""
    when: When
    confidence: float = Field(gt=0, lt=1)
    """How likely the cause is when everything matches and nothing else explains it."""
    explains: tuple[RuleId, ...] = ()
    """Rules whose findings are only consequences when this one holds."""
    suggests: tuple[Suggestion, ...] = ()
    runbook: str | None = None
    source: Text
    """Where the knowledge comes from."""
    examples: tuple[Example, ...]

    @model_validator(mode="after")
    def _has_both_kinds_of_example(self) -> Self:
        if {example.matches for example in self.examples} != {True, False}:
            raise ValueError("give at least one example that matches and one that does not")
        return self

    def conditions(self) -> tuple[Condition, ...]:
        """Return every condition of the rule."""
        return self.when.all + self.when.any + self.when.none
