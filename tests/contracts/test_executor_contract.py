"""What every executor promises: look without touching, act once, never call a doubt a success.

The suite runs on the simulated world and on SSH to a loopback server; `tests/real` runs the parts
that need a real sshd, sudo and systemd.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from it_incident_response.actions import (
    DiagnosticCommand,
    RestartService,
    RunDiagnosticCommand,
)
from it_incident_response.domain.action import Action
from it_incident_response.errors import ActionInDoubt, TargetUnknown
from it_incident_response.ports import Executor
from it_incident_response.simulation.clock import VirtualClock
from it_incident_response.simulation.executor import SimulatedExecutor
from it_incident_response.simulation.world import SimulatedWorld
from tests.real.stack.waiting import Eventually
from tests.unit.executors.loopback_host import UNIT, LoopbackHost, is_alive, loopback_host


@dataclass(frozen=True)
class Rig:
    """An executor with something to act on, and the means to see and spoil it."""

    executor: Executor
    action: Action
    look: Action
    strangers: tuple[Action, ...]
    state: Callable[[], str]
    """All that acting on the target changes."""
    settle: Callable[[], Awaitable[None]]
    """Lets the world's clock move on, where it moves in steps."""
    host: LoopbackHost | None = None
    """The host behind it, where commands can be made to fail or to hang."""

    @property
    def real_host(self) -> LoopbackHost:
        if self.host is None:
            pytest.skip("commands of the simulated world neither hang nor fail at will")
        return self.host


def _strangers(known: RestartService) -> tuple[Action, ...]:
    return (
        RestartService(host="no-such-host", unit=known.unit),
        RestartService(host=known.host, unit="no-such-unit.service"),
        RunDiagnosticCommand(host="no-such-host", command=DiagnosticCommand.UPTIME),
    )


def _simulated() -> Rig:
    world = SimulatedWorld(seed=7, clock=VirtualClock())
    host, service = next((h, s) for h in world.inventory.hosts for s in h.services if s.unit)
    action = RestartService(host=host.name, unit=str(service.unit))

    def state() -> str:
        world.catch_up()
        return repr(world.state.hosts) + repr(world.state.services)

    return Rig(
        executor=SimulatedExecutor(world, "ssh"),
        action=action,
        look=RunDiagnosticCommand(host=host.name, command=DiagnosticCommand.UPTIME),
        strangers=_strangers(action),
        state=state,
        settle=lambda: world.run(60),
    )


