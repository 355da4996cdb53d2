"""Rules that look for trouble in logs, and what a broken one says."""

from collections.abc import Mapping
from enum import StrEnum

from it_incident_response.domain.evidence import LogLevel
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.severity import Severity
from it_incident_response.ports.sources import LogQuery

EXAMPLES_SHOWN = 3
EXAMPLE_LENGTH_MAX = 400
LABEL_LENGTH_MAX = 256


class LogRuleKind(StrEnum):
    """What a rule looks for."""

    PATTERN = "pattern"
    """At least so many matching lines within the window."""
    SPIKE = "spike"
    """Many more matching lines than in the same hour of the previous days."""
    ABSENCE = "absence"
    """Not one matching line within the window."""
    TEMPLATE = "template"
    """A mined template that was never seen, or that comes far more often than before."""


class Grouping(StrEnum):
    """For what one alert each is raised."""

    SERVICE = "service"
    HOST = "host"
    RULE = "rule"
    """All matching lines together."""


class LogRule(Value):
    """One rule over log lines; `name` becomes the name of its alerts."""

    name: str
    kind: LogRuleKind
    severity: Severity = Severity.HIGH
    level: LogLevel = LogLevel.ERROR
    """Lines below it are not looked at."""
    contains: str | None = None
    """A phrase that the line must contain; plain text."""
    services: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    """Log systems to ask, by name; none: all."""
    window_s: float = 300.0
    at_least: int = 1
    """Fewer lines than this are never worth an alert, however unusual."""
    per: Grouping = Grouping.SERVICE
    days: int = 7
    """Of a spike: previous days that are compared with."""
    factor: float = 3.0
    """Of a spike or surge: at least so many times the expected number."""
    significance: float = 1e-4
    """Of a spike or surge: largest chance of such a count if nothing had changed."""
    baseline_s: float = 3600.0
    """Of a template: how far back is remembered, and how long a new one counts as new."""
    labels: Mapping[str, str] = {}
    """Further labels of its alerts, such as `team`."""
    summary: str | None = None
    """What people are told, instead of a generated sentence."""


class Breach(Value):
    """That a rule's condition holds for one group of lines."""

    labels: Mapping[str, str]
    """The whole identity of the alert; nothing in it changes while the trouble lasts."""
    since: UtcTime
    count: float
    expected: float | None = None
    p_value: float | None = None
    text: str
    template: str | None = None
    examples: tuple[str, ...] = ()
    query: str | None = None
    link: str | None = None


def alert_labels(rule: LogRule, **own: str | None) -> dict[str, str]:
    """Return the labels of an alert of this rule: its identity, so the same again after a restart.

    What the rule says itself is overruled by what was seen (`own`); None is left out.
    """
    fixed = {"alertname": rule.name, "severity": rule.severity.value, "detector": "logs"}
    seen = {name: value[:LABEL_LENGTH_MAX] for name, value in own.items() if value}
    return {**rule.labels, **fixed, **seen}


def concerns_line(query: LogQuery, message: str) -> bool:
    """Return whether a message holds the query's phrase, letter case aside.

    Log systems differ in how they search for a phrase (words, parts of words): what is counted
    from lines is held to the same everywhere.
    """
    return query.contains is None or query.contains.casefold() in message.casefold()
