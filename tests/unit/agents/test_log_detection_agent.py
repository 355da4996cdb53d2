"""LogDetector: rounds, first times, recovery, restarts, log systems that fail."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.agents.log_detection_agent import (
    SOURCE,
    LogDetectionSettings,
    LogDetector,
)
from it_incident_response.analysis.correlation import CorrelationSettings
from it_incident_response.analysis.log_rules import LogRule, LogRuleKind
from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.ports import (
    IncidentFilter,
    LogBatch,
    LogCount,
    LogCounts,
    SystemClock,
)
from it_incident_response.simulation import SimulatedSources, SimulatedWorld, VirtualClock
from it_incident_response.storage import open_store

NOW = datetime(2026, 3, 10, 12, 0, 15, tzinfo=UTC)
RANKS = list(LogLevel)


class LogStore:
    """A log system in memory that answers as the ports promise."""

    def __init__(self):
        self.all: list[LogLine] = []
        self.failure: Exception | None = None
        self.gaps: tuple[str, ...] = ()
        self.asked = 0

    def add(self, message, at, count=1, service="api", level=LogLevel.ERROR, host=None):
        for n in range(count):
            moment = at + timedelta(milliseconds=n)
            self.all.append(
                LogLine(at=moment, message=message, level=level, service=service, host=host)
            )

    def _matching(self, query):
        self.asked += 1
        if self.failure:
            raise self.failure
        return [
            line
            for line in sorted(self.all, key=lambda line: line.at)
            if query.window.start <= line.at < query.window.end
            and (not query.services or line.service in query.services)
            and RANKS.index(line.level) >= RANKS.index(query.minimum_level)
            and (query.contains is None or query.contains in line.message)
        ]

    async def lines(self, query):
        found = self._matching(query)
        return LogBatch(
            lines=tuple(found[-query.limit :]),
            query="q",
            is_truncated=len(found) > query.limit,
            gaps=self.gaps,
        )


class CountingStore(LogStore):
    async def counts(self, query, *, bucket_s):
        numbers = Counter()
        for line in self._matching(query):
            start = line.at.timestamp() // bucket_s * bucket_s
            numbers[(start, line.level, line.service)] += 1
        counts = tuple(
            LogCount(at=datetime.fromtimestamp(at, UTC), level=level, service=service, count=count)
            for (at, level, service), count in numbers.items()
        )
        return LogCounts(counts=counts, bucket_s=bucket_s, query="c", gaps=self.gaps)


class HandClock:
    def __init__(self, at=NOW):
        self.at = at

    def now(self):
        return self.at

    async def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def installation(path, clock):
    store = open_store(f"sqlite:///{path / 'iir.db'}", clock=clock)
    await store.open()
    try:
        agent = DetectionAgent(
            store, {}, clock, inventory=Inventory(), settings=CorrelationSettings()
        )
        yield store, agent
    finally:
        await store.close()


def pattern(**more):
    return LogRule(**({"name": "Payments", "kind": LogRuleKind.PATTERN, "at_least": 3} | more))


def template(**more):
    return LogRule(
        **({"name": "NewErrors", "kind": LogRuleKind.TEMPLATE, "at_least": 3, "factor": 5.0} | more)
    )


def detector(rules, systems, store, clock, **more):
    return LogDetector(rules, systems, store, clock, settings=LogDetectionSettings(**more))


async def incidents(store):
    return await store.incidents(IncidentFilter())


async def rounds(count, agent, found, clock):
    for _ in range(count):
        await agent.poll(found, found)
        clock.at += timedelta(seconds=60)


@pytest.mark.parametrize("kind", [LogStore, CountingStore])
async def test_a_pattern_opens_one_incident_and_recovery_ends_the_alert(tmp_path, kind):
    clock, logs = HandClock(), kind()
    async with installation(tmp_path, clock) as (store, agent):
        found = detector([pattern(contains="card")], {"es": logs}, store, clock)
        logs.add("card declined", NOW - timedelta(seconds=60), count=3)
        logs.add("cart emptied", NOW - timedelta(seconds=50), count=30)
        await rounds(2, agent, found, clock)
        (known,) = await store.alerts(firing_only=True, limit=9)
        assert (known.alert.name, known.alert.source) == ("Payments", SOURCE)
        assert known.alert.labels["service"] == "api"
        assert "card declined" in known.alert.annotations["examples"]
        # The lines leave the window after five minutes; three rounds later it is over.
        await rounds(9, agent, found, clock)
        assert await store.alerts(firing_only=True, limit=9) == []
        assert len(await incidents(store)) == 1


async def test_it_is_over_only_after_so_many_quiet_rounds(tmp_path):
    clock, logs = HandClock(), CountingStore()
    async with installation(tmp_path, clock) as (store, _):
        found = detector([pattern(window_s=60.0)], {"es": logs}, store, clock, resolve_after=2)
        logs.add("boom", NOW - timedelta(seconds=30), count=3)
        (alert,) = await found.firing_alerts()
        assert (await found.condition(alert)).holds is True
        clock.at += timedelta(seconds=60)
        assert [a.starts_at for a in await found.firing_alerts()] == [alert.starts_at]
        assert (await found.condition(alert)).holds is True
        clock.at += timedelta(seconds=60)
        assert await found.firing_alerts() == []
        assert (await found.condition(alert)).holds is False


async def test_one_interval_is_looked_at_once_however_often_it_is_asked(tmp_path):
    clock, logs = HandClock(), CountingStore()
    async with installation(tmp_path, clock) as (store, _):
        found = detector([pattern()], {"es": logs}, store, clock)
        await asyncio.gather(*(found.firing_alerts() for _ in range(5)))
        assert logs.asked == 1


async def test_a_restart_opens_nothing_again_and_keeps_the_first_time(tmp_path):
    clock, logs = HandClock(), CountingStore()
    rules = [pattern(), template()]
    async with installation(tmp_path, clock) as (store, agent):
        logs.add("quorum is lost", NOW - timedelta(seconds=60), count=4)
        found = detector(rules, {"es": logs}, store, clock)
        await rounds(1, agent, found, clock)
        before = {
            k.alert.fingerprint: k.alert.starts_at
            for k in await store.alerts(firing_only=False, limit=9)
        }
        assert len(before) == 2
        for _ in range(3):
            clock.at += timedelta(minutes=4)
            logs.add("quorum is lost", clock.at - timedelta(seconds=100), count=4)
            again = detector(rules, {"es": logs}, store, clock)
            assert await agent.poll(again, again) == 0
            listed = {a.fingerprint: a.starts_at for a in await again.firing_alerts()}
            assert listed == before
        assert len(await incidents(store)) == 1


async def test_two_processes_raise_the_same_alert(tmp_path):
    clock, logs = HandClock(), CountingStore()
    async with installation(tmp_path, clock) as (store, agent):
        logs.add("quorum is lost", NOW - timedelta(seconds=60), count=4)
        one, other = (
            detector([pattern(), template()], {"es": logs}, store, clock) for _ in range(2)
        )
        first, second = await one.firing_alerts(), await other.firing_alerts()
        assert {(a.fingerprint, a.starts_at) for a in first} == {
            (a.fingerprint, a.starts_at) for a in second
        }
        await agent.absorb(first)
        assert await agent.poll(other, other) == 0


async def test_a_log_system_that_is_down_neither_raises_nor_ends_anything(tmp_path):
    clock, logs = HandClock(), CountingStore()
    absent = LogRule(name="Backup", kind=LogRuleKind.ABSENCE, level=LogLevel.DEBUG, window_s=60.0)
    async with installation(tmp_path, clock) as (store, agent):
        logs.add("boom", NOW - timedelta(seconds=30), count=3)
        found = detector([pattern(window_s=60.0), absent], {"es": logs}, store, clock)
        await rounds(1, agent, found, clock)
        logs.failure = ConnectorUnavailable("es", "is down")
        await rounds(10, agent, found, clock)
        firing = await store.alerts(firing_only=True, limit=9)
        assert [k.alert.name for k in firing] == ["Payments"]
        assert "is down" in found.problems["Backup"][0]
        reading = await found.condition(firing[0].alert)
        assert reading.holds is None
        logs.failure = None
        await rounds(5, agent, found, clock)
        assert {k.alert.name for k in await store.alerts(firing_only=True, limit=9)} == {"Backup"}


async def test_one_of_two_systems_down_still_raises_but_proves_no_absence(tmp_path):
    clock, good, bad = HandClock(), CountingStore(), CountingStore()
    bad.failure = ConnectorUnavailable("splunk", "is down")
    absent = LogRule(name="Backup", kind=LogRuleKind.ABSENCE, contains="done", window_s=60.0)
    async with installation(tmp_path, clock) as (store, _):
        good.add("boom", NOW - timedelta(seconds=30), count=3)
        systems = {"es": good, "splunk": bad}
        found = detector([pattern(), absent], systems, store, clock)
        assert [a.name for a in await found.firing_alerts()] == ["Payments"]


async def test_an_answer_that_does_not_come_is_given_up(tmp_path):
    clock = HandClock()

    class Hanging(LogStore):
        async def lines(self, query):
            await asyncio.Event().wait()

    async with installation(tmp_path, clock) as (store, _):
        found = detector([pattern()], {"es": Hanging()}, store, clock, budget_s=0.05)
        assert await found.firing_alerts() == []
        assert found.problems["Payments"] == ("es: no answer within 0.05 s",)


async def test_a_rule_that_asks_often_ends_in_bounded_time(tmp_path):
    clock = HandClock()

    class Slow(LogStore):
        async def lines(self, query):
            await SystemClock().sleep(0.04)
            return await super().lines(query)

    slow = Slow()
    async with installation(tmp_path, clock) as (store, _):
        rules = [template(), pattern()]
        found = detector(rules, {"es": slow}, store, clock, budget_s=0.05)
        assert await found.firing_alerts() == []
        assert slow.asked < 8
        assert found.problems["NewErrors"] == ("the log systems took more than 0.15 s altogether",)


async def test_a_partial_answer_ends_nothing(tmp_path):
    clock, logs = HandClock(), CountingStore()
    async with installation(tmp_path, clock) as (store, agent):
        logs.add("boom", NOW - timedelta(seconds=30), count=3)
        found = detector([pattern(window_s=60.0)], {"es": logs}, store, clock)
        await rounds(1, agent, found, clock)
        logs.gaps = ("2 of 5 shards failed",)
        await rounds(6, agent, found, clock)
        assert len(await store.alerts(firing_only=True, limit=9)) == 1


async def test_a_spike_is_seen_against_earlier_days_which_are_read_once_an_hour(tmp_path):
    clock, logs = HandClock(NOW + timedelta(minutes=20)), CountingStore()
    rule = LogRule(name="Spike", kind=LogRuleKind.SPIKE, at_least=20, window_s=600.0, days=4)
    for day in range(1, 5):
        for minute in range(0, 60, 2):
            at = NOW.replace(minute=minute) - timedelta(days=day)
            logs.add("boom", at, count=2)
    async with installation(tmp_path, clock) as (store, agent):
        found = detector([rule], {"es": logs}, store, clock)
        assert await found.firing_alerts() == []
        asked = logs.asked
        clock.at += timedelta(seconds=60)
        logs.add("boom", clock.at - timedelta(seconds=90), count=80)
        (alert,) = await found.firing_alerts()
        assert alert.name == "Spike"
        assert "usual at this hour: 10" in alert.annotations["summary"]
        assert logs.asked - asked == 2  # the window, and its examples
        await agent.poll(found, found)
        assert len(await incidents(store)) == 1


async def test_without_earlier_days_no_number_is_a_spike(tmp_path):
    clock, logs = HandClock(), CountingStore()
    rule = LogRule(name="Spike", kind=LogRuleKind.SPIKE, at_least=20, window_s=600.0)
    logs.add("boom", NOW - timedelta(seconds=90), count=8_000)
    async with installation(tmp_path, clock) as (store, _):
        assert await detector([rule], {"es": logs}, store, clock).firing_alerts() == []


async def test_a_benign_new_template_becomes_usual(tmp_path):
    clock, logs = HandClock(), LogStore()
    async with installation(tmp_path, clock) as (store, agent):
        found = detector([template(baseline_s=600.0, window_s=120.0)], {"es": logs}, store, clock)
        await rounds(1, agent, found, clock)
        for _ in range(20):
            logs.add("cache is cold", clock.at - timedelta(seconds=40), count=3)
            await rounds(1, agent, found, clock)
        assert await store.alerts(firing_only=True, limit=9) == []
        assert len(await store.alerts(firing_only=False, limit=9)) == 1


async def test_secrets_in_examples_are_redacted_before_they_are_stored(tmp_path):
    clock, logs = HandClock(), LogStore()
    logs.add("login failed password=hunter2", NOW - timedelta(seconds=30), count=3)
    async with installation(tmp_path, clock) as (store, _):
        found = LogDetector(
            [pattern(), template()],
            {"es": logs},
            store,
            clock,
            redact=lambda text: text.replace("hunter2", "***"),
        )
        for alert in await found.firing_alerts():
            assert "hunter2" not in alert.model_dump_json()


async def test_service_names_without_bound_raise_a_bounded_number(tmp_path):
    clock, logs = HandClock(), CountingStore()
    for number in range(300):
        logs.add("boom", NOW - timedelta(seconds=30), count=3, service=f"s{number}")
    async with installation(tmp_path, clock) as (store, _):
        found = detector([pattern()], {"es": logs}, store, clock)
        assert len(await found.firing_alerts()) == 50


async def test_of_others_alerts_it_knows_nothing(tmp_path):
    clock, logs = HandClock(), CountingStore()
    async with installation(tmp_path, clock) as (store, _):
        logs.add("boom", NOW - timedelta(seconds=30), count=3)
        found = detector([pattern()], {"es": logs}, store, clock)
        (alert,) = await found.firing_alerts()
        foreign = alert.model_copy(update={"source": "prometheus"})
        assert (await found.condition(foreign)).holds is None
        gone = alert.model_copy(update={"name": "Removed"})
        assert (await found.condition(gone)).holds is None


@pytest.mark.parametrize("seed", [3, 12])
async def test_a_fault_of_the_world_is_one_incident_with_the_metric_alert(tmp_path, seed):
    """The whole way on the simulated world: its logs show a template that never was there."""
    clock = VirtualClock()
    world = SimulatedWorld(seed, clock)
    sources = SimulatedSources(world)
    store = open_store(f"sqlite:///{tmp_path / 'iir.db'}", clock=clock)
    await store.open()
    try:
        agent = DetectionAgent(
            store, {}, clock, inventory=world.inventory, settings=CorrelationSettings()
        )
        found = detector([template(baseline_s=1800.0)], {"world": sources}, store, clock)
        with clock.hold():
            await agent.poll(found, found)
        await world.run(600)
        with clock.hold():
            assert await agent.poll(found, found) == 0
        world.begin(world.draw("database_connection_timeouts"))
        for _ in range(20):
            await world.run(60)
            with clock.hold():
                await agent.poll(sources, sources)
                await agent.poll(found, found)
        alerts = [k.alert for k in await store.alerts(firing_only=False, limit=200)]
        from_logs = [a for a in alerts if a.source == SOURCE]
        assert from_logs
        assert len({a.fingerprint for a in from_logs}) == len(from_logs)
        templates = [a.annotations["template"] for a in from_logs]
        assert any("waiting for a database connection" in text for text in templates)
        opened = await incidents(store)
        assert len(opened) == 1
        names = opened[0].footprint.alert_names
        assert "NewErrors" in names
        assert len(names) > 1
        assert opened[0].total_alerts == len(alerts)
    finally:
        await store.close()
