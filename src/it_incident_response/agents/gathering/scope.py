"""What an incident is about, and which times matter to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from it_incident_response.agents.gathering.sources import GatherSettings
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value
from it_incident_response.domain.topology import Topology

_NOT_MEASURED = (EntityKind.NAMESPACE, EntityKind.JOB, EntityKind.DEVICE)


class Scope(Value):
    """What an incident is about and which times matter."""

    entities: tuple[Entity, ...]
    neighbours: tuple[Entity, ...]
    alerts: tuple[Alert, ...]
    began: datetime
    start: datetime
    baseline: datetime
    now: datetime

    @property
    def window(self) -> TimeWindow:
        """The incident's time, from before its first alert until now."""
        return TimeWindow(start=self.start, end=self.now)

    @property
    def before(self) -> TimeWindow:
        """The time before it: what normal looks like."""
        return TimeWindow(start=self.baseline, end=self.start)

    @property
    def whole(self) -> TimeWindow:
        """Both."""
        return TimeWindow(start=self.baseline, end=self.now)

    def measurable(self) -> tuple[Entity, ...]:
        """Return the entities that metrics are kept of, the affected ones first."""
        return tuple(e for e in (*self.entities, *self.neighbours) if e.kind not in _NOT_MEASURED)

    def names(self, *kinds: EntityKind) -> tuple[str, ...]:
        """Return the names of the affected and neighbouring entities of these kinds."""
        return tuple(e.name for e in (*self.entities, *self.neighbours) if e.kind in kinds)


def scope_of(
    incident: Incident,
    alerts: Sequence[Alert],
    settings: GatherSettings,
    now: datetime,
    inventory: Inventory,
    topology: Topology,
) -> Scope:
    """Return what to look at: the alerts' and the incident's things, and those one call away."""
    # Not after now, whatever the clock says that stamped them: a window has its start first.
    starts = [alert.starts_at for alert in alerts if alert.is_firing] or [incident.opened_at]
    began = min(*starts, now)
    start = began - timedelta(seconds=settings.window_s)
    named = [e for name in incident.affected_systems for e in inventory.named(name)]
    own = [entity for alert in alerts for entity in alert.entities]
    entities = tuple(dict.fromkeys([*named, *own]))
    near = [n for entity in entities for n in sorted(topology.neighbours(entity))]
    return Scope(
        entities=entities,
        neighbours=tuple(n for n in dict.fromkeys(near) if n not in entities),
        alerts=tuple(alerts),
        began=began,
        start=start,
        baseline=start - timedelta(seconds=settings.baseline_s),
        now=now,
    )
