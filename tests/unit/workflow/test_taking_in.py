"""Taking in: it outlives errors, reads and does its chores again, and lets senders go first."""

import asyncio
from contextlib import asynccontextmanager, suppress

from it_incident_response.errors import ConnectorUnavailable, StoreUnavailable
from it_incident_response.ports import SystemClock
from it_incident_response.workflow.taking_in import Polled, TakingIn, TakingInSettings

WITHIN_S = 10
QUICK = TakingInSettings(idle_s=0.01, poll_s=0.01, chores_s=0.01)


class Detection:
    """Has so many bodies to take in, and fails as told."""

    def __init__(self, bodies=0, errors=()):
        self.bodies = bodies
        self.errors = list(errors)
        self.polls = 0

    async def ingest(self):
        if self.errors:
            raise self.errors.pop(0)
        if not self.bodies:
            return None
        self.bodies -= 1
        return "outcome"

    async def poll(self, source, conditions):
        self.polls += 1
        if self.polls == 1:
            raise ConnectorUnavailable("prometheus", "down")
        return 1


async def no_chore(now):
    return None


@asynccontextmanager
async def running(taking_in, source=None, chore=no_chore):
    task = asyncio.create_task(taking_in.run(source=source, conditions=None, chore=chore))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def taking_in_of(detection, told=None):
    told = [] if told is None else told
    return TakingIn(SystemClock(), detection, QUICK, then=lambda: told.append("told"))


async def test_it_outlives_whatever_the_database_does_and_tells_the_outbox(eventually):
    told = []
    detection = Detection(3, [StoreUnavailable("locked"), ZeroDivisionError("a bug")])
    async with running(taking_in_of(detection, told)) as task:
        await eventually(lambda: detection.bodies == 0, WITHIN_S, "all taken in")
        await eventually(lambda: len(told) == 3, WITHIN_S, "the outbox told")
        assert not task.done()


async def test_alerts_are_read_and_chores_done_again_after_errors(eventually):
    detection, chores = Detection(), []

    async def chore(now):
        chores.append(now)
        if len(chores) == 1:
            raise StoreUnavailable("locked")

    async with running(taking_in_of(detection), object(), chore):
        await eventually(lambda: detection.polls > 2 and len(chores) > 2, WITHIN_S, "go on")


async def test_a_source_that_is_down_is_reported_once_until_it_is_back(eventually, caplog):
    class Down(Detection):
        async def poll(self, source, conditions):
            self.polls += 1
            raise ConnectorUnavailable("prometheus", "down")

    detection = Down()
    async with running(taking_in_of(detection), object()):
        await eventually(lambda: detection.polls > 5, WITHIN_S, "many attempts")
    assert sum("reading alerts" in record.message for record in caplog.records) == 1


async def test_a_further_source_is_read_though_the_main_one_is_down(eventually):
    class OneDown(Detection):
        async def poll(self, source, conditions):
            if source == "main":
                raise ConnectorUnavailable("prometheus", "down")
            assert (source, conditions) == ("logs", "its conditions")
            self.polls += 1
            return 1

    told, detection = [], OneDown()
    taking_in = taking_in_of(detection, told)
    more = Polled("logs", "its conditions", 0.01, "looking for trouble in logs")
    run = taking_in.run(source="main", conditions=None, chore=no_chore, also=[more])
    task = asyncio.create_task(run)
    await eventually(lambda: detection.polls > 2 and len(told) > 2, WITHIN_S, "it is read")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_under_pressure_it_gives_way_but_starves_nobody(eventually):
    detection = Detection(5)
    taking_in = taking_in_of(detection)
    taking_in.give_way_while(lambda: True)
    async with running(taking_in):
        await eventually(lambda: detection.bodies == 0, WITHIN_S, "all taken in all the same")
