"""What outside systems can tell us: alerts, conditions, metrics, logs, changes, health."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.evidence import (
    Change,
    LogLevel,
    LogLine,
    Signal,
    SignalSeries,
    TimeWindow,
)
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.topology import Topology
from it_incident_response.domain.trace import Span


class Health(Value):
    """The answer of a working outside system."""

    version: str | None = None
    detail: str = ""


@runtime_checkable
class HealthCheck(Protocol):
    """Something whose URL and credentials can be proven cheaply."""

    async def check(self) -> Health:
        """Make the cheapest call that proves address and credentials; raises `ConnectorError`."""
        ...


@runtime_checkable
class AlertSource(Protocol):
    """Something that knows what is firing."""

    async def firing_alerts(self) -> Sequence[Alert]:
        """Return every alert that fires now, silenced ones left out; raises `ConnectorError`."""
        ...


class ConditionReading(Value):
    """Whether an alert's own expression holds at one moment."""

    holds: bool | None
    """None if the expression is unknown or its data are missing."""
    query: str | None = None
    detail: str = ""


@runtime_checkable
class ConditionSource(Protocol):
    """Something that can evaluate an alert's own expression again."""

    async def condition(self, alert: Alert) -> ConditionReading:
        """Evaluate the alert's expression now, for its own labels only."""
        ...


class MetricRequest(Value):
    """Which signals of which entities to read, over which window."""

    signals: tuple[Signal, ...]
    entities: tuple[Entity, ...]
    window: TimeWindow
    step_s: float = 15.0


@runtime_checkable
class MetricSource(Protocol):
    """Something that stores metrics."""

    async def series(self, request: MetricRequest) -> Sequence[SignalSeries]:
        """Return the series that exist; a signal without data gives no series.

        At most 11,000 points a series. Raises `ConnectorError`.
        """
        ...


class SeriesBatch(Value):
    """Series, and in words what is missing among them and why, naming the query."""

    series: tuple[SignalSeries, ...] = ()
    gaps: tuple[str, ...] = ()


@runtime_checkable
class MetricReader(Protocol):
    """A metric source that also says which of its queries failed or were answered in part."""

    async def read_metrics(self, request: MetricRequest) -> SeriesBatch:
        """Return what `MetricSource.series` returns, with the gaps; raises `ConnectorError`."""
        ...


@runtime_checkable
class PanelSource(Protocol):
    """Something that knows the dashboards which people made of their services."""

    async def panels(self, services: Sequence[str], window: TimeWindow) -> SeriesBatch:
        """Return the series of the services' dashboards; raises `ConnectorError`.

        A panel whose meaning is not known has signal `other` and its title.
        """
        ...


class LogQuery(Value):
    """Which log lines to read."""

    window: TimeWindow
    services: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    trace_id: str | None = None
    contains: str | None = None
    """A phrase that the message must contain; plain text, never query language."""
    minimum_level: LogLevel = LogLevel.DEBUG
    limit: int = 5000
    """Most lines to return; of more the newest ones."""


class LogBatch(Value):
    """Log lines, oldest first, with the exact query that gave them."""

    lines: tuple[LogLine, ...]
    query: str
    link: str | None = None
    is_truncated: bool = False
    """There were more lines than the limit."""
    gaps: tuple[str, ...] = ()
    """What is missing and why, in words: shards that failed, a query that ran out of time."""


class LogCount(Value):
    """Lines of one service and level in one bucket of time."""

    at: UtcTime
    """Start of the bucket."""
    level: LogLevel
    service: str | None = None
    count: int


class LogCounts(Value):
    """Numbers of log lines, counted where they are stored, with the query that gave them."""

    counts: tuple[LogCount, ...]
    bucket_s: float
    query: str
    link: str | None = None
    gaps: tuple[str, ...] = ()


@runtime_checkable
class LogCounter(Protocol):
    """A log store that can count without sending the lines."""

    async def counts(self, query: LogQuery, *, bucket_s: float) -> LogCounts:
        """Count the matching lines (the query's `limit` has no effect); raises `ConnectorError`.

        Buckets without lines are left out.
        """
        ...


@runtime_checkable
class LogSource(Protocol):
    """Something that stores logs."""

    async def lines(self, query: LogQuery) -> LogBatch:
        """Return the matching lines; raises `ConnectorError`."""
        ...


class ChangeBatch(Value):
    """Changes, oldest first, and in words what is missing among them and why."""

    changes: tuple[Change, ...] = ()
    gaps: tuple[str, ...] = ()


@runtime_checkable
class ChangeReader(Protocol):
    """A change source that also says what it could not read."""

    async def read_changes(self, window: TimeWindow) -> ChangeBatch:
        """Return what `ChangeSource.changes` returns, with the gaps; raises `ConnectorError`."""
        ...


@runtime_checkable
class ChangeSource(Protocol):
    """Something that knows what was deployed or reconfigured."""

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return the changes made within the window, oldest first."""
        ...


class TraceQuery(Value):
    """Which traces to read."""

    window: TimeWindow
    services: tuple[str, ...] = ()
    trace_id: str | None = None
    limit: int = 200
    """Most traces, the failed and the slow ones first where the system can choose."""


class TraceBatch(Value):
    """Spans of whole traces, with the query that gave them."""

    spans: tuple[Span, ...]
    query: str
    link: str | None = None
    is_truncated: bool = False
    gaps: tuple[str, ...] = ()


@runtime_checkable
class TraceSource(Protocol):
    """Something that stores distributed traces."""

    async def traces(self, query: TraceQuery) -> TraceBatch:
        """Return spans of the matching traces; raises `ConnectorError`."""
        ...


@runtime_checkable
class TopologySource(Protocol):
    """Something that knows who calls whom, or what runs where."""

    async def topology(self) -> Topology:
        """Return the part of the graph that it knows; raises `ConnectorError`."""
        ...


@runtime_checkable
class Annotator(Protocol):
    """A place where the course of an incident is marked on people's dashboards."""

    async def annotate(
        self, text: str, *, start: UtcTime, end: UtcTime | None = None, tags: Sequence[str] = ()
    ) -> str:
        """Mark a moment or a span and return the annotation's id; raises `ConnectorError`."""
        ...


class Matcher(Value):
    """One label condition of a silence, as Alertmanager defines it."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


class Silence(Value):
    """A silence at the alerting system."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: UtcTime
    ends_at: UtcTime
    created_by: str
    comment: str
    state: str


@runtime_checkable
class Silencer(Protocol):
    """Something that can mute alerts for a while."""

    async def silence(
        self, matchers: Sequence[Matcher], *, until: UtcTime, author: str, comment: str
    ) -> str:
        """Create a silence that starts now and return its id."""
        ...

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence; raises `ConnectorRejected` if there is none of that id."""
        ...

    async def silences(self) -> Sequence[Silence]:
        """Return the silences that are active or pending."""
        ...
