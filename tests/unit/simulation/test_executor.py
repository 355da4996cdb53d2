"""Our real actions on the simulated world: commands, probes and effects fit together."""

import asyncio

import pytest

from it_incident_response.actions import ACTIONS, DiagnosticCommand, RunDiagnosticCommand
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal
from it_incident_response.simulation import FAULTS, SimulatedExecutor
from it_incident_response.simulation.host_shell import look
from tests.unit.simulation.worlds import young_world


def right_action(world, incident):
    """Return what the action's own `propose` finds for the true target."""
    remedy = incident.fault.remedy
    entities = []
    if remedy.service:
        entities.append(Entity(EntityKind.SERVICE, remedy.service))
    if remedy.host:
        entities.append(Entity(EntityKind.HOST, remedy.host))
    proposed = ACTIONS[remedy.action].propose(entities, world.inventory)
    wanted_path = getattr(incident.fault, "path", None)
    unit = world.shop.by_name[remedy.service].unit if remedy.service else None
    for action in proposed:
        fits = action.host in (None, remedy.host)
        fits &= wanted_path is None or getattr(action, "path", None) == wanted_path
        fits &= remedy.action != "restart_service" or action.unit == unit
        if fits:
            return action
    pytest.fail(f"{remedy} is not proposed: {proposed}")


@pytest.mark.parametrize("kind", sorted(FAULTS))
async def test_proposed_actions_heal_and_their_probes_say_so(kind):
    world = young_world(7)
    incident = world.inject(kind)
    await world.run(incident.fault.alerts_within_s)
    assert world.firing()
    if incident.fault.remedy is None:
        return
    action = right_action(world, incident)
    executor = SimulatedExecutor(world, action.executor)
    preview = await executor.preview(action)
    assert preview.commands == action.commands()
    assert preview.where
    before = await executor.probe(action)
    outcome = await executor.execute(action, key="k")
    assert outcome.succeeded, outcome.error
    await world.run(60)
    probe = await executor.probe(action, before=before.outputs)
    assert probe.took_effect is True, probe
    await world.run(900)
    assert world.firing() == []
    assert incident.ended_at is not None


@pytest.mark.parametrize("kind", ["service_down", "disk_full", "api_errors_after_deploy"])
async def test_a_look_before_the_action_is_not_taken_for_its_effect(kind):
    world = young_world(7)
    incident = world.inject(kind)
    await world.run(600)
    action = right_action(world, incident)
    executor = SimulatedExecutor(world, action.executor)
    before = await executor.probe(action)
    await world.run(30)
    assert (await executor.probe(action, before=before.outputs)).took_effect is False


async def test_the_same_key_acts_once_even_at_the_same_time():
    world = young_world(7)
    incident = world.inject("service_down")
    await world.run(120)
    action = right_action(world, incident)
    executor = SimulatedExecutor(world, "ssh")
    outcomes = await asyncio.gather(*(executor.execute(action, key="k") for _ in range(3)))
    assert world.state.by_unit(action.host, action.unit).restarts == 1
    assert outcomes[0] == outcomes[1] == outcomes[2]
    await executor.execute(action, key="another")
    assert world.state.by_unit(action.host, action.unit).restarts == 2


async def test_a_failed_restart_is_told_as_failed():
    world = young_world(7)
    incident = world.inject("disk_full")
    await world.run(500)
    host = incident.fault.target.name
    service = world.state.by_host[host][0].spec
    entities = [Entity(EntityKind.SERVICE, service.name), Entity(EntityKind.HOST, host)]
    actions = ACTIONS["restart_service"].propose(entities, world.inventory)
    action = next(a for a in actions if a.host == host and a.unit == service.unit)
    executor = SimulatedExecutor(world, "ssh")
    before = await executor.probe(action)
    outcome = await executor.execute(action, key="k")
    assert not outcome.succeeded
    assert "systemctl status" in outcome.error
    assert (await executor.probe(action, before=before.outputs)).took_effect is False


