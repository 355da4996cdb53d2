"""What a tool is asked to look at: which things, over which time, against which time before."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import TimeWindow
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.labels import host_of
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.errors import InputRejected
from it_incident_response.ports.clock import Clock
from it_incident_response.ports.store import IncidentStore
from it_incident_response.tools.base import ToolInput

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
THINGS_MAX = 50
_LEAD = timedelta(minutes=5)
"""How long before an incident's first alert its window begins: alerts fire some time after."""


class ScopeInput(ToolInput):
    """Which things to look at, and when; an incident gives both."""

    incident_id: Name | None = Field(default=None, description="id or key, such as INC-000123")
    servers: list[Name] = Field(
        default=[], max_length=THINGS_MAX, description="host names or Prometheus instances"
    )
    services: list[Name] = Field(default=[], max_length=THINGS_MAX)
    start: UtcTime | None = Field(default=None, description="start of the window to judge")
    end: UtcTime | None = Field(default=None, description="its end; now if it is left out")
    window_s: float = Field(default=900.0, ge=60, le=86_400, description="length without a start")
    baseline_s: float = Field(
        default=3600.0, ge=60, le=604_800, description="what is usual is read from this time before"
    )

    @model_validator(mode="after")
    def _start_is_before_end(self) -> Self:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("start must be before end")
        return self


class Scope(Value):
    """Entities with the window to judge and the baseline before it."""

    entities: tuple[Entity, ...]
    window: TimeWindow
    baseline: TimeWindow

    def names(self, *kinds: EntityKind) -> tuple[str, ...]:
        """Return the names of the entities of these kinds, each once."""
        return tuple(dict.fromkeys(e.name for e in self.entities if e.kind in kinds))


async def scope_of(asked: ScopeInput, clock: Clock, incidents: IncidentStore | None) -> Scope:
    """Return what the input means; raises `InputRejected` if it names nothing, `NotFound`."""
    named = [*_servers(asked), *(Entity(EntityKind.SERVICE, name) for name in asked.services)]
    incident = None
    if asked.incident_id is not None:
        incident = await _incident(asked.incident_id, incidents)
        named = named or _entities(incident)
    if not named:
        raise InputRejected(
            "nothing to look at: no server or service is named",
            hint="give servers, services or incident_id",
        )
    window = _window(asked, clock, incident)
    start = window.start - timedelta(seconds=asked.baseline_s)
    return Scope(
        entities=tuple(dict.fromkeys(named)),
        window=window,
        baseline=TimeWindow(start=start, end=window.start),
    )


async def _incident(incident_id: str, incidents: IncidentStore | None) -> Incident:
    if incidents is None:
        raise InputRejected(
            "incident_id cannot be used: this tool has no access to incidents",
            hint="give servers or services instead",
        )
    return await incidents.incident(incident_id)


def _servers(asked: ScopeInput) -> list[Entity]:
    """A server may be written as host, `host:port` or URL: it stands for host and instance."""
    found = []
    for name in asked.servers:
        host = host_of(name)
        if host is not None:
            found.append(Entity(EntityKind.HOST, host))
        if host != name:
            found.append(Entity(EntityKind.INSTANCE, name))
    return found


def _entities(incident: Incident) -> list[Entity]:
    footprint = incident.footprint
    named = sorted(footprint.core) + sorted(footprint.entities - footprint.core)
    if not named:  # opened by hand: what kind of thing the names mean is not known
        kinds = (EntityKind.SERVICE, EntityKind.HOST)
        named = [Entity(kind, name) for name in incident.affected_systems for kind in kinds]
    return named[:THINGS_MAX]


def _window(asked: ScopeInput, clock: Clock, incident: Incident | None) -> TimeWindow:
    end = asked.end or (incident.resolved_at if incident else None) or clock.now()
    start = asked.start
    if start is None and incident is not None:
        start = (incident.footprint.first_alert_at or incident.opened_at) - _LEAD
    if start is None or start >= end:
        start = end - timedelta(seconds=asked.window_s)
    return TimeWindow(start=start, end=end)