@pytest.fixture(params=["simulated", "ssh"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Each executor in turn."""
    if request.param == "simulated":
        yield _simulated()
        return
    action = RestartService(host="web-1", unit=UNIT)
    async with loopback_host(tmp_path / "web-1") as host:
        executor = host.executor(command_timeout_s=2.0)
        yield Rig(
            executor=executor,
            action=action,
            look=RunDiagnosticCommand(host="web-1", command=DiagnosticCommand.UPTIME),
            strangers=_strangers(action),
            state=lambda: str(host.restarts),
            settle=lambda: asyncio.sleep(0),
            host=host,
        )
        await executor.close()


def test_it_is_an_executor_of_the_action(rig: Rig) -> None:
    assert isinstance(rig.executor, Executor)
    assert rig.executor.name == rig.action.executor


async def test_preview_and_probe_change_nothing(rig: Rig) -> None:
    before = rig.state()
    preview = await rig.executor.preview(rig.action)
    await rig.executor.probe(rig.action)
    assert rig.state() == before
    assert preview.where
    assert len(preview.commands) == len(rig.action.commands())
    for shown, own in zip(preview.commands, rig.action.commands(), strict=True):
        assert shown[-len(own) :] == own  # perhaps behind sudo, never altered


async def test_executing_changes_the_target_and_the_probe_proves_it(rig: Rig) -> None:
    untouched = rig.state()
    before = await rig.executor.probe(rig.action)
    assert before.outputs
    outcome = await rig.executor.execute(rig.action, key="k")
    assert outcome.succeeded
    assert outcome.error is None
    assert all(result.exit_status == 0 for result in outcome.results)
    assert rig.state() != untouched
    probe = await rig.executor.probe(rig.action, before=before.outputs)
    assert probe.took_effect is True
    assert probe.detail


async def test_without_the_state_before_a_restart_is_not_claimed(rig: Rig) -> None:
    assert (await rig.executor.probe(rig.action)).took_effect is not True
    before = await rig.executor.probe(rig.action)
    assert (await rig.executor.probe(rig.action, before=before.outputs)).took_effect is False


async def test_the_same_key_acts_once(rig: Rig) -> None:
    first = await rig.executor.execute(rig.action, key="k")
    await rig.settle()
    state = await rig.executor.probe(rig.action)
    second = await rig.executor.execute(rig.action, key="k")
    assert second == first
    assert (await rig.executor.probe(rig.action, before=state.outputs)).took_effect is False


async def test_the_same_key_at_the_same_time_acts_once(rig: Rig) -> None:
    both = (rig.executor.execute(rig.action, key="k") for _ in range(2))
    first, second = await asyncio.gather(*both)
    assert first == second
    if rig.host is not None:
        assert rig.host.restarts == 1


async def test_another_key_acts_again(rig: Rig) -> None:
    await rig.executor.execute(rig.action, key="k1")
    await rig.settle()
    state = await rig.executor.probe(rig.action)
    await rig.executor.execute(rig.action, key="k2")
    assert (await rig.executor.probe(rig.action, before=state.outputs)).took_effect is True


async def test_looking_returns_what_was_seen_and_changes_nothing(rig: Rig) -> None:
    before = rig.state()
    outcome = await rig.executor.execute(rig.look, key="k")
    assert outcome.succeeded
    assert isinstance(rig.look, RunDiagnosticCommand)
    assert "load_1" in rig.look.facts(outcome.results[0].output)
    assert rig.state() == before


async def test_unknown_targets_are_refused_before_anything_happens(rig: Rig) -> None:
    before = rig.state()
    for stranger in rig.strangers:
        with pytest.raises(TargetUnknown):
            await rig.executor.preview(stranger)
        with pytest.raises(TargetUnknown):
            await rig.executor.execute(stranger, key="k")
        with pytest.raises(TargetUnknown):
            await rig.executor.probe(stranger)
    assert rig.state() == before


async def test_a_failed_command_is_a_failed_outcome_with_a_reason(rig: Rig) -> None:
    rig.real_host.set_mode("fail")
    outcome = await rig.executor.execute(rig.action, key="k")
    assert not outcome.succeeded
    assert outcome.error
    assert outcome.results[0].exit_status == 1
    assert f"Job for {UNIT} failed" in outcome.results[0].output
    assert (await rig.executor.probe(rig.action)).took_effect is False


async def test_a_time_limit_is_never_a_success(rig: Rig) -> None:
    rig.real_host.set_mode("hang")
    with pytest.raises(ActionInDoubt):
        await rig.executor.execute(rig.action, key="k")


async def test_a_lost_connection_is_never_a_success(rig: Rig, eventually: Eventually) -> None:
    host = rig.real_host
    host.set_mode("hang")
    attempt = asyncio.ensure_future(rig.executor.execute(rig.action, key="k"))
    await eventually(lambda: host.running_pid, 5, "the command to run")
    host.cut_connections()
    with pytest.raises(ActionInDoubt):
        await attempt


async def test_cancelling_stops_what_runs(rig: Rig, eventually: Eventually) -> None:
    host = rig.real_host
    host.set_mode("hang")
    attempt = asyncio.ensure_future(rig.executor.execute(rig.action, key="k"))
    pid = await eventually(lambda: host.running_pid, 5, "the command to run")
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await eventually(lambda: not is_alive(pid), 5, "the process to be gone")


async def test_output_is_bounded(rig: Rig) -> None:
    rig.real_host.set_mode("flood")
    outcome = await rig.executor.execute(rig.action, key="k")
    assert outcome.results[0].is_truncated
    assert len(outcome.results[0].output) <= 1_000_000
