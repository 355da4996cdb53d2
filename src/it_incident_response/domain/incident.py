"""Incident: what people handle; several alerts of one cause, from opening to closing."""

from collections.abc import Mapping
from enum import StrEnum

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import IllegalTransition


class IncidentStatus(StrEnum):
    """Where an incident stands."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    RESOLVING = "resolving"
    RESOLVED = "resolved"
    CLOSED = "closed"

    @property
    def is_open(self) -> bool:
        """True until the incident is resolved or closed."""
        return self not in (IncidentStatus.RESOLVED, IncidentStatus.CLOSED)


_S = IncidentStatus
LEGAL_TRANSITIONS: Mapping[IncidentStatus, frozenset[IncidentStatus]] = {
    _S.INVESTIGATING: frozenset({_S.IDENTIFIED, _S.RESOLVED, _S.CLOSED}),
    _S.IDENTIFIED: frozenset({_S.INVESTIGATING, _S.RESOLVING, _S.RESOLVED, _S.CLOSED}),
    _S.RESOLVING: frozenset({_S.INVESTIGATING, _S.IDENTIFIED, _S.RESOLVED}),
    _S.RESOLVED: frozenset({_S.INVESTIGATING, _S.CLOSED}),
    _S.CLOSED: frozenset({_S.INVESTIGATING}),
}
"""From each status to those it may change to; back to investigating is a reopening."""

_REASONS = {
    (_S.INVESTIGATING, _S.RESOLVING): "nothing can be repaired before a cause is identified",
    (_S.RESOLVING, _S.CLOSED): "a repair is under way: resolve it or take it back first",
    (_S.RESOLVED, _S.RESOLVING): "it is resolved: reopen it (investigating) first",
    (_S.RESOLVED, _S.IDENTIFIED): "it is resolved: reopen it (investigating) first",
}


def require_transition(current: IncidentStatus, wanted: IncidentStatus) -> None:
    """Raise `IllegalTransition`, with the reason, unless `current` may become `wanted`."""
    legal = LEGAL_TRANSITIONS[current]
    if wanted in legal:
        return
    if current is wanted:
        reason = f"it is {current} already"
    elif current is _S.CLOSED:
        reason = "a closed incident can only be reopened (investigating)"
    else:
        reason = _REASONS.get((current, wanted), "that step is not allowed")
    allowed = ", ".join(sorted(legal))
    raise IllegalTransition(
        f"cannot change an incident from {current} to {wanted}: {reason}",
        hint=f"from {current} it may become: {allowed}",
    )


class Footprint(Value):
    """What an incident's alerts have in common: the input of correlation, kept up to date."""

    entities: frozenset[Entity] = frozenset()
    core: frozenset[Entity] = frozenset()
    """The entities it is about: only these, not all it touched, draw further alerts strongly."""
    labels: Mapping[str, frozenset[str]] = {}
    alert_names: frozenset[str] = frozenset()
    first_alert_at: UtcTime | None = None
    last_alert_at: UtcTime | None = None


class AlertLink(Value):
    """An alert's membership of an incident, with the reason it joined."""

    incident_id: IncidentId
    fingerprint: str
    joined_at: UtcTime
    reason: str
    score: float = 1.0
    """How strongly it belongs, 0 to 1; 1 for the alert that opened the incident."""


class Incident(Value):
    """One incident; immutable, `version` grows by one with every stored change."""

    id: IncidentId
    key: str
    title: str
    description: str = ""
    severity: Severity
    status: IncidentStatus = IncidentStatus.INVESTIGATING
    affected_systems: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    opened_at: UtcTime
    updated_at: UtcTime
    resolved_at: UtcTime | None = None
    closed_at: UtcTime | None = None
    assignee: str | None = None
    written_up_at: UtcTime | None = None
    """When the summary of what happened was recorded; None while it is open."""
    escalation: str | None = None
    """Why a human must take over; None while nothing is asked."""
    halt: str | None = None
    """Why nothing more may be done to any system: a person cancelled it, or took it over.

    Stops an action that runs, and refuses every further one, until it is diagnosed afresh.
    """
    firing_alerts: int = 0
    total_alerts: int = 0
    is_flapping: bool = False
    reopened_count: int = 0
    episode: int = 0
    """Counts new beginnings: reopened, or diagnosed anew at a person's wish. Plans are of one."""
    footprint: Footprint = Footprint()
    version: int = 1

    def moved_to(self, status: IncidentStatus, now: UtcTime) -> "Incident":
        """Return this incident in another status; raises `IllegalTransition` if not allowed."""
        require_transition(self.status, status)
        changes: dict[str, object] = {"status": status, "updated_at": now}
        if status is IncidentStatus.INVESTIGATING:
            changes |= {"episode": self.episode + 1, "halt": None, "written_up_at": None}
        if status is IncidentStatus.RESOLVED:
            changes["resolved_at"] = now
        elif status is IncidentStatus.CLOSED:
            changes["closed_at"] = now
        elif not self.status.is_open:
            changes |= {
                "resolved_at": None,
                "closed_at": None,
                "escalation": None,
                "reopened_count": self.reopened_count + 1,
            }
        return self.model_copy(update=changes)
