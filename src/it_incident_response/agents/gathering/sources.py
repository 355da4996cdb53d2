"""Which sources can be asked, and how long they may take."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from it_incident_response.actions import RunDiagnosticCommand
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value
from it_incident_response.ports import (
    ChangeSource,
    LogSource,
    MetricSource,
    PanelSource,
    TraceSource,
)

Look = Callable[[RunDiagnosticCommand, IncidentId], Awaitable[Execution]]


class GatherSettings(Value):
    """How far back to look and how long to wait; all in seconds."""

    window_s: float = 900.0
    baseline_s: float = 3600.0
    source_budget_s: float = 10.0
    """For each question to a source; what has come by then counts."""


@dataclass(frozen=True)
class Sources:
    """What can be asked, each by its name; none of a kind is a gap too."""

    metrics: Mapping[str, MetricSource] = field(default_factory=dict)
    panels: Mapping[str, PanelSource] = field(default_factory=dict)
    logs: Mapping[str, LogSource] = field(default_factory=dict)
    traces: Mapping[str, TraceSource] = field(default_factory=dict)
    changes: Mapping[str, ChangeSource] = field(default_factory=dict)
    look: Look | None = None
    inventory: Inventory = field(default_factory=Inventory)
