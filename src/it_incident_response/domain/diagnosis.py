"""Diagnosis: ranked hypotheses about the cause, each with the evidence for and against it."""

from enum import StrEnum

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.suspect import Suspect


class Verdict(StrEnum):
    """How far the diagnosis may be relied on."""

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    INCONCLUSIVE = "inconclusive"


class CauseKind(StrEnum):
    """The kind of thing that is to blame."""

    CODE_CHANGE = "code_change"
    CONFIG_CHANGE = "config_change"
    DEPENDENCY = "dependency"
    RESOURCE = "resource"
    TRAFFIC = "traffic"
    EXTERNAL = "external"
    PROCESS = "process"
    CERTIFICATE = "certificate"
    NETWORK = "network"
    UNKNOWN = "unknown"


class Suggestion(Value):
    """A remedy that a hypothesis recommends; `action` is None if only a human can do it."""

    text: str
    action: str | None = None
    """Kind of a typed action; the planner finds its targets in the inventory."""


class Hypothesis(Value):
    """One possible cause."""

    cause_id: str
    """Stable name of the cause, such as `service-down`: a rule's id."""
    cause: str
    kind: CauseKind
    entity: Entity | None = None
    confidence: float
    """Posterior probability, 0 to 1."""
    supporting: tuple[str, ...] = ()
    """Evidence ids."""
    contradicting: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Conditions that could not be judged because their source was silent."""
    suggestions: tuple[Suggestion, ...] = ()
    runbook: str | None = None
    source: str = "rules"
    """Which voice proposed it: rules, ranking, classifier, model."""


class Diagnosis(Value):
    """What we think at one moment; a later one replaces it, none is ever changed."""

    id: str
    incident_id: IncidentId
    made_at: UtcTime
    verdict: Verdict
    hypotheses: tuple[Hypothesis, ...] = ()
    summary: str
    missing: tuple[str, ...] = ()
    """What to look at when the verdict is inconclusive, and sources that were silent."""
    evidence_ids: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    """Services, metrics and changes that the evidence points at, the likeliest of a kind first."""

    @property
    def top(self) -> Hypothesis | None:
        """The best hypothesis, or None when there is none."""
        return self.hypotheses[0] if self.hypotheses else None
