"""Evidence: what was seen, by which query, and what it shows."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value


class TimeWindow(Value):
    """A span of time, start included, end excluded."""

    start: UtcTime
    end: UtcTime


class Signal(StrEnum):
    """What a metric means, whatever its name where it is stored; units in `SIGNAL_UNITS`."""

    UP = "up"
    CPU_USE = "cpu_use"
    MEMORY_USE = "memory_use"
    PROCESS_MEMORY = "process_memory"
    DISK_USE = "disk_use"
    INODE_USE = "inode_use"
    DISK_IO_BUSY = "disk_io_busy"
    NETWORK_LATENCY = "network_latency"
    NETWORK_ERRORS = "network_errors"
    REQUEST_RATE = "request_rate"
    ERROR_RATIO = "error_ratio"
    LATENCY_P95 = "latency_p95"
    SATURATION = "saturation"
    CONNECTION_POOL_USE = "connection_pool_use"
    OOM_KILLS = "oom_kills"
    RESTARTS = "restarts"
    CERTIFICATE_LIFETIME = "certificate_lifetime"
    FILE_DESCRIPTOR_USE = "file_descriptor_use"
    QUEUE_LENGTH = "queue_length"
    CLOCK_OFFSET = "clock_offset"
    DISK_LATENCY = "disk_latency"
    REPLICATION_LAG = "replication_lag"
    MISSING_REPLICAS = "missing_replicas"
    GC_TIME = "gc_time"
    CACHE_MISSES = "cache_misses"
    EVICTIONS = "evictions"
    LOCK_CONFLICTS = "lock_conflicts"
    REJECTIONS = "rejections"
    THREADS = "threads"
    OTHER = "other"
    """A metric of unknown meaning, such as a dashboard's panel; its `title` says what it is."""


SIGNAL_UNITS: Mapping[Signal, str] = {
    Signal.UP: "bool",
    Signal.CPU_USE: "ratio",
    Signal.MEMORY_USE: "ratio",
    Signal.PROCESS_MEMORY: "bytes",
    Signal.DISK_USE: "ratio",
    Signal.INODE_USE: "ratio",
    Signal.DISK_IO_BUSY: "ratio",
    Signal.NETWORK_LATENCY: "seconds",
    Signal.NETWORK_ERRORS: "per_second",
    Signal.REQUEST_RATE: "per_second",
    Signal.ERROR_RATIO: "ratio",
    Signal.LATENCY_P95: "seconds",
    Signal.SATURATION: "ratio",
    Signal.CONNECTION_POOL_USE: "ratio",
    Signal.OOM_KILLS: "count",
    Signal.RESTARTS: "count",
    Signal.CERTIFICATE_LIFETIME: "seconds",
    Signal.FILE_DESCRIPTOR_USE: "ratio",
    Signal.QUEUE_LENGTH: "count",
    Signal.CLOCK_OFFSET: "seconds",
    Signal.DISK_LATENCY: "seconds",
    Signal.REPLICATION_LAG: "seconds",
    Signal.MISSING_REPLICAS: "count",
    Signal.GC_TIME: "ratio",
    Signal.CACHE_MISSES: "ratio",
    Signal.EVICTIONS: "per_second",
    Signal.LOCK_CONFLICTS: "per_second",
    Signal.REJECTIONS: "per_second",
    Signal.THREADS: "count",
    Signal.OTHER: "number",
}
"""Unit of each signal: ratio is 0 to 1; seconds; bytes; per_second; count; bool is 0 or 1;
number where the unit is not known."""


class SignalSeries(Value):
    """The samples of one signal of one entity, with the exact query that gave them."""

    signal: Signal
    entity: Entity
    source: str
    query: str
    link: str | None = None
    labels: Mapping[str, str] = {}
    times: tuple[float, ...] = ()
    """Unix seconds, rising."""
    values: tuple[float, ...] = ()
    """As many as `times`; NaN and infinities are left out by the source."""
    title: str | None = None
    """What people call the metric, of a signal `other`: the title of the panel and the unit."""


class LogLevel(StrEnum):
    """Severity of a log line, in rising order."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"


class LogLine(Value):
    """One log event; `message` is text from outside and must never be interpreted."""

    at: UtcTime
    message: str
    level: LogLevel = LogLevel.INFO
    service: str | None = None
    host: str | None = None
    pod: str | None = None
    trace_id: str | None = None
    attributes: Mapping[str, str] = {}


class Shape(StrEnum):
    """How a series changed against its baseline."""

    NORMAL = "normal"
    LEVEL_SHIFT = "level_shift"
    SPIKE = "spike"
    TREND = "trend"
    SATURATION = "saturation"
    FLAT_LINE = "flat_line"
    NO_DATA = "no_data"


class MetricFinding(Value):
    """What one series shows in the incident window, compared with the baseline before it."""

    kind: Literal["metric"] = "metric"
    signal: Signal
    entity: Entity
    shape: Shape
    baseline: float | None
    """Median of the baseline window, in the signal's unit; None without a baseline."""
    current: float | None
    """Median of the last fifth of the incident window, in the signal's unit."""
    peak: float | None
    """The value of the incident window furthest from the baseline."""
    effect: float
    """Robust z: (current - baseline) / (1.4826 * MAD), with a floor on the MAD; signed."""
    slope_per_hour: float = 0.0
    onset: UtcTime | None = None
    samples: tuple[tuple[float, float], ...] = ()
    """At most 120 (unix seconds, value) pairs over baseline and incident, for drawing."""
    baseline_end: UtcTime | None = None
    period_s: float | None = None
    """Length of the rhythm that was found in the baseline and taken off; None without one."""
    title: str | None = None
    """What people call the metric, where the signal is `other`."""


