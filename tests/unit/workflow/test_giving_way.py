"""The worker lets senders go first, and nobody starves."""

import asyncio
from typing import Any

from it_incident_response.ports import SystemClock
from it_incident_response.workflow.worker import (
    PRESSED_INCIDENTS_AT_ONCE,
    Worker,
    WorkerSettings,
)


class Queue:
    def __init__(self) -> None:
        self.limits: list[int] = []

    async def claim_due(self, _now: object, *, limit: int, **_: object) -> list[Any]:
        self.limits.append(limit)
        return []


class Detection:
    async def ingest(self) -> None:
        return None


def _worker(queue: Queue) -> Worker:
    unused: Any = None
    settings = WorkerSettings(name="w")
    return Worker(queue, SystemClock(), Detection(), unused, settings)  # type: ignore[arg-type]


async def test_fewer_incidents_are_begun_while_senders_wait() -> None:
    queue, pressed = Queue(), [True]
    worker = _worker(queue)
    worker.give_way_while(lambda: pressed[0])
    await asyncio.wait_for(worker.drain(), 5)
    pressed[0] = False
    await asyncio.wait_for(worker.drain(), 5)
    assert queue.limits == [PRESSED_INCIDENTS_AT_ONCE, WorkerSettings(name="w").incidents_at_once]
