import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.simulation import PacedClock, VirtualClock

START = datetime(2026, 1, 14, 14, 0, tzinfo=UTC)


async def test_sleepers_wake_in_time_order_without_waiting():
    clock = VirtualClock(START)
    woken = []

    async def sleeper(name, *naps):
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, (clock.now() - START).total_seconds()))

    await asyncio.gather(sleeper("slow", 5000), sleeper("quick", 10, 10, 4990), sleeper("one", 10))

    assert woken == [("quick", 10), ("one", 10), ("quick", 20), ("slow", 5000), ("quick", 5010)]


async def test_a_task_that_starts_working_meanwhile_is_not_overtaken():
    clock = VirtualClock(START)
    order = []

    async def long_sleep():
        await clock.sleep(100)
        order.append("long")

    async def works_then_sleeps():
        await asyncio.sleep(0)
        await clock.sleep(1)
        order.append("short")

    await asyncio.gather(long_sleep(), works_then_sleeps())
    assert order == ["short", "long"]


async def test_hold_keeps_time_still():
    clock = VirtualClock(START)
    with clock.hold():
        nap = asyncio.create_task(clock.sleep(60))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not nap.done()
        assert clock.now() == START
    await nap
    assert clock.now() == START + timedelta(seconds=60)


async def test_cancelled_sleeper_does_not_move_time():
    clock = VirtualClock(START)
    with clock.hold():
        nap = asyncio.create_task(clock.sleep(60))
        await asyncio.sleep(0)
        nap.cancel()
    await clock.sleep(1)
    assert clock.now() == START + timedelta(seconds=1)


async def test_advance_by_hand_wakes_those_whose_time_came():
    clock = VirtualClock(START)
    with clock.hold():
        early = asyncio.create_task(clock.sleep(10))
        late = asyncio.create_task(clock.sleep(100))
        await asyncio.sleep(0)
        clock.advance(50)
        await early
        assert not late.done()
    await late
    assert clock.now() == START + timedelta(seconds=100)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


async def test_paced_clock_runs_faster_than_real_time():
    clock = PacedClock(START, speed=5000)
    await clock.sleep(50)
    assert clock.now() >= START + timedelta(seconds=50)


@pytest.mark.parametrize("speed", [0, -1, 10_001])
def test_paced_clock_refuses_an_absurd_speed(speed):
    with pytest.raises(ValueError, match="speed"):
        PacedClock(START, speed=speed)
