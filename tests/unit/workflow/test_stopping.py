"""How a worker stops: actions may end, everything else is given back for the next one."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from it_incident_response.domain.ids import IncidentId
from it_incident_response.workflow.worker import Worker, WorkerSettings
from tests.real.stack.waiting import Eventually

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ONE = IncidentId("one")


class Clock:
    def now(self) -> datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Queue:
    """One incident that is due once, and what became of its lease."""

    def __init__(self) -> None:
        self.due = [ONE]
        self.released: list[tuple[IncidentId, datetime | None]] = []

    async def claim_due(self, *_: Any, **__: Any) -> list[IncidentId]:
        due, self.due = self.due, []
        return due

    async def release(
        self, incident_id: IncidentId, *, worker: str, due_again_at: datetime | None
    ) -> None:
        self.released.append((incident_id, due_again_at))


class Workflow:
    """Acts, then verifies for ever."""

    def __init__(self) -> None:
        self.acting: set[IncidentId] = set()
        self.may_end = asyncio.Event()
        self.steps: list[str] = []

    async def advance(self, incident_id: IncidentId) -> None:
        self.acting.add(incident_id)
        self.steps.append("acting")
        try:
            await self.may_end.wait()
            self.steps.append("acted")
        finally:
            self.acting.discard(incident_id)
        await asyncio.Event().wait()


class Detection:
    """Has nothing to take in; `failures` are raised first."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    async def ingest(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


async def _nothing(_: datetime) -> None:
    return None


class Started:
    """A worker at work."""

    def __init__(self, grace_s: float, detection: Detection | None = None) -> None:
        self.queue, self.workflow = Queue(), Workflow()
        made: Any = (self.queue, Clock(), detection or Detection(), self.workflow)
        settings = WorkerSettings(name="me", grace_s=grace_s, idle_s=0.01)
        self.worker = Worker(*made, settings)
        self.task = asyncio.create_task(
            self.worker.run(source=None, conditions=None, chore=_nothing)
        )

    async def stopped(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def test_an_action_under_way_may_end_and_nothing_else_begins(eventually: Eventually) -> None:
    started = Started(grace_s=30)
    await eventually(lambda: started.workflow.acting, 5, "an action")
    started.task.cancel()
    await asyncio.sleep(0)
    assert started.queue.released == []
    started.workflow.may_end.set()
    await asyncio.wait_for(started.stopped(), 5)
    assert started.workflow.steps == ["acting", "acted"]
    assert started.queue.released == [(ONE, NOW)]


async def test_an_action_without_end_is_cut_off(eventually: Eventually) -> None:
    started = Started(grace_s=0.2)
    await eventually(lambda: started.workflow.acting, 5, "an action")
    started.task.cancel()
    await asyncio.wait_for(started.stopped(), 5)
    assert started.workflow.steps == ["acting"]
    assert started.queue.released == [(ONE, NOW)]


async def test_a_bug_while_taking_in_does_not_end_the_worker(
    eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    started = Started(0.1, Detection(ZeroDivisionError("a bug"), KeyError("another")))
    await eventually(lambda: started.workflow.acting, 5, "the incident to be handled")
    assert caplog.text.count("looking for work failed unexpectedly") == 2
    started.task.cancel()
    await asyncio.wait_for(started.stopped(), 5)
