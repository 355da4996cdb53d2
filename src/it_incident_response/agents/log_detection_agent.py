"""LogDetector: runs log rules at regular times; what they find are alerts like any other."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from it_incident_response.agents.log_reading import LogReader
from it_incident_response.agents.log_watches import Look, Watch, aligned, watch_for
from it_incident_response.analysis.log_rules import Breach, LogRule
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.labels import fingerprint, make_alert
from it_incident_response.ports import (
    Clock,
    ConditionReading,
    IncidentStore,
    LogSource,
)

log = logging.getLogger(__name__)

SOURCE = "logs"
"""The source that alerts of log rules name."""
BREACHES_MAX = 50
"""Alerts that one rule raises at a time: service names come from outside, without bound."""
STORED_MAX = 5_000
RULES_AT_ONCE = 4
LOOK_BUDGETS = 3
"""A look may take so many times what one answer may."""


@dataclass(frozen=True)
class LogDetectionSettings:
    """When the rules are looked at; all times in seconds."""

    interval_s: float = 60.0
    delay_s: float = 10.0
    """How long a line may take from its own time until a search finds it."""
    resolve_after: int = 3
    """Rounds in a row in which the condition must not hold before the alert counts as over."""
    budget_s: float = 20.0
    """For one answer of one log system."""


@dataclass(frozen=True)
class _Open:
    """An alert, and in how many rounds in a row its condition did not hold."""

    alert: Alert
    quiet: int = 0


class LogDetector:
    """Fills AlertSource and ConditionSource, so that `DetectionAgent.poll` takes in what it finds.

    Rounds end at multiples of the interval (less the delay): whoever asks first in an interval
    causes the round, and two processes look at the same windows. Alerts that the store has open
    are the memory: a restart goes on with them and their first times, and opens nothing again.
    """

    def __init__(
        self,
        rules: Sequence[LogRule],
        systems: Mapping[str, LogSource],
        store: IncidentStore,
        clock: Clock,
        *,
        settings: LogDetectionSettings | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._settings = settings or LogDetectionSettings()
        reader = LogReader(systems, self._settings.budget_s)
        self._watches: dict[str, Watch] = {rule.name: watch_for(rule, reader) for rule in rules}
        self._store = store
        self._clock = clock
        self._redact = redact
        self._open: dict[str, _Open] = {}
        self._looked_to: datetime | None = None
        self._lock = asyncio.Lock()
        self.problems: dict[str, tuple[str, ...]] = {}
        """What could not be read at the last round, by the name of the rule."""

    async def firing_alerts(self) -> Sequence[Alert]:
        """Return the alerts whose condition holds, or held until less than some rounds ago.

        A log system that fails raises nothing here: the rules that need it come to no new
        conclusion, and `problems` says so.
        """
        await self._round()
        return [kept.alert for kept in self._open.values() if not self._is_over(kept)]

    async def condition(self, alert: Alert) -> ConditionReading:
        """Return whether the condition of an alert of ours holds; None for anybody else's."""
        if alert.source != SOURCE:
            return ConditionReading(holds=None, detail="this alert is not of a log rule")
        watch = self._watches.get(alert.name)
        if watch is None:
            return ConditionReading(holds=None, detail=f"there is no log rule {alert.name!r} now")
        await self._round()
        kept = self._open.get(alert.fingerprint)
        if kept is not None and kept.quiet == 0 and not self.problems.get(alert.name):
            return ConditionReading(holds=True, query=_words_of(watch.rule))
        if problems := self.problems.get(alert.name):
            return ConditionReading(
                holds=None, query=_words_of(watch.rule), detail="; ".join(problems)[:1000]
            )
        is_over = kept is None or self._is_over(kept)
        quiet = kept.quiet if kept else self._settings.resolve_after
        return ConditionReading(
            holds=not is_over,
            query=_words_of(watch.rule),
            detail=f"not found in the last {quiet} rounds",
        )

    async def _round(self) -> None:
        """Look at every rule, unless that was done in this interval."""
        async with self._lock:
            end = aligned(self._clock.now(), self._settings.interval_s, self._settings.delay_s)
            if self._looked_to == end:
                return
            await self._restore()
            gate = asyncio.Semaphore(RULES_AT_ONCE)

            async def look(watch: Watch) -> Look:
                async with gate:
                    return await self._look(watch, end)

            looks = await asyncio.gather(*(look(watch) for watch in self._watches.values()))
            for watch, found in zip(self._watches.values(), looks, strict=True):
                self._note(watch.rule, found)
                self._judge(watch.rule, found)
            self._looked_to = end

    async def _look(self, watch: Watch, end: datetime) -> Look:
        """Look by one rule, which may ask several times, in bounded time altogether."""
        limit_s = self._settings.budget_s * LOOK_BUDGETS
        try:
            async with asyncio.timeout(limit_s):
                return await watch.look(end)
        except TimeoutError:
            return Look(problems=(f"the log systems took more than {limit_s:g} s altogether",))

    async def _restore(self) -> None:
        """Take over the open alerts of the store, and drop those that it has closed."""
        known = await self._store.alerts(firing_only=True, limit=STORED_MAX)
        stored = {k.alert.fingerprint: k.alert for k in known if k.alert.source == SOURCE}
        for name, alert in stored.items():
            kept = self._open.get(name)
            if kept is None or kept.alert.starts_at != alert.starts_at:
                self._open[name] = _Open(alert, kept.quiet if kept else 0)
        closed = [n for n, kept in self._open.items() if self._is_over(kept) and n not in stored]
        for name in closed:
            del self._open[name]
        for name, watch in self._watches.items():
            watch.adopt(alert for alert in stored.values() if alert.name == name)

    def _judge(self, rule: LogRule, look: Look) -> None:
        largest = sorted(look.breaches, key=lambda breach: -breach.count)[:BREACHES_MAX]
        found = {fingerprint(breach.labels): breach for breach in largest}
        for name, breach in found.items():
            kept = self._open.get(name)
            since = kept.alert.starts_at if kept and not self._is_over(kept) else breach.since
            self._open[name] = _Open(self._alert(breach, since))
        if look.problems:
            return
        for name, kept in self._open.items():
            if kept.alert.name == rule.name and name not in found:
                self._open[name] = _Open(kept.alert, kept.quiet + 1)

    def _alert(self, breach: Breach, since: datetime) -> Alert:
        annotations = {"summary": self._redact(breach.text)}
        if breach.template:
            annotations["template"] = self._redact(breach.template)
        if breach.examples:
            annotations["examples"] = self._redact("\n".join(breach.examples))
        if breach.query:
            annotations["query"] = breach.query
        return make_alert(
            labels=breach.labels,
            annotations=annotations,
            status=AlertStatus.FIRING,
            starts_at=since,
            ends_at=None,
            received_at=self._clock.now(),
            source=SOURCE,
            generator_url=breach.link,
        )

    def _is_over(self, kept: _Open) -> bool:
        return kept.quiet >= self._settings.resolve_after

    def _note(self, rule: LogRule, look: Look) -> None:
        """Remember problems; write each new one to the log once."""
        before = self.problems.get(rule.name, ())
        if look.problems and look.problems != before:
            log.warning("log rule %s: %s", rule.name, "; ".join(look.problems)[:1000])
        if before and not look.problems:
            log.info("log rule %s can be looked at again", rule.name)
        self.problems[rule.name] = look.problems


def _words_of(rule: LogRule) -> str:
    parts: Iterable[str | None] = (
        f"log rule {rule.name} ({rule.kind.value})",
        f"level >= {rule.level.value}",
        f"contains {rule.contains!r}" if rule.contains else None,
        f"services {', '.join(rule.services)}" if rule.services else None,
        f"hosts {', '.join(rule.hosts)}" if rule.hosts else None,
        f"within {rule.window_s:g} s",
    )
    return "; ".join(part for part in parts if part)
