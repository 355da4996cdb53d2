"""Sources that say what a test wants, and remember what they were asked."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import LogLevel, LogLine, Signal, SignalSeries
from it_incident_response.domain.incident import Footprint, Incident
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import NotFound
from it_incident_response.ports.sources import LogBatch, LogQuery, MetricRequest

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WEB = Entity(EntityKind.HOST, "web-1")


class FixedClock:
    def now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


class Metrics:
    """Gives each wanted signal the level it is told, before and since the incident."""

    def __init__(
        self, levels: dict[Signal, tuple[float, float]], since=NOW - timedelta(minutes=15)
    ):
        self.levels = levels
        self.since = since
        self.requests: list[MetricRequest] = []

    async def series(self, request: MetricRequest) -> Sequence[SignalSeries]:
        self.requests.append(request)
        found = []
        for entity in request.entities:
            for signal in request.signals:
                if signal in self.levels:
                    found.append(self._series(signal, entity, request))
        return found

    def _series(self, signal, entity, request) -> SignalSeries:
        before, since = self.levels[signal]
        times, values = [], []
        moment, number = request.window.start, 0
        while moment < request.window.end:
            level = since if moment >= self.since else before
            times.append(moment.timestamp())
            values.append(level * (1 + 0.001 * (number % 3)))
            moment, number = moment + timedelta(seconds=15), number + 1
        return SignalSeries(
            signal=signal,
            entity=entity,
            source="test",
            query=f"query of {signal}",
            times=tuple(times),
            values=tuple(values),
        )


class Logs:
    """Gives the lines that lie in the window asked for."""

    def __init__(self, *lines: LogLine) -> None:
        self.all = lines
        self.queries: list[LogQuery] = []

    async def lines(self, query: LogQuery) -> LogBatch:
        self.queries.append(query)
        inside = [x for x in self.all if query.window.start <= x.at < query.window.end]
        return LogBatch(
            lines=tuple(inside[: query.limit]),
            query="the query",
            is_truncated=len(inside) > query.limit,
        )


def line(minutes_ago: float, message: str, level=LogLevel.ERROR, **more) -> LogLine:
    return LogLine(at=NOW - timedelta(minutes=minutes_ago), message=message, level=level, **more)


class Incidents:
    """One incident, INC-000001."""

    def __init__(self, **changes) -> None:
        self.one = Incident(
            id="x",
            key="INC-000001",
            title="t",
            severity=Severity.HIGH,
            opened_at=NOW - timedelta(minutes=20),
            updated_at=NOW,
            **changes,
        )

    async def incident(self, id_or_key: str) -> Incident:
        if id_or_key not in (self.one.id, self.one.key):
            raise NotFound(f"there is no incident {id_or_key!r}")
        return self.one


def footprint() -> Footprint:
    return Footprint(
        entities=frozenset({WEB, Entity(EntityKind.SERVICE, "checkout")}),
        core=frozenset({WEB}),
        first_alert_at=NOW - timedelta(minutes=20),
    )
