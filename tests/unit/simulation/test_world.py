from datetime import UTC, datetime

import numpy as np
import pytest

from it_incident_response.errors import InputRejected
from it_incident_response.simulation import FAULTS, SimulatedWorld, VirtualClock
from it_incident_response.simulation.remedies import Deed
from tests.unit.simulation.worlds import young_world


async def run_until(world, condition, limit_s):
    """Let time pass until the condition holds; return the seconds it took, or fail."""
    began = world.clock.now()
    while (world.clock.now() - began).total_seconds() <= limit_s:
        if condition():
            return (world.clock.now() - began).total_seconds()
        await world.run(15)
    names = [alert.name for alert in world.firing()]
    pytest.fail(f"not so within {limit_s} s; firing: {names}")


def right_deed(incident):
    fault, remedy = incident.fault, incident.fault.remedy
    parameters = {}
    if remedy.action == "clean_disk":
        parameters = {"path": fault.path, "older_than_hours": 24}
    if remedy.action == "scale_service":
        parameters = {"service": remedy.service, "replicas": 3}
    return Deed(remedy.action, remedy.host, remedy.service or "", parameters)


def alerts_of(world):
    return [(alert.name, alert.fingerprint, alert.starts_at) for alert in world.firing()]


@pytest.mark.parametrize("seed", [7, 8])
async def test_same_seed_and_calls_give_the_same_world(seed):
    async def live():
        world = young_world(seed)
        world.inject("memory_leak")
        await world.run(1800)
        return world

    one, two = await live(), await live()
    assert np.array_equal(one.history.latest(10**6), two.history.latest(10**6), equal_nan=True)
    assert alerts_of(one) == alerts_of(two)
    assert one.changes == two.changes


async def test_how_the_time_is_cut_does_not_matter():
    one, two = young_world(7), young_world(7)
    await one.run(900)
    two.clock.advance(900)
    two.catch_up()
    assert np.array_equal(one.history.latest(60), two.history.latest(60), equal_nan=True)


async def test_other_seeds_give_other_worlds():
    assert not np.array_equal(
        young_world(1).history.latest(5), young_world(2).history.latest(5), equal_nan=True
    )


def test_is_born_with_a_quiet_past():
    world = SimulatedWorld(3)
    times, _ = world.history.between(0, world.clock.now().timestamp())
    assert times[-1] - times[0] >= 2 * 3600
    assert world.firing() == []


@pytest.mark.parametrize(("seed", "hour"), [(1, 0), (2, 8), (3, 16)])
async def test_no_time_of_a_quiet_day_raises_an_alert(seed, hour):
    start = datetime(2026, 1, 14, hour, tzinfo=UTC)
    world = SimulatedWorld(seed, VirtualClock(start), past_s=600)
    for _ in range(8):
        await world.run(3600)
        assert world.firing() == []
    assert world.alerts.ended == []


@pytest.mark.parametrize("kind", sorted(FAULTS))
@pytest.mark.parametrize("seed", [11])
async def test_each_fault_is_noticed_and_its_remedy_clears_it(kind, seed):
    world = young_world(seed)
    incident = world.inject(kind)
    await run_until(world, world.firing, incident.fault.alerts_within_s)
    await world.run(240)
    assert incident.ended_at is None, "a fault must not end before anybody acted"
    if incident.fault.remedy is None:
        return
    assert world.perform(right_deed(incident)).succeeded
    await run_until(world, lambda: not world.firing(), 600)
    await world.run(1200)
    assert world.firing() == []
    assert incident.ended_at is not None
    assert incident.healed_by == incident.fault.remedy.action


WRONG = {
    "api_errors_after_deploy": "restart_service",
    "disk_full": "rollback_deployment",
    "tls_certificate_expiry": "restart_service",
    "latency_after_deploy": "restart_service",
    "database_connection_timeouts": "scale_service",
    "dependency_outage": "restart_service",
    "network_latency": "restart_service",
    "memory_leak": "scale_service",
    "service_down": "scale_service",
    "cpu_saturation": "scale_service",
}


