from datetime import timedelta

import pytest

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import LogLevel, Signal, TimeWindow
from it_incident_response.domain.labels import fingerprint
from it_incident_response.errors import ConnectorRejected
from it_incident_response.ports import (
    AlertSource,
    ChangeSource,
    ConditionSource,
    HealthCheck,
    LogQuery,
    LogSource,
    Matcher,
    MetricRequest,
    MetricSource,
    Silencer,
)
from it_incident_response.simulation import FAULTS, SimulatedSources
from it_incident_response.simulation.remedies import Deed
from tests.unit.simulation.worlds import young_world


async def world_with(kind, seconds=600, seed=7):
    world = young_world(seed)
    world.inject(kind)
    await world.run(seconds)
    return world, SimulatedSources(world)


def last(world, **span):
    now = world.clock.now()
    return TimeWindow(start=now - timedelta(**span), end=now)


@pytest.mark.parametrize(
    "port",
    [AlertSource, ConditionSource, MetricSource, LogSource, ChangeSource, Silencer, HealthCheck],
)
def test_fills_every_reading_port(port):
    assert isinstance(SimulatedSources(young_world(7)), port)


async def test_alerts_look_like_those_of_an_alertmanager():
    world, sources = await world_with("database_connection_timeouts")
    alerts = await sources.firing_alerts()
    assert len(alerts) > 3
    for alert in alerts:
        assert alert.status is AlertStatus.FIRING
        assert alert.fingerprint == fingerprint(alert.labels)
        assert alert.labels["alertname"] == alert.name
        assert alert.annotations["summary"]
        assert "{" not in alert.annotations["summary"]
        assert alert.generator_url.startswith("http")
        assert alert.starts_at <= world.clock.now()
    pool = next(alert for alert in alerts if alert.name == "DatabaseConnectionPoolExhausted")
    known = {entity for entity in pool.entities if world.inventory.locate(entity.name)}
    assert known, "the inventory must know what the labels name"


@pytest.mark.parametrize("kind", sorted(FAULTS))
async def test_every_alert_names_something_that_the_inventory_knows(kind):
    world, sources = await world_with(kind, 1500)
    for alert in await sources.firing_alerts():
        names = [entity.name for entity in alert.entities]
        is_known = any(world.inventory.host(n) or world.inventory.locate(n) for n in names)
        assert is_known or "cardprocessor" in alert.labels["instance"], alert.labels


async def test_condition_follows_the_world():
    world, sources = await world_with("service_down")
    alert = next(a for a in await sources.firing_alerts() if a.name == "ServiceDown")
    reading = await sources.condition(alert)
    assert reading.holds is True
    assert "up{" in reading.query
    remedy = world.incidents[0].fault.remedy
    world.perform(Deed("restart_service", remedy.host, remedy.service, {}))
    await world.run(60)
    assert (await sources.condition(alert)).holds is False


async def test_condition_of_a_foreign_alert_is_unknown():
    world, sources = await world_with("service_down")
    alert = (await sources.firing_alerts())[0]
    foreign = alert.model_copy(update={"labels": {"alertname": "Other"}})
    assert (await sources.condition(foreign)).holds is None


async def test_condition_without_data_is_unknown():
    world, sources = await world_with("database_connection_timeouts")
    pool = next(
        a for a in await sources.firing_alerts() if a.name == "DatabaseConnectionPoolExhausted"
    )
    service = world.state.services[pool.labels["service"]]
    service.instances[0].is_up = False
    await world.run(30)
    assert (await sources.condition(pool)).holds is None


@pytest.mark.parametrize("signal", [Signal.CPU_USE, Signal.MEMORY_USE, Signal.DISK_USE])
async def test_series_of_a_host(signal):
    world, sources = await world_with("cpu_saturation", 7500)
    entity = Entity(EntityKind.HOST, "search-1")
    request = MetricRequest(signals=(signal,), entities=(entity,), window=last(world, hours=2))
    (series,) = await sources.series(request)
    assert series.entity == entity
    assert 470 <= len(series.times) <= 480
    assert all(a < b for a, b in zip(series.times, series.times[1:], strict=False))
    assert request.window.start.timestamp() <= series.times[0]
    assert series.times[-1] < request.window.end.timestamp()
    assert "search-1:9100" in series.query
    if signal is Signal.CPU_USE:
        assert min(series.values) > 0.9


async def test_series_keep_to_the_step_and_to_the_entities():
    world, sources = await world_with("service_down", 60)
    request = MetricRequest(
        signals=(Signal.ERROR_RATIO, Signal.PROCESS_MEMORY),
        entities=(Entity(EntityKind.SERVICE, "api"), Entity(EntityKind.POD, "api")),
        window=last(world, minutes=10),
        step_s=60,
    )
    found = await sources.series(request)
    assert {series.signal for series in found} == {Signal.ERROR_RATIO, Signal.PROCESS_MEMORY}
    assert {series.entity.name for series in found} == {"api"}
    assert all(9 <= len(series.times) <= 11 for series in found)
    # One process on each of two hosts.
    assert sum(series.signal is Signal.PROCESS_MEMORY for series in found) == 2


