"""Alert: what monitoring says is wrong, whoever said it."""

from collections.abc import Mapping
from enum import StrEnum

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.severity import Severity


class AlertStatus(StrEnum):
    """Whether the alert's condition holds."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Value):
    """One alert as last reported; its `fingerprint` is its identity.

    `fingerprint` is Prometheus' own hash of the label set (FNV-1a, 64 bit, 16 hex digits), so the
    same alert has the same one whether it was pushed by Alertmanager or read from Prometheus.
    """

    fingerprint: str
    name: str
    status: AlertStatus
    severity: Severity
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = {}
    starts_at: UtcTime
    ends_at: UtcTime | None = None
    received_at: UtcTime
    generator_url: str | None = None
    source: str
    entities: tuple[Entity, ...] = ()
    component: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def is_firing(self) -> bool:
        """True while the condition holds."""
        return self.status is AlertStatus.FIRING

    def names(self, *kinds: str) -> tuple[str, ...]:
        """Return the names of the affected entities of these kinds, in label order."""
        return tuple(entity.name for entity in self.entities if entity.kind in kinds)
