"""What policy forbids for now is waited for: until when, and told once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from it_incident_response.domain.execution import StepState
from it_incident_response.errors import PolicyDelayed, PolicyDenied, TargetLocked
from it_incident_response.safety.limits import Limits
from it_incident_response.safety.policy import Policy
from it_incident_response.safety.windows import WeeklyWindow
from tests.unit.safety.world import T0, World


def with_limits(**limits: Any) -> Policy:
    return Policy.default().model_copy(update={"limits": Limits(max_fleet_share=1, **limits)})


def frozen(**freeze: Any) -> Policy:
    freezes = [{"name": "sale", **freeze}]
    return Policy.model_validate(Policy.default().model_dump(by_alias=True) | {"freezes": freezes})


async def delayed(world: World, plan: Any) -> PolicyDelayed:
    with pytest.raises(PolicyDelayed) as caught:
        await world.gate.run_step(plan, plan.steps[0])
    return caught.value


@pytest.mark.parametrize(
    ("freeze", "seconds"),
    [
        ({"from": T0 - timedelta(hours=1), "until": T0 + timedelta(minutes=10)}, 600),
        ({"weekly": {"days": ["wed"], "start": "10:00", "end": "12:30"}}, 1800),
        ({"weekly": {"start": "10:00", "end": "12:30", "timezone": "Europe/Berlin"}}, None),
        ({"weekly": {"start": "11:00", "end": "13:30", "timezone": "Europe/Berlin"}}, 1800),
    ],
)
async def test_a_freeze_is_waited_for_to_its_end(
    world: World, freeze: dict[str, Any], seconds: float | None
) -> None:
    plan = await world.approved("web-1")
    world.policy = frozen(**freeze)
    if seconds is None:
        assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.FINISHED
        return
    wait = await delayed(world, plan)
    assert (wait.retry_after_s, wait.rule) == (seconds, "freezes.sale")
    world.clock.advance(seconds=seconds)
    assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.FINISHED


async def test_a_freeze_without_end_is_no_delay(world: World) -> None:
    plan = await world.approved("web-1")
    world.policy = frozen(weekly={"start": "00:00", "end": "24:00"})
    with pytest.raises(PolicyDenied) as caught:
        await world.gate.run_step(plan, plan.steps[0])
    assert not isinstance(caught.value, PolicyDelayed)


@pytest.mark.parametrize(
    "limits", [{"max_actions_per_hour": 2}, {"max_actions_per_target_per_hour": 2}]
)
async def test_a_full_hour_is_waited_for_until_the_oldest_action_has_left_it(
    world: World, limits: dict[str, int]
) -> None:
    for _ in range(2):
        plan = await world.approved("web-1")
        assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.FINISHED
        world.clock.advance(minutes=10)
    world.policy = with_limits(**limits)
    plan = await world.approved("web-1")
    wait = await delayed(world, plan)
    assert wait.retry_after_s == 40 * 60
    world.clock.advance(seconds=wait.retry_after_s)
    assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.FINISHED


async def test_a_limit_of_nothing_is_no_delay(world: World) -> None:
    plan = await world.approved("web-1")
    for limits in ({"max_actions_per_hour": 0}, {"max_actions_per_target_per_hour": 0}):
        world.policy = with_limits(**limits)
        with pytest.raises(PolicyDenied) as caught:
            await world.gate.run_step(plan, plan.steps[0])
        assert not isinstance(caught.value, PolicyDelayed)


async def test_the_share_of_a_fleet_is_waited_for(world: World) -> None:
    first, second = await world.approved("web-1"), await world.approved("web-2")
    world.policy = Policy.default().model_copy(update={"limits": Limits(max_fleet_share=0.1)})
    await world.gate.run_step(first, first.steps[0])
    world.clock.advance(minutes=15)
    assert (await delayed(world, second)).retry_after_s == 45 * 60


async def test_a_wait_is_told_once(world: World) -> None:
    plan = await world.approved("web-1")
    world.policy = frozen(**{"from": T0, "until": T0 + timedelta(minutes=30)})
    for _ in range(5):
        await delayed(world, plan)
        world.clock.advance(minutes=1)
    assert await world.events("action") == ["action.delayed"]
    world.policy = with_limits(max_actions_per_hour=1)
    other = await world.approved("web-2")
    await world.gate.run_step(other, other.steps[0])
    for _ in range(3):
        await delayed(world, plan)
    delays = [e for e in await world.events("action") if e == "action.delayed"]
    assert len(delays) == 2, "another reason is told too"


async def test_a_locked_target_says_when_to_ask_again(world: World) -> None:
    plan = await world.approved("web-1")
    target, now = plan.steps[0].target, world.clock.now()
    for hold_s, expected in ((7, 7), (600, 30)):
        until = now + timedelta(seconds=hold_s)
        await world.store.lock_target(target, holder="incident x", now=now, until=until)
        with pytest.raises(TargetLocked) as caught:
            await world.gate.run_step(plan, plan.steps[0])
        assert caught.value.retry_after_s == expected
    assert await world.events("action") == ["action.delayed"]


@pytest.mark.parametrize(
    ("window", "moment", "closes"),
    [
        # Over the nights on which clocks change in Europe: 2026-03-29 and 2026-10-25, at 01:00 UTC.
        ({"start": "22:00", "end": "04:00"}, "2026-03-28T22:30", "2026-03-29T02:00"),
        ({"start": "22:00", "end": "04:00"}, "2026-10-24T21:30", "2026-10-25T03:00"),
        ({"days": ["sat", "sun"]}, "2026-03-07T12:00", "2026-03-08T23:00"),
        ({"days": ["mon"], "start": "20:00", "end": "24:00"}, "2026-03-09T20:00", None),
        ({}, "2026-03-07T12:00", "never"),
    ],
)
def test_a_window_closes_by_the_clock_on_the_wall(
    window: dict[str, Any], moment: str, closes: str | None
) -> None:
    open_window = WeeklyWindow.model_validate({"timezone": "Europe/Berlin", **window})
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert open_window.contains(at)
    closing = open_window.closes_after(at)
    if closes == "never":
        assert closing is None
        return
    expected = closes or "2026-03-09T23:00"
    assert closing == datetime.fromisoformat(expected).replace(tzinfo=UTC)