async def test_no_series_before_the_world_or_of_what_is_unknown():
    world, sources = await world_with("service_down", 60)
    start = world.clock.now() - timedelta(days=2)
    old = TimeWindow(start=start, end=start + timedelta(hours=1))
    entity = Entity(EntityKind.HOST, "db-1")
    request = MetricRequest(signals=(Signal.CPU_USE,), entities=(entity,), window=old)
    assert list(await sources.series(request)) == []
    request = MetricRequest(
        signals=(Signal.CPU_USE,),
        entities=(Entity(EntityKind.HOST, "nowhere"),),
        window=last(world, hours=1),
    )
    assert list(await sources.series(request)) == []


LOG_MARKS = {
    "database_connection_timeouts": "waiting for a database connection from pool",
    "api_errors_after_deploy": "unhandled exception",
    "memory_leak": "full garbage collection",
    "disk_full": "No space left on device",
    "tls_certificate_expiry": "certificate expired",
    "service_down": "connection refused",
    "oom_kill": "Out of memory: Killed process",
    "dependency_outage": "no answer within",
    "traffic_surge": "workers busy",
    "database_disk_full": "could not extend file",
    "cache_down": "connect to session-cache failed",
}


@pytest.mark.parametrize("kind", sorted(LOG_MARKS))
async def test_logs_follow_from_the_state(kind):
    world, sources = await world_with(kind, 1400, seed=5)
    batch = await sources.lines(
        LogQuery(window=last(world, minutes=25), minimum_level=LogLevel.WARNING)
    )
    telling = [line for line in batch.lines if LOG_MARKS[kind] in line.message]
    assert len(telling) >= 1
    assert len({line.message for line in telling}) == len(telling), "ids vary from line to line"
    before = TimeWindow(
        start=batch.lines[0].at - timedelta(hours=1), end=world.clock.now() - timedelta(minutes=24)
    )
    quiet = await sources.lines(LogQuery(window=before))
    assert not [line for line in quiet.lines if LOG_MARKS[kind] in line.message]
    assert quiet.lines, "a healthy shop writes logs too"


async def test_log_queries_are_exact():
    world, sources = await world_with("api_errors_after_deploy")
    window = last(world, minutes=5)
    query = LogQuery(window=window, services=("edge",), minimum_level=LogLevel.ERROR, limit=7)
    batch = await sources.lines(query)
    assert batch.is_truncated
    assert len(batch.lines) == 7
    assert all(line.service == "edge" and line.level is LogLevel.ERROR for line in batch.lines)
    assert all(window.start <= line.at < window.end for line in batch.lines)
    assert list(batch.lines) == sorted(batch.lines, key=lambda line: line.at)
    assert "service = edge" in batch.query
    again = await sources.lines(query)
    assert again == batch


async def test_changes_lie_in_the_window():
    world, sources = await world_with("api_errors_after_deploy", 120)
    changes = await sources.changes(last(world, minutes=5))
    assert [c.what for c in changes if world.incidents[0].fault.version in c.summary] == ["deploy"]
    early = TimeWindow(
        start=world.clock.now() - timedelta(days=2), end=world.clock.now() - timedelta(days=1)
    )
    assert await sources.changes(early) == []


async def test_silences_mute_until_they_end():
    world, sources = await world_with("service_down")
    before = await sources.firing_alerts()
    number = await sources.silence(
        [Matcher(name="severity", value="crit.*", is_regex=True)],
        until=world.clock.now() + timedelta(minutes=10),
        author="ada",
        comment="known",
    )
    assert [silence.id for silence in await sources.silences()] == [number]
    muted = await sources.firing_alerts()
    assert len(muted) < len(before)
    assert all(alert.labels["severity"] != "critical" for alert in muted)
    await world.run(660)
    assert await sources.silences() == []
    assert len(await sources.firing_alerts()) >= len(before)


async def test_a_silence_needs_a_matcher_a_future_and_an_id():
    world, sources = await world_with("service_down", 60)
    later = world.clock.now() + timedelta(hours=1)
    with pytest.raises(ConnectorRejected):
        await sources.silence([], until=later, author="a", comment="c")
    matcher = Matcher(name="a", value="b")
    with pytest.raises(ConnectorRejected):
        await sources.silence([matcher], until=world.clock.now(), author="a", comment="c")
    with pytest.raises(ConnectorRejected):
        await sources.expire_silence("nope")


async def test_health_names_the_seed():
    assert "seed 7" in (await SimulatedSources(young_world(7)).check()).detail