class Novelty(StrEnum):
    """How often a log pattern came, compared with its baseline window."""

    NEW = "new"
    """Not once in a baseline that was long enough to have shown it."""
    SURGE = "surge"
    USUAL = "usual"
    DROP = "drop"
    GONE = "gone"
    UNKNOWN = "unknown"
    """There was no baseline to compare with."""


class LogPattern(Value):
    """Log lines that differ only in variables, counted against the baseline window."""

    kind: Literal["log_pattern"] = "log_pattern"
    template: str
    """The constant text, `<*>` for each variable."""
    level: LogLevel
    service: str | None = None
    host: str | None = None
    count: int
    baseline_count: float
    """Lines expected in a window of the same length, from the baseline."""
    first_at: UtcTime
    last_at: UtcTime
    examples: tuple[str, ...] = ()
    novelty: Novelty = Novelty.UNKNOWN
    p_value: float | None = None
    """Chance of a count so far from the expected one if nothing had changed; None: untested."""
    exception: str | None = None
    """Type of the exception, where the lines are a stack trace: `java.net.SocketException`."""
    frame: str | None = None
    """Deepest frame of the trace in code that is not a library's."""


class LogRate(Value):
    """How many lines of a level one service wrote, counted where they are stored."""

    kind: Literal["log_rate"] = "log_rate"
    level: LogLevel
    service: str | None = None
    count: int
    baseline_count: float
    """Lines expected in a window of the same length, from the baseline."""
    novelty: Novelty = Novelty.UNKNOWN
    p_value: float | None = None
    onset: UtcTime | None = None
    """Start of the first bucket from which the rate stayed unusual."""


class SpanFinding(Value):
    """How the calls of one operation went, seen in traces, against the baseline window."""

    kind: Literal["span"] = "span"
    service: str
    operation: str
    caller: str | None = None
    """Service of the parent span, where it is another one."""
    calls: int
    errors: int
    baseline_calls: int = 0
    baseline_errors: int = 0
    p95_s: float | None = None
    """95th percentile of the span's own time, its children's taken off, in seconds."""
    baseline_p95_s: float | None = None
    is_deepest: bool = False
    """The failing or slow calls end here: none of their child spans fails or is slow."""
    error: str | None = None
    """The most frequent error text, bounded."""
    examples: tuple[str, ...] = ()
    """Trace ids."""


class Change(Value):
    """Something that people or programs changed before or during the incident."""

    kind: Literal["change"] = "change"
    change_id: str
    what: str
    """deploy, config, flag, scale, certificate, infrastructure..."""
    entity: Entity | None = None
    at: UtcTime
    summary: str
    author: str | None = None
    source: str = "changes"
    """Which system told: github, argocd, kubernetes, file..."""
    version: str | None = None
    """Commit sha, image tag or version that was brought in."""
    link: str | None = None
    files: tuple[str, ...] = ()
    diff: str | None = None
    """At most 20,000 characters of the textual difference; text from outside."""
    is_ours: bool = False
    """Made by an action of ours."""


class AlertFact(Value):
    """That an alert fired, as evidence."""

    kind: Literal["alert"] = "alert"
    fingerprint: str
    name: str
    entities: tuple[Entity, ...] = ()
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    starts_at: UtcTime
    is_firing: bool = True


class CommandOutput(Value):
    """What a read-only diagnostic command printed, redacted and bounded."""

    kind: Literal["command_output"] = "command_output"
    entity: Entity
    command: str
    exit_status: int | None
    output: str
    facts: Mapping[str, str] = {}
    """Properties parsed from the output, such as `ActiveState`: `failed`."""


class SourceGap(Value):
    """That a source could not be asked, so its silence proves nothing."""

    kind: Literal["gap"] = "gap"
    source: str
    reason: str


Finding = Annotated[
    MetricFinding
    | LogPattern
    | LogRate
    | SpanFinding
    | Change
    | AlertFact
    | CommandOutput
    | SourceGap,
    Field(discriminator="kind"),
]


class Evidence(Value):
    """One citable observation about an incident."""

    id: str
    incident_id: IncidentId
    source: str
    summary: str
    finding: Finding
    query: str | None = None
    """The exact query or command that anyone can run again."""
    link: str | None = None
    window: TimeWindow | None = None
    observed_at: UtcTime
    is_partial: bool = False
