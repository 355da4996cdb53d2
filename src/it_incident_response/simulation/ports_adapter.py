"""The simulated world as the sources that the core sees: alerts, metrics, logs, changes."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import numpy as np

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Change, SignalSeries, TimeWindow
from it_incident_response.errors import ConnectorRejected
from it_incident_response.ports.sources import (
    ConditionReading,
    Health,
    LogBatch,
    LogQuery,
    Matcher,
    MetricRequest,
    Silence,
)
from it_incident_response.simulation.alert_rules import newest
from it_incident_response.simulation.physics import TICK_S
from it_incident_response.simulation.signals import Group, Subject
from it_incident_response.simulation.world import SimulatedWorld

CONNECTOR = "simulated"
VERSION = "1"
_POINTS_MAX = 11_000


class SimulatedSources:
    """Implements every reading port, and `Silencer`, over one world."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._silences: dict[str, Silence] = {}

    async def check(self) -> Health:
        """Always healthy."""
        return Health(version=VERSION, detail=f"simulated world, seed {self._world.seed}")

    async def firing_alerts(self) -> Sequence[Alert]:
        """Return what fires and is not silenced."""
        return [alert for alert in self._world.firing() if not self._is_silenced(alert)]

    async def condition(self, alert: Alert) -> ConditionReading:
        """Evaluate the alert's own rule for its own labels."""
        self._world.catch_up()
        found = self._world.alerts.find(alert.labels)
        if found is None:
            return ConditionReading(holds=None, detail="no rule of the world makes such an alert")
        rule, group, place = found
        values = newest(group, self._world.history)
        sign = ">" if rule.is_above else "<"
        query = f"{group.subjects[place].query} {sign} {rule.threshold:g}"
        if values is None or np.isnan(values[place]):
            return ConditionReading(holds=None, query=query, detail="no data")
        value = float(values[place])
        return ConditionReading(holds=rule.holds(value), query=query, detail=f"value {value:.4g}")

    async def series(self, request: MetricRequest) -> Sequence[SignalSeries]:
        """Return the series of the wanted signals and entities, on the world's own raster."""
        self._world.catch_up()
        found: list[SignalSeries] = []
        for group in self._world.alerts.groups:
            if group.signal not in request.signals:
                continue
            places = [
                (place, entity)
                for place, subject in enumerate(group.subjects)
                for entity in request.entities
                if concerns(subject, entity)
            ]
            if places:
                found += self._read(group, places, request)
        return found

    def _read(
        self, group: Group, places: list[tuple[int, Entity]], request: MetricRequest
    ) -> Iterable[SignalSeries]:
        start, end = request.window.start.timestamp(), request.window.end.timestamp()
        # One tick earlier than wanted is cut off again below; `end` is excluded.
        times, rows = self._world.history.between(start, end - 1e-6, before=group.lookback)
        if len(rows) <= group.lookback:
            return
        times, values = times[group.lookback :], group.compute(rows)
        wanted = times >= start
        stride = max(1, round(request.step_s / TICK_S), -(-int(wanted.sum()) // _POINTS_MAX))
        times, values = times[wanted][::stride], values[wanted][::stride]
        for place, entity in places:
            column = values[:, place]
            present = np.isfinite(column)
            if not present.any():
                continue
            subject = group.subjects[place]
            yield SignalSeries(
                signal=group.signal,
                entity=entity,
                source=CONNECTOR,
                query=subject.query,
                labels=dict(subject.labels),
                times=tuple(times[present].tolist()),
                values=tuple(column[present].tolist()),
            )

    async def lines(self, query: LogQuery) -> LogBatch:
        """Return log lines of the services and hosts."""
        self._world.catch_up()
        lines, is_truncated = self._world.logs.lines(query)
        return LogBatch(lines=tuple(lines), query=_log_query(query), is_truncated=is_truncated)

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return deployments and the like, guilty and innocent."""
        self._world.catch_up()
        return [c for c in self._world.changes if window.start <= c.at < window.end]

    async def silence(
        self, matchers: Sequence[Matcher], *, until: datetime, author: str, comment: str
    ) -> str:
        """Mute matching alerts from now on; raises `ConnectorRejected` for a useless silence."""
        now = self._world.clock.now()
        if not matchers or until <= now:
            raise ConnectorRejected(CONNECTOR, "a silence needs a matcher and an end to come")
        number = f"{self._world.seed:08x}-{len(self._silences) + 1:08x}"
        self._silences[number] = Silence(
            id=number,
            matchers=tuple(matchers),
            starts_at=now,
            ends_at=until,
            created_by=author,
            comment=comment,
            state="active",
        )
        return number

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence; raises `ConnectorRejected` if there is none of that id."""
        silence = self._silences.get(silence_id)
        if silence is None:
            raise ConnectorRejected(CONNECTOR, f"there is no silence {silence_id}")
        now = self._world.clock.now()
        self._silences[silence_id] = silence.model_copy(update={"ends_at": now, "state": "expired"})

    async def silences(self) -> Sequence[Silence]:
        """Return the silences that are active."""
        now = self._world.clock.now()
        return [silence for silence in self._silences.values() if silence.ends_at > now]

    def silenced_by(self, alert: Alert) -> list[str]:
        """Return the ids of the active silences that match an alert."""
        now = self._world.clock.now()
        return [
            silence.id
            for silence in self._silences.values()
            if silence.ends_at > now
            and all(
                matches(matcher, alert.labels.get(matcher.name, "")) for matcher in silence.matchers
            )
        ]

    def all_silences(self) -> list[Silence]:
        """Return every silence, with its present state."""
        now = self._world.clock.now()
        return [
            silence if silence.ends_at > now else silence.model_copy(update={"state": "expired"})
            for silence in self._silences.values()
        ]

    def _is_silenced(self, alert: Alert) -> bool:
        return bool(self.silenced_by(alert))


def matches(matcher: Matcher, value: str) -> bool:
    """Return whether a label value fits, as Alertmanager has it: regexes match the whole."""
    fits = matcher.value == value
    if matcher.is_regex:
        try:
            fits = re.fullmatch(matcher.value, value) is not None
        except re.error as error:
            raise ConnectorRejected(CONNECTOR, f"bad regex {matcher.value!r}") from error
    return fits == matcher.is_equal


_BY_KIND: dict[EntityKind, Callable[[Subject, str], bool]] = {
    EntityKind.HOST: lambda subject, name: subject.host == name,
    EntityKind.NODE: lambda subject, name: subject.host == name,
    EntityKind.SERVICE: lambda subject, name: subject.service == name,
    EntityKind.JOB: lambda subject, name: subject.labels.get("job") == name,
    EntityKind.INSTANCE: lambda subject, name: subject.labels.get("instance") == name,
}


def concerns(subject: Subject, entity: Entity) -> bool:
    """Return whether a subject is, or belongs to, this entity.

    A host is asked about itself, not about every service on it.
    """
    test = _BY_KIND.get(entity.kind)
    if test is None:
        return False
    if entity.kind in (EntityKind.HOST, EntityKind.NODE) and subject.service is not None:
        return False
    return test(subject, entity.name)


def _log_query(query: LogQuery) -> str:
    start, end = (
        f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (query.window.start, query.window.end)
    )
    parts = [f"{start} <= time < {end}", f"level >= {query.minimum_level.value}"]
    names = [f"service = {name}" for name in query.services]
    names += [f"host = {name}" for name in query.hosts]
    if names:
        parts.append("(" + " or ".join(names) + ")")
    return " and ".join(parts)
