"""The worker's loop: it outlives errors, keeps its leases, and gives everything back at the end."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from it_incident_response.errors import ConnectorUnavailable, StoreUnavailable
from it_incident_response.ports import SystemClock
from it_incident_response.workflow.worker import Worker, WorkerSettings

WITHIN_S = 10
QUICK = WorkerSettings(
    name="w1", idle_s=0.01, poll_s=0.01, chores_s=0.01, retry_s=60, lease_s=0.06, grace_s=5
)


class Queue:
    """Incidents that are due, and what became of them."""

    def __init__(self, *due):
        self.due = list(due)
        self.released = []
        self.renewals = 0
        self.is_ours = True
        self.renewal_error = None

    async def claim_due(self, now, *, worker, lease_s, limit):
        taken, self.due = self.due[:limit], self.due[limit:]
        return taken

    async def renew(self, incident_id, *, worker, until):
        self.renewals += 1
        if self.renewal_error is not None:
            raise self.renewal_error
        return self.is_ours

    async def release(self, incident_id, *, worker, due_again_at):
        self.released.append((incident_id, due_again_at))


class Detection:
    """Ingests nothing, and fails as told."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.polls = 0

    async def ingest(self):
        if self.errors:
            raise self.errors.pop(0)

    async def poll(self, source, conditions):
        self.polls += 1
        if self.polls == 1:
            raise ConnectorUnavailable("prometheus", "down")
        return 1


class Workflow:
    """Each incident ends as its function says."""

    def __init__(self, **ends):
        self.ends = ends
        self.acting = set()
        self.began = []

    async def advance(self, incident_id):
        self.began.append(incident_id)
        return await self.ends.get(incident_id, rest)()


async def rest():
    return None


async def forever():
    await asyncio.Event().wait()


def failing(error):
    async def fail():
        raise error

    return fail


async def no_chore(now):
    return None


@asynccontextmanager
async def running(worker, source=None, chore=no_chore):
    task = asyncio.create_task(worker.run(source=source, conditions=None, chore=chore))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def worker_of(queue, workflow, detection=None, settings=QUICK):
    return Worker(queue, SystemClock(), detection or Detection(), workflow, settings)


async def test_one_bad_incident_stops_no_other(eventually):
    queue = Queue("bad", "worse", "good")
    bad = failing(ConnectorUnavailable("prometheus", "down"))
    workflow = Workflow(bad=bad, worse=failing(ZeroDivisionError("a bug")))
    before = SystemClock().now()
    async with running(worker_of(queue, workflow)):
        await eventually(lambda: len(queue.released) == 3, WITHIN_S, "all given back")
    due = dict(queue.released)
    assert due["good"] is None
    assert 59 < (due["bad"] - before).total_seconds() < 80
    assert (due["worse"] - before).total_seconds() > 500


async def test_it_outlives_whatever_the_database_does(eventually):
    queue = Queue("good")
    detection = Detection(StoreUnavailable("locked"), ZeroDivisionError("a bug"))
    async with running(worker_of(queue, Workflow(), detection)) as task:
        await eventually(lambda: queue.released, WITHIN_S, "work after errors")
        assert not task.done()


async def test_alerts_are_read_and_chores_done_again_after_errors(eventually):
    detection, chores = Detection(), []

    async def chore(now):
        chores.append(now)
        if len(chores) == 1:
            raise StoreUnavailable("locked")

    async with running(worker_of(Queue(), Workflow(), detection), object(), chore):
        await eventually(lambda: detection.polls > 2 and len(chores) > 2, WITHIN_S, "go on")


async def test_leases_are_kept_while_it_works_and_through_a_lock(eventually):
    queue = Queue("long")
    queue.renewal_error = StoreUnavailable("locked")
    async with running(worker_of(queue, Workflow(long=forever))):
        await eventually(lambda: queue.renewals >= 2, WITHIN_S, "renewals")
        queue.renewal_error = None
        seen = queue.renewals
        await eventually(lambda: queue.renewals > seen, WITHIN_S, "more renewals")
        assert queue.released == []


async def test_what_another_worker_has_now_is_dropped(eventually):
    queue = Queue("lost")
    queue.is_ours = False
    async with running(worker_of(queue, Workflow(lost=forever))) as task:
        await eventually(lambda: queue.released, WITHIN_S, "dropping it")
        assert not task.done()


async def test_stopping_gives_everything_back_at_once(eventually):
    queue, workflow = Queue("one", "two"), Workflow(one=forever, two=forever)
    async with running(worker_of(queue, workflow)):
        await eventually(lambda: len(workflow.began) == 2, WITHIN_S, "both under way")
        before = SystemClock().now()
    assert {incident for incident, _ in queue.released} == {"one", "two"}
    assert all((due - before).total_seconds() < 5 for _, due in queue.released)


async def test_stopping_lets_an_action_under_way_end(eventually):
    may_end = asyncio.Event()
    workflow = Workflow()
    ended = []

    async def act():
        workflow.acting.add("acting")
        await may_end.wait()
        workflow.acting.discard("acting")
        ended.append("acting")

    workflow.ends = {"acting": act}
    worker = worker_of(Queue("acting"), workflow)
    task = asyncio.create_task(worker.run(source=None, conditions=None, chore=no_chore))
    await eventually(lambda: workflow.acting, WITHIN_S, "the action")
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.3)
    assert not done, "it was cut off"
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, WITHIN_S)
    assert ended == ["acting"]


async def test_at_most_so_many_at_once_and_fewer_under_pressure(eventually):
    settings = QUICK.model_copy(update={"incidents_at_once": 3})
    many = {f"i{number}": forever for number in range(6)}
    for is_pressed, expected in ((False, 3), (True, 2)):
        workflow = Workflow(**many)
        worker = worker_of(Queue(*many), workflow, settings=settings)
        worker.give_way_while(lambda is_pressed=is_pressed: is_pressed)
        async with running(worker):
            await eventually(
                lambda workflow=workflow, n=expected: len(workflow.began) == n, WITHIN_S, "a start"
            )
        assert len(workflow.began) == expected