@pytest.mark.parametrize("kind", sorted(WRONG))
async def test_a_wrong_action_does_not_heal(kind):
    world = young_world(7)
    incident = world.inject(kind)
    await run_until(world, world.firing, incident.fault.alerts_within_s)
    service = incident.fault.target.name
    if incident.fault.target.kind == "host":
        service = world.state.by_host[service][0].spec.name
    host = world.state.services[service].instances[0].host
    world.perform(Deed(WRONG[kind], host, service, {"service": service, "replicas": 4}))
    await world.run(600)
    assert world.firing()
    assert incident.ended_at is None


async def test_a_restart_costs_some_errors():
    world = young_world(7)
    before = sum(world.state.services["payments"].instances[0].process.codes[2:])
    assert before < 100
    world.perform(Deed("restart_service", "pay-1", "payments", {"unit": "payments.service"}))
    await world.run(15)
    process = world.state.services["payments"].instances[0].process
    assert sum(process.codes[2:]) > 0.2 * sum(process.codes)


async def test_restarting_on_a_full_disk_makes_it_worse():
    world = young_world(7)
    incident = world.inject("disk_full")
    await run_until(world, lambda: "DiskFull" in [a.name for a in world.firing()], 900)
    await world.run(60)
    instance = world.state.by_host[incident.fault.target.name][0]
    assert instance.is_up
    deed = Deed("restart_service", instance.host, "", {"unit": instance.spec.unit})
    assert not world.perform(deed).succeeded
    await run_until(world, lambda: "ServiceDown" in [a.name for a in world.firing()], 120)


async def test_restarting_the_database_makes_it_worse_for_all():
    world = young_world(7)
    await world.run(60)
    before = world.state.services["checkout"].latency_s
    world.perform(Deed("restart_service", "db-1", "shop-db", {"unit": "postgresql.service"}))
    await world.run(60)
    assert world.state.services["checkout"].latency_s > 1.1 * before


async def test_a_fault_makes_a_storm_over_several_services():
    world = young_world(7)
    world.inject("database_disk_full")
    await world.run(900)
    services = {alert.labels.get("service") for alert in world.firing()}
    assert {"checkout", "payments", "api", "edge"} <= services


async def test_resolved_alerts_keep_fingerprint_and_start():
    world = young_world(7)
    incident = world.inject("service_down")
    began = world.clock.now()
    await run_until(world, world.firing, 300)
    fired = {alert.fingerprint: alert for alert in world.firing()}
    world.perform(right_deed(incident))
    await run_until(world, lambda: not world.firing(), 600)
    resolved = {alert.fingerprint: alert for alert in world.resolved_since(began)}
    assert fired.keys() <= resolved.keys()
    for key, alert in fired.items():
        assert resolved[key].starts_at == alert.starts_at
        assert resolved[key].ends_at > alert.starts_at


async def test_faults_that_nobody_can_mend_end_by_themselves():
    world = young_world(7)
    incident = world.inject("dependency_outage")
    await world.run(incident.fault.ends_by_itself_after_s + 600)
    assert world.firing() == []
    assert incident.ended_at is not None
    assert incident.healed_by is None


async def test_deployments_include_innocent_ones_and_the_guilty_one():
    world = young_world(7)
    incident = world.inject("api_errors_after_deploy")
    await world.run(4 * 3600)
    guilty = [c for c in world.changes if incident.fault.version in c.summary]
    assert len(guilty) == 1
    assert len(world.changes) > 2


async def test_an_innocent_deployment_does_not_mend_a_flawed_release():
    world = young_world(7)
    incident = world.inject("api_errors_after_deploy")
    await world.run(3 * 3600)
    assert len(world.changes) > 2
    assert incident.ended_at is None
    assert incident.fault.service.release.error_share > 0


def test_unknown_fault_is_refused_with_the_names_there_are():
    with pytest.raises(InputRejected, match="memory_leak"):
        young_world(7).inject("gremlins")


def test_unknown_deeds_and_targets_fail():
    world = young_world(7)
    assert not world.perform(Deed("format_disk", "db-1", "", {})).succeeded
    assert not world.perform(Deed("restart_service", "db-9", "", {"unit": "x.service"})).succeeded
    assert not world.perform(Deed("clean_disk", "db-1", "", {"path": "/etc"})).succeeded
    assert not world.perform(Deed("scale_service", None, "api", {"replicas": -1})).succeeded
