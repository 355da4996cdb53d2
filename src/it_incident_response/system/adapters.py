"""Chooses an adapter for each port, simulated or real, as the settings say; nothing else does."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from it_incident_response.config import Settings
from it_incident_response.config.connections import HttpSystem
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import ConfigError
from it_incident_response.integrations import CONNECTORS
from it_incident_response.integrations.otlp_files import OtlpFolder
from it_incident_response.ports import (
    AlertSource,
    Annotator,
    ChangeSource,
    Clock,
    ConditionSource,
    Executor,
    LogSource,
    MetricSource,
    PanelSource,
    Silencer,
    SystemClock,
    TopologySource,
    TraceSource,
)
from it_incident_response.ports.registry import Surroundings
from it_incident_response.simulation import (
    SHOP,
    PacedClock,
    SimulatedExecutor,
    SimulatedSources,
    SimulatedWorld,
)
from it_incident_response.system.surroundings import outside_changes, topologies

log = logging.getLogger(__name__)

Close = Callable[[], Awaitable[None]]


@dataclass
class Adapters:
    """One adapter for each port; None: the settings leave that port empty."""

    clock: Clock
    inventory: Inventory
    alerts: AlertSource | None = None
    conditions: ConditionSource | None = None
    metrics: MetricSource | None = None
    logs: Mapping[str, LogSource] = field(default_factory=dict)
    panels: Mapping[str, PanelSource] = field(default_factory=dict)
    traces: Mapping[str, TraceSource] = field(default_factory=dict)
    changes: Mapping[str, ChangeSource] = field(default_factory=dict)
    topologies: Mapping[str, TopologySource] = field(default_factory=dict)
    silencer: Silencer | None = None
    annotator: Annotator | None = None
    executors: Mapping[str, Executor] = field(default_factory=dict)
    world: SimulatedWorld | None = None
    closers: list[Close] = field(default_factory=list)

    @property
    def pace(self) -> float:
        """How many seconds pass on our clock in a real one: more than 1 in a simulated world."""
        clock = self.world.clock if self.world else None
        return clock.speed if isinstance(clock, PacedClock) else 1.0

    async def aclose(self) -> None:
        """Close every connection."""
        for close in reversed(self.closers):
            await close()


def make_world(settings: Settings, clock: Clock | None = None) -> SimulatedWorld | None:
    """Return the world that the simulated ports need, or None if none of them reads it.

    `clock` is the world's own; without one it keeps real time, at the configured speed where no
    real system is mixed in.
    """
    chosen = settings.ports.model_dump(exclude={"execution"})
    if "simulated" not in chosen.values():
        return None
    speed = settings.simulation.speed if settings.ports.is_all_simulated else 1.0
    return SimulatedWorld(settings.simulation.seed, clock or PacedClock(SystemClock().now(), speed))


def choose_adapters(settings: Settings, world: SimulatedWorld | None) -> Adapters:
    """Return the adapters that the settings choose; connects to nothing yet.

    `world` is the simulated world to use where a port is simulated; without one (a command that
    only reads the record) such a port is empty. Raises `ConfigError` if a chosen system has no
    address.
    """
    clock: Clock = world.clock if world else SystemClock()
    chosen = Adapters(clock=clock, inventory=_inventory(settings, world), world=world)
    surroundings = Surroundings(clock=clock, inventory=chosen.inventory)
    built = _Built(settings, surroundings, chosen.closers)
    ports = settings.ports
    simulated = SimulatedSources(world) if world else None
    prometheus = built.prometheus if settings.prometheus.url else None
    alertmanager = built.alertmanager if settings.alertmanager.url else None
    chosen.alerts = _pick("alerts", ports.alerts, simulated, prometheus, alertmanager)
    chosen.conditions = simulated if ports.alerts == "simulated" else _called(prometheus)
    chosen.metrics = _pick("metrics", ports.metrics, simulated, prometheus, alertmanager)
    chosen.logs = _logs(settings, simulated, built)
    chosen.traces = _traces(settings, built)
    if ports.changes == "simulated" and simulated:
        chosen.changes = {"simulation": simulated}
    elif ports.changes == "real":
        chosen.changes = outside_changes(settings, clock)
    chosen.topologies = {**topologies(settings, clock), **_called_by(chosen.traces)}
    _dashboards(settings, built, chosen)
    chosen.silencer = _pick("silences", ports.silences, simulated, prometheus, alertmanager)
    chosen.executors = _executors(settings, chosen)
    return chosen


class _Built:
    """Builds each real adapter once."""

    def __init__(
        self, settings: Settings, surroundings: Surroundings, closers: list[Close]
    ) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._closers = closers
        self._made: dict[str, Any] = {}

    def prometheus(self) -> Any:
        return self.of("prometheus", self._settings.prometheus)

    def alertmanager(self) -> Any:
        return self.of("alertmanager", self._settings.alertmanager)

    def log_system(self, name: str) -> LogSource:
        """Return the client of a log system; raises `ConfigError`, naming a missing extra."""
        logging_systems = self._settings.infrastructure.logging
        sections: dict[str, HttpSystem] = {
            "elasticsearch": logging_systems.elasticsearch,
            "splunk": logging_systems.splunk,
        }
        source: LogSource = self.of(name, sections[name])
        return source

    def of(self, name: str, section: HttpSystem) -> Any:
        """Return the adapter of a section; raises `ConfigError`, naming a missing extra."""
        if name not in self._made:
            connector = next(c for c in CONNECTORS if c.name == name)
            given = connector.read_settings(section.connector_fields())
            adapter = self._made[name] = connector.build(given, self._surroundings)
            self._closers.append(adapter.aclose)
        return self._made[name]


def _pick(
    port: str,
    choice: str,
    simulated: Any,
    prometheus: Callable[[], Any] | None,
    alertmanager: Callable[[], Any] | None,
) -> Any:
    if choice == "none":
        return None
    if choice == "simulated":
        return simulated
    real = {"prometheus": prometheus, "alertmanager": alertmanager}[choice]
    if real is None:
        raise ConfigError(
            f"ports.{port} is {choice}, which has no address",
            hint=f"set infrastructure.monitoring.{choice}.url",
        )
    return real()


def _logs(
    settings: Settings, simulated: SimulatedSources | None, built: _Built
) -> Mapping[str, LogSource]:
    if settings.ports.logs == "simulated":
        return {"simulation": simulated} if simulated else {}
    return {name: built.log_system(name) for name in settings.log_systems}


def _traces(settings: Settings, built: _Built) -> Mapping[str, TraceSource]:
    if settings.ports.traces != "real":
        return {}
    tracing = settings.infrastructure.tracing
    sections: dict[str, HttpSystem] = {"jaeger": tracing.jaeger, "tempo": tracing.tempo}
    found = {name: built.of(name, section) for name, section in sections.items() if section.url}
    return found | ({"otlp": OtlpFolder(tracing.otlp.path)} if tracing.otlp.path else {})


def _called_by(traces: Mapping[str, TraceSource]) -> Mapping[str, TopologySource]:
    return {name: source for name, source in traces.items() if isinstance(source, TopologySource)}


def _dashboards(settings: Settings, built: _Built, chosen: Adapters) -> None:
    """Use Grafana beside real metrics, where there is an address and a token for it."""
    section = settings.infrastructure.visualization.grafana
    if settings.ports.metrics != "prometheus" or not section.url or not section.api_key:
        return
    grafana = built.of("grafana", section)
    chosen.panels = {"grafana": grafana}
    chosen.annotator = grafana if section.annotations else None


def _called(build: Callable[[], Any] | None) -> Any:
    return build() if build else None


def _inventory(settings: Settings, world: SimulatedWorld | None) -> Inventory:
    if settings.inventory.hosts or settings.ports.alerts != "simulated":
        return settings.inventory
    # A command beside a running world (`iir approvals`) has to know what is in it.
    return world.inventory if world is not None else SHOP.inventory()


def _executors(settings: Settings, chosen: Adapters) -> Mapping[str, Executor]:
    """Return the executors by name.

    Simulated execution against real alerts has no world to act in: the SSH executor then only
    previews, since the gate lets nothing through (`execute_real_commands` is false).
    """
    world = chosen.world
    if settings.ports.execution == "simulated" and settings.ports.alerts == "simulated":
        names = ("ssh", "deployment") if world else ()
        return {name: SimulatedExecutor(world, name) for name in names if world}
    if not settings.ssh.username and not chosen.inventory.hosts:
        return {}
    from it_incident_response.executors.ssh import SshExecutor
    from it_incident_response.executors.ssh_settings import SshSettings

    given = SshSettings.model_validate(settings.ssh.executor_fields())
    executor = SshExecutor(chosen.inventory, given)
    chosen.closers.append(executor.close)
    return {executor.name: executor}