async def test_acting_takes_the_worlds_time():
    world = young_world(7)
    incident = world.inject("service_down")
    await world.run(60)
    began = world.clock.now()
    await SimulatedExecutor(world, "ssh").execute(right_action(world, incident), key="k")
    assert (world.clock.now() - began).total_seconds() > 1


FACTS = {
    DiagnosticCommand.DISK_USAGE: "use:/",
    DiagnosticCommand.INODE_USAGE: "use:/",
    DiagnosticCommand.MEMORY: "used_ratio",
    DiagnosticCommand.UPTIME: "load_1",
    DiagnosticCommand.TOP_CPU: "process:1",
    DiagnosticCommand.TOP_MEMORY: "process:1",
    DiagnosticCommand.SOCKETS: "tcp",
    DiagnosticCommand.FAILED_UNITS: "failed_count",
    DiagnosticCommand.KERNEL_LOG: "lines",
    DiagnosticCommand.UNIT_STATUS: "ActiveState",
    DiagnosticCommand.UNIT_LOG: "last_line",
    DiagnosticCommand.FOLDER_USAGE: "kib:/var/log/shop",
    DiagnosticCommand.CERTIFICATE_DATES: "notAfter",
}


@pytest.mark.parametrize("command", list(DiagnosticCommand))
async def test_diagnostic_commands_print_what_their_parsers_read(command):
    world = young_world(7)
    needs = {
        DiagnosticCommand.UNIT_STATUS: {"unit": "nginx.service"},
        DiagnosticCommand.UNIT_LOG: {"unit": "nginx.service"},
        DiagnosticCommand.FOLDER_USAGE: {"path": "/var/log/shop"},
        DiagnosticCommand.CERTIFICATE_DATES: {"path": "/etc/ssl/shop/fullchain.pem"},
    }
    action = RunDiagnosticCommand(host="edge-1", command=command, **needs.get(command, {}))
    outcome = await SimulatedExecutor(world, "ssh").execute(action, key=str(command))
    assert outcome.succeeded, outcome.error
    facts = action.facts(outcome.results[0].output)
    assert facts[FACTS[command]]


async def test_the_shell_shows_what_is_wrong():
    world = young_world(7)
    incident = world.inject("oom_kill")
    await world.run(240)
    host, unit = incident.fault.instance.host, incident.fault.instance.spec.unit
    _, status = look(world, host, ["systemctl", "show", "--property=ActiveState,Result", unit])
    assert status.splitlines() == ["ActiveState=failed", "Result=oom-kill"]
    _, kernel = look(world, host, ["journalctl", "--dmesg", "--lines=10"])
    assert "Out of memory: Killed process" in kernel
    _, failed = look(world, host, ["systemctl", "list-units", "--failed"])
    assert unit in failed


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["sudo", "-n"],
        ["rm", "-rf", "/"],
        ["cat", "/etc/shadow"],
        ["find", "/", "-delete"],
        ["sh", "-c", "true"],
        ["systemctl", "poweroff"],
        ["openssl", "x509", "-in", "/etc/ssl/private/key.pem"],
    ],
)
def test_the_shell_does_nothing_else(command):
    world = young_world(7)
    before = repr(world.state)
    status, _ = look(world, "edge-1", command)
    assert status != 0
    assert repr(world.state) == before


def test_sudo_is_looked_through():
    world = young_world(7)
    assert look(world, "edge-1", ["sudo", "-n", "df", "-P"])[0] == 0


def test_disk_use_is_the_same_on_the_host_and_in_the_metrics():
    world = young_world(7)
    group = next(g for g in world.alerts.groups if g.signal is Signal.DISK_USE)
    values = group.compute(world.history.latest(1))[-1]
    place = next(
        p
        for p, s in enumerate(group.subjects)
        if s.host == "db-1" and s.labels["mountpoint"] == "/var/lib/postgresql"
    )
    line = look(world, "db-1", ["df", "-P", "-k", "/var/lib/postgresql"])[1].splitlines()[1]
    assert int(line.split()[4].rstrip("%")) == pytest.approx(100 * values[place], abs=1)
