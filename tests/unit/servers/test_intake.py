"""Group commit: stored before answered, together where possible, nobody lost or left waiting."""

import asyncio

import pytest

from it_incident_response.errors import StoreUnavailable
from it_incident_response.servers import intake as intake_module
from it_incident_response.servers.intake import Intake, Overloaded


async def test_a_body_is_answered_after_it_is_stored_not_before(inbox, clock, eventually):
    inbox.gate.clear()
    async with Intake(inbox, clock) as intake:
        waiting = asyncio.create_task(intake.accept("alerts", b"1"))
        await eventually(lambda: inbox.calls == 1, 5, "the store is asked")
        assert not waiting.done()
        inbox.gate.set()
        await waiting
        assert inbox.stored == [("alerts", b"1")]


async def test_bodies_that_arrive_during_a_transaction_share_the_next(inbox, clock, eventually):
    inbox.gate.clear()
    async with Intake(inbox, clock) as intake:
        first = asyncio.create_task(intake.accept("alerts", b"first"))
        await eventually(lambda: inbox.calls == 1, 5, "the store is asked")
        rest = [asyncio.create_task(intake.accept("alerts", b"%d" % n)) for n in range(50)]
        await asyncio.sleep(0)
        inbox.gate.set()
        await asyncio.gather(first, *rest)
    assert inbox.batches == [1, 50]
    assert [body for _, body in inbox.stored] == [b"first", *(b"%d" % n for n in range(50))]


async def test_a_batch_is_bounded(inbox, clock, monkeypatch):
    monkeypatch.setattr(intake_module, "BATCH_ITEMS_MAX", 3)
    monkeypatch.setattr(intake_module, "BATCH_BYTES_MAX", 100)
    async with Intake(inbox, clock) as intake:
        await asyncio.gather(*(intake.accept("alerts", b"x") for _ in range(7)))
        await asyncio.gather(*(intake.accept("alerts", b"x" * 60) for _ in range(4)))
    assert inbox.batches == [3, 3, 1, 2, 2]


async def test_when_the_store_is_down_everybody_is_told_and_it_recovers(inbox, clock):
    inbox.failure = StoreUnavailable("locked")
    async with Intake(inbox, clock) as intake:
        results = await asyncio.gather(
            *(intake.accept("alerts", b"x") for _ in range(5)), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreUnavailable] * 5
        inbox.failure = None
        await intake.accept("alerts", b"y")
    assert inbox.stored == [("alerts", b"y")]


async def test_one_body_the_store_chokes_on_does_not_take_its_neighbours_with_it(inbox, clock):
    inbox.poison = b"bad"
    async with Intake(inbox, clock) as intake:
        results = await asyncio.gather(
            *(intake.accept("alerts", body) for body in (b"1", b"bad", b"2")),
            return_exceptions=True,
        )
        await intake.accept("alerts", b"3")
    assert results[0] is None
    assert isinstance(results[1], StoreUnavailable)
    assert results[2] is None
    assert [body for _, body in inbox.stored] == [b"1", b"2", b"3"]


async def test_a_store_that_hangs_costs_the_sender_a_bounded_wait(inbox, clock):
    inbox.gate.clear()
    async with Intake(inbox, clock, stored_within_s=0.02) as intake:
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.02 s"):
            await intake.accept("alerts", b"x")
        inbox.gate.set()


async def test_a_sender_that_left_before_its_turn_is_not_stored(inbox, clock, eventually):
    inbox.gate.clear()
    async with Intake(inbox, clock) as intake:
        first = asyncio.create_task(intake.accept("alerts", b"first"))
        await eventually(lambda: inbox.calls == 1, 5, "the store is asked")
        second = asyncio.create_task(intake.accept("alerts", b"second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        inbox.gate.set()
        await first
    assert inbox.stored == [("alerts", b"first")]


async def test_leaving_stores_what_waits_and_refuses_what_comes_after(inbox, clock, eventually):
    inbox.gate.clear()
    intake = Intake(inbox, clock)
    await intake.__aenter__()
    waiting = [asyncio.create_task(intake.accept("alerts", b"%d" % n)) for n in range(3)]
    await eventually(lambda: inbox.calls == 1, 5, "the store is asked")
    leaving = asyncio.create_task(intake.__aexit__(None, None, None))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="shutting down"):
        await intake.accept("alerts", b"late")
    inbox.gate.set()
    await asyncio.gather(leaving, *waiting)
    assert sorted(body for _, body in inbox.stored) == [b"0", b"1", b"2"]


async def test_the_worker_is_woken_after_each_transaction(inbox, clock):
    woken = []
    async with Intake(inbox, clock, on_stored=lambda: woken.append(len(inbox.stored))) as intake:
        await intake.accept("alerts", b"1")
        await intake.accept("alerts", b"2")
        assert intake.batches == 2
    assert woken == [1, 2]


async def test_memory_is_counted_and_bounded(inbox, clock):
    intake = Intake(inbox, clock, held_bytes_max=100)
    with intake.reservation() as one, intake.reservation() as other:
        one.add(60)
        with pytest.raises(Overloaded):
            other.add(41)
        other.add(40)
        assert intake.held_bytes == 100
    assert intake.held_bytes == 0
