"""The outbox: what is due stays due until the engine has taken it."""

import asyncio
from contextlib import asynccontextmanager, suppress

from it_incident_response.errors import ConnectorUnavailable, StoreUnavailable
from it_incident_response.ports import SystemClock
from it_incident_response.workflow.outbox import Outbox, OutboxSettings

WITHIN_S = 10
QUICK = OutboxSettings(name="w1", idle_s=30, retry_s=0.01)


class Queue:
    """Incidents that are due, as the store hands them out and takes them back."""

    def __init__(self, *due):
        self.due = list(due)
        self.errors = []
        self.leases = []

    async def claim_due(self, now, *, worker, lease_s, limit):
        if self.errors:
            raise self.errors.pop(0)
        taken, self.due = self.due[:limit], self.due[limit:]
        self.leases += taken
        return taken

    async def release(self, incident_id, *, worker, due_again_at):
        self.leases.remove(incident_id)
        if due_again_at is not None:
            self.due.append(incident_id)


class Engine:
    """Takes signals, or is away."""

    def __init__(self, failures=0):
        self.failures = failures
        self.woken = []

    async def wake(self, incident_id):
        if self.failures:
            self.failures -= 1
            raise ConnectorUnavailable("temporal", "away")
        self.woken.append(incident_id)


@asynccontextmanager
async def running(outbox, engine):
    task = asyncio.create_task(outbox.run(engine.wake))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_due_incident_is_told_once(eventually):
    queue, engine = Queue("a", "b", "c"), Engine()
    async with running(Outbox(queue, SystemClock(), QUICK), engine):
        await eventually(lambda: len(engine.woken) == 3, WITHIN_S, "all told")
    assert sorted(engine.woken) == ["a", "b", "c"]
    assert queue.due == queue.leases == []


async def test_nothing_is_lost_while_the_engine_is_away(eventually, caplog):
    queue, engine = Queue("a", "b"), Engine(failures=7)
    async with running(Outbox(queue, SystemClock(), QUICK), engine):
        await eventually(lambda: set(engine.woken) == {"a", "b"}, WITHIN_S, "all told in the end")
        await eventually(lambda: not queue.leases, WITHIN_S, "all taken out")
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1, "one line while it is away, not one for each attempt"


async def test_it_outlives_whatever_the_database_does(eventually):
    queue, engine = Queue("a"), Engine()
    queue.errors = [StoreUnavailable("locked"), ZeroDivisionError("a bug")]
    async with running(Outbox(queue, SystemClock(), QUICK), engine):
        await eventually(lambda: engine.woken == ["a"], WITHIN_S, "told after errors")


async def test_told_it_looks_at_once(eventually):
    queue, engine = Queue(), Engine()
    outbox = Outbox(queue, SystemClock(), QUICK)
    async with running(outbox, engine):
        await asyncio.sleep(0)
        queue.due.append("a")
        await eventually(lambda: bool(outbox.tell() or engine.woken), WITHIN_S, "told")
