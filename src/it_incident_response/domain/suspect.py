"""Suspects: what the evidence points at, before any rule names a cause."""

from enum import StrEnum

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.model import UtcTime, Value


class SuspectKind(StrEnum):
    """What is suspected."""

    SERVICE = "service"
    METRIC = "metric"
    CHANGE = "change"


class Suspect(Value):
    """One suspected service, metric or change, with the reasons for its place in the ranking."""

    kind: SuspectKind
    name: str
    """Of the service, of the metric (`signal of entity`), or the change's id."""
    entity: Entity | None = None
    score: float
    """0 to 1, comparable within its kind only; not a probability."""
    onset: UtcTime | None = None
    reasons: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    """Evidence ids."""
