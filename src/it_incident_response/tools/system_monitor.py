"""SystemMonitorTool: what the metrics of servers and services show, against what is usual."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from it_incident_response.analysis.metric_findings import find
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.evidence import MetricFinding, Shape, Signal, TimeWindow
from it_incident_response.domain.model import Value
from it_incident_response.errors import ConfigError
from it_incident_response.ports.clock import Clock, SystemClock
from it_incident_response.ports.sources import MetricRequest, MetricSource
from it_incident_response.ports.store import IncidentStore
from it_incident_response.tools.base import MCPTool, ToolHints, ToolOutput
from it_incident_response.tools.connection import metric_source
from it_incident_response.tools.scope import ScopeInput, scope_of

_STEP_S = 15.0
_PERCENTAGES = {
    "cpu_usage": Signal.CPU_USE,
    "memory_usage": Signal.MEMORY_USE,
    "disk_usage": Signal.DISK_USE,
    "error_rate": Signal.ERROR_RATIO,
    "connection_pool_usage": Signal.CONNECTION_POOL_USE,
}
"""The user's guide has these in percent under these names; our signals are ratios."""
_MILLISECONDS = {
    "network_latency": Signal.NETWORK_LATENCY,
    "latency_p95": Signal.LATENCY_P95,
}


class MonitorInput(ScopeInput):
    """Which things to look at, and which of their signals."""

    signals: list[Signal] = Field(
        default=list(Signal), min_length=1, description="all, if they are left out"
    )


class Reading(Value):
    """What one series shows."""

    finding: MetricFinding
    query: str
    """The exact query that anyone can run again."""
    link: str | None = None


class MonitorOutput(ToolOutput):
    """What the metrics show."""

    window: TimeWindow
    baseline: TimeWindow
    abnormal: tuple[Reading, ...]
    """What differs from the baseline, the strongest first."""
    normal: tuple[Reading, ...]
    missing: tuple[Signal, ...]
    """Signals that no series was found for."""
    metrics: tuple[dict[str, float | str], ...]
    """One flat record for each thing, for rules written in Python as in the user's guide:

    `system`; `cpu_usage`, `memory_usage`, `disk_usage`, `error_rate`, `connection_pool_usage` in
    percent; `network_latency`, `latency_p95` in ms; `up` 0 or 1; `trend` of memory: `increasing`,
    `decreasing` or `stable`. What is not known is left out.
    """


class SystemMonitorTool(MCPTool[MonitorInput, MonitorOutput]):
    """Reads the signals that matter around a window, and the baseline before it."""

    name: ClassVar[str] = "system-monitor"
    description: ClassVar[str] = (
        "Reads CPU, memory, disk, network, errors, latency and more of servers and services from "
        "the metric store and says what differs from usual, with the queries to run again."
    )
    input_model: ClassVar[type[MonitorInput]] = MonitorInput
    output_model: ClassVar[type[MonitorOutput]] = MonitorOutput
    hints: ClassVar[ToolHints] = ToolHints()

    def __init__(
        self,
        prometheus_url: str | None = None,
        *,
        metrics: MetricSource | None = None,
        incidents: IncidentStore | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read from `metrics`, or from the Prometheus at `prometheus_url`.

        Without either, every call answers that no source is configured: nothing is simulated.
        Raises `ConfigError` for a URL that is none, or if both are given.
        """
        if prometheus_url is not None and metrics is not None:
            raise ConfigError("give either prometheus_url or metrics, not both")
        if prometheus_url is not None:
            metrics = metric_source("prometheus", prometheus_url)
        self._metrics = metrics
        self._incidents = incidents
        self._clock = clock or SystemClock()

    async def run(self, request: MonitorInput) -> MonitorOutput:
        """Return what the series show; raises `ConfigError`, `InputRejected`, `ConnectorError`."""
        if self._metrics is None:
            raise ConfigError(
                "the system monitor has no metric source",
                hint="configure infrastructure.monitoring.prometheus.url, or give prometheus_url",
            )
        scope = await scope_of(request, self._clock, self._incidents)
        whole = TimeWindow(start=scope.baseline.start, end=scope.window.end)
        signals = tuple(dict.fromkeys(request.signals))
        series = await self._metrics.series(
            MetricRequest(signals=signals, entities=scope.entities, window=whole, step_s=_STEP_S)
        )
        readings = [
            Reading(
                finding=find(
                    one,
                    incident_start=scope.window.start,
                    baseline_start=scope.baseline.start,
                    now=scope.window.end,
                ),
                query=one.query,
                link=one.link,
            )
            for one in series
        ]
        seen = {reading.finding.signal for reading in readings}
        return MonitorOutput(
            window=scope.window,
            baseline=scope.baseline,
            abnormal=tuple(sorted(filter(_is_abnormal, readings), key=_weakness)),
            normal=tuple(reading for reading in readings if not _is_abnormal(reading)),
            missing=tuple(signal for signal in signals if signal not in seen),
            metrics=flat_records([reading.finding for reading in readings]),
        )


def flat_records(findings: Sequence[MetricFinding]) -> tuple[dict[str, float | str], ...]:
    """Return one flat record for each thing, see `MonitorOutput.metrics`.

    Of several series of one signal, such as one for each mount, the worst counts.
    """
    records: dict[Entity, dict[str, float | str]] = {}
    for finding in findings:
        if finding.current is None:
            continue
        record = records.setdefault(finding.entity, {"system": finding.entity.name})
        for name, value in _flat(finding, finding.current):
            worse = min if name == "up" else max
            known = record.get(name)
            record[name] = worse(known, value) if isinstance(known, float) else value
        if finding.signal in (Signal.MEMORY_USE, Signal.PROCESS_MEMORY):
            trend = _trend(finding)
            if record.get("trend", "stable") == "stable":
                record["trend"] = trend
    return tuple(records.values())


def _flat(finding: MetricFinding, current: float) -> list[tuple[str, float]]:
    values = [(name, 100 * current) for name, s in _PERCENTAGES.items() if s is finding.signal]
    values += [(name, 1000 * current) for name, s in _MILLISECONDS.items() if s is finding.signal]
    return [*values, ("up", current)] if finding.signal is Signal.UP else values


def _trend(finding: MetricFinding) -> str:
    is_moving = finding.shape in (Shape.TREND, Shape.LEVEL_SHIFT, Shape.SATURATION)
    if not is_moving or finding.effect == 0:
        return "stable"
    return "increasing" if finding.effect > 0 else "decreasing"


def _is_abnormal(reading: Reading) -> bool:
    return reading.finding.shape not in (Shape.NORMAL, Shape.NO_DATA)


def _weakness(reading: Reading) -> float:
    return -abs(reading.finding.effect)
