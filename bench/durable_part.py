"""One part of `bench durable` in a process of its own: `python -m bench.durable_part PART N`.

Prints one JSON document. Everything is what `iir serve` composes (SQLite store, embedded Temporal,
worker, outbox, gate, journal, policy), without its HTTP door: alerts go straight into the inbox.
"""

import asyncio
import json
import logging
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.fleet import POLICY, Fleet, alert_body
from it_incident_response.config import load
from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.errors import Conflict
from it_incident_response.ports import IncidentFilter, SystemClock
from it_incident_response.storage import open_store
from it_incident_response.system import durable
from it_incident_response.system.adapters import Adapters
from it_incident_response.system.composition import Runtime
from it_incident_response.workflow import engine_worker

WITHIN_S = 400.0
SETTLE_S = 10.0
IDLE_S = 60.0
APPROVERS = 4
"""Decisions made at the same time, as by that many people."""
ONE_BY_ONE = 12
SETTINGS = {
    "verification.soak": "0s",
    "verification.poll": "1s",
    "approval.timeout": "1h",
    "worker.actions_per_second": 1000.0,
    "worker.actions_at_once": 64,
}
"""No soak: how long a fix is watched says nothing about us. Actions as fast as they are ordered."""


class Usage:
    """CPU seconds and memory of this process and of the Temporal server, its only child."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.at = self._read()

    def since(self) -> dict[str, float]:
        """Return the seconds since it was made and the CPU seconds of each process in them."""
        now = self._read()
        seconds = time.monotonic() - self.began
        return {"s": seconds} | {f"{name} cpu s": now[name] - self.at[name] for name in now}

    @staticmethod
    def memory_mb() -> dict[str, float]:
        """Return the resident memory of each process in MB (10^6 bytes)."""
        return {name: _rss_mb(pid) for name, pid in _pids().items()}

    @staticmethod
    def _read() -> dict[str, float]:
        return {name: _cpu_s(pid) for name, pid in _pids().items()}


def _pids() -> dict[str, int]:
    own = os.getpid()
    children: list[int] = []
    for task in Path(f"/proc/{own}/task").iterdir():
        children += map(int, (task / "children").read_text().split())
    return {"ours": own} | dict(zip(("temporal",), children, strict=False))


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


class Bench:
    """An opened runtime on a fleet."""

    def __init__(self, runtime: Runtime, fleet: Fleet) -> None:
        self.runtime = runtime
        self.fleet = fleet
        database = runtime.settings.database_url.get_secret_value().removeprefix("sqlite:///")
        self._beside = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        self.alerts = 0
        self.refused = 0

    async def post(self, count: int) -> None:
        """Store alerts of `count` services that were fine so far, as the webhook's door does."""
        bodies = [("alertmanager", alert_body(self.alerts + n)) for n in range(count)]
        self.alerts += count
        await self.runtime.store.accept(bodies, self.runtime.clock.now())
        self.runtime.taking_in.wake()

    async def approve_pending(self) -> int:
        """Approve every request that waits; returns how many there were."""
        waiting = await self.runtime.store.approvals(status=ApprovalStatus.PENDING)
        gate = asyncio.Semaphore(APPROVERS)

        async def approve(request: Any) -> None:
            async with gate:
                try:
                    await self.runtime.approvals.approve(
                        request.id, by="bench", via="bench", plan_digest=request.plan_digest
                    )
                except Conflict:  # Voided meanwhile, by the same alert's second report for one.
                    self.refused += 1
                self.runtime.outbox.tell()

        await asyncio.gather(*map(approve, waiting))
        return len(waiting)

    async def approving(self) -> None:
        """Approve what waits until cancelled."""
        while True:
            if not (await self.pending() and await self.approve_pending()):
                await asyncio.sleep(0.02)

    async def written_up(self) -> int:
        """Return how many incidents are over and written up."""
        return self._count("incidents WHERE json_extract(body, '$.written_up_at') IS NOT NULL")

    async def until(self, count: Callable[[], Awaitable[int]], wanted: int) -> float:
        """Return the seconds until `count` is `wanted`; raises `TimeoutError`."""
        began = time.monotonic()
        while (there := await count()) < wanted:
            if time.monotonic() - began > WITHIN_S:
                raise TimeoutError(f"{there} of {wanted} after {WITHIN_S:g} s")
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    async def pending(self) -> int:
        """Return how many requests wait for approval."""
        return self._count("approvals WHERE status = 'pending'")

    def _count(self, what: str) -> int:
        # By a connection of its own: to ask the store so often would be what is measured.
        return int(self._beside.execute(f"SELECT count(*) FROM {what}").fetchone()[0])

    async def truth(self) -> dict[str, int]:
        """Return what record, journal and fleet say: nothing lost, nothing twice."""
        store = self.runtime.store
        incidents = await store.incidents(IncidentFilter(limit=5000))
        rows = [row for each in incidents for row in await store.executions_of(each.id)]
        finished = [(r.incident_id, r.step) for r in rows if r.state is StepState.FINISHED]
        return {
            "posted": self.alerts,
            "incidents": len(incidents),
            "resolved": sum(i.status is IncidentStatus.RESOLVED for i in incidents),
            "handed to a human": sum(i.escalation is not None for i in incidents),
            "steps finished": len(set(finished)),
            "steps twice": len(rows) - len({(r.incident_id, r.step) for r in rows}),
            "restarted once": sum(n == 1 for n in self.fleet.restarts.values()),
            "restarted again": sum(n > 1 for n in self.fleet.restarts.values()),
            "decisions refused": self.refused,
        }


@asynccontextmanager
async def opened(fleet: Fleet) -> AsyncIterator[Bench]:
    """Open a new database and compose everything over the fleet."""
    with tempfile.TemporaryDirectory(prefix="iir-bench-") as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(POLICY)
        given = {**SETTINGS, "data_dir": name, "policy": str(folder / "policy.yaml")}
        settings = load(file=None, environ={}, overrides=given, cwd=folder).settings
        adapters = Adapters(
            clock=SystemClock(),
            inventory=fleet.inventory,
            conditions=fleet,
            metrics=fleet,
            executors={"ssh": fleet},
        )
        store = open_store(settings.database_url.get_secret_value(), clock=adapters.clock)
        await store.open()
        try:
            yield Bench(Runtime(settings, adapters, store), fleet)
        finally:
            await store.close()


@asynccontextmanager
async def serving(bench: Bench) -> AsyncIterator[Bench]:
    """Do what `iir serve` does in the background while the block runs."""
    from it_incident_response.cli.work import Housekeeping

    runtime = bench.runtime
    worker = engine_worker.WorkerSettings(
        queue_prefix=runtime.settings.engine.queue_prefix,
        executors=("ssh",),
        **runtime.settings.worker.model_dump(),
    )
    service = durable.DurableService(runtime, runtime.outbox, worker)
    jobs = [
        asyncio.create_task(service.run()),
        asyncio.create_task(
            runtime.taking_in.run(
                source=None, conditions=bench.fleet, chore=Housekeeping(runtime).run
            )
        ),
    ]
    await service.is_working.wait()
    try:
        yield bench
    finally:
        for job in jobs:
            job.cancel()
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        for error in ended:
            if not isinstance(error, asyncio.CancelledError):
                print(f"a job ended with {error!r}", file=sys.stderr)


async def throughput(count: int) -> dict[str, Any]:
    """One incident after another, then `count` at once, each approved as soon as it asks."""
    async with opened(Fleet(count + ONE_BY_ONE + 1)) as bench, serving(bench):
        approver = asyncio.create_task(bench.approving())
        await bench.post(1)  # the first one loads what is loaded when first used
        await bench.until(bench.written_up, 1)
        alone = []
        for number in range(ONE_BY_ONE):
            began = time.monotonic()
            await bench.post(1)
            while await bench.written_up() < number + 2:
                await asyncio.sleep(0.005)
            alone.append(time.monotonic() - began)
        usage = Usage()
        await bench.post(count)
        await bench.until(bench.written_up, count + ONE_BY_ONE + 1)
        used = usage.since()
        approver.cancel()
        return {
            "count": count,
            "alone": {"p50": statistics.median(alone), "p95": sorted(alone)[-1]},
            "used": used,
            "memory": Usage.memory_mb(),
            "history": await _history(bench),
            "truth": await bench.truth(),
        }


async def _history(bench: Bench) -> dict[str, float]:
    """Return the mean number of events and bytes of the workflows' histories."""
    from it_incident_response.workflow.engine.connection import connect
    from it_incident_response.workflow.engine.embedded import running_address

    settings = bench.runtime.settings.engine
    client = await connect(settings, running_address(settings))
    lengths, sizes = [], []
    async for found in client.list_workflows(limit=20):
        described = await client.get_workflow_handle(found.id, run_id=found.run_id).describe()
        lengths.append(described.history_length)
        sizes.append(described.raw_description.workflow_execution_info.history_size_bytes)
    return {"events": statistics.mean(lengths), "bytes": statistics.mean(sizes)}


async def parked(count: int, *, is_data: bool = False) -> dict[str, Any]:
    """`count` incidents wait for approval; then all are approved and finish."""
    if is_data:
        _take_the_alternative()
    async with opened(Fleet(count)) as bench, serving(bench):
        await bench.post(count)
        parking_s = await bench.until(bench.pending, count)
        await asyncio.sleep(SETTLE_S)
        memory, usage = Usage.memory_mb(), Usage()
        await asyncio.sleep(IDLE_S)
        idle = usage.since()
        usage = Usage()
        await bench.approve_pending()
        await bench.until(bench.written_up, count)
        return {
            "count": count,
            "parking s": parking_s,
            "memory": memory,
            "idle": idle,
            "finish": usage.since(),
            "memory after": Usage.memory_mb(),
            "truth": await bench.truth(),
        }


def _take_the_alternative() -> None:
    """Replace the workflow by the one that ends where it would wait."""
    from bench.approval_as_data import EndingWorkflow, ParkingActivities

    async def nothing(*_: Any) -> None:
        await asyncio.Event().wait()

    engine_worker.IncidentWorkflow = EndingWorkflow  # type: ignore[misc]
    durable.IncidentActivities = ParkingActivities  # type: ignore[misc]
    # It would start a workflow for each incident that waits without one.
    durable.DurableService._reconcile = nothing  # type: ignore[method-assign]


async def direct(count: int) -> dict[str, Any]:
    """The same incidents by the same stages, one after the other, without an engine."""
    async with opened(Fleet(count + 1)) as bench:
        await _carry(bench, 1)
        usage = Usage()
        await _carry(bench, count)
        return {"count": count, "used": usage.since(), "truth": await bench.truth()}


async def _carry(bench: Bench, count: int) -> None:
    await bench.post(count)
    await bench.runtime.direct.drain()
    await bench.approve_pending()
    await bench.runtime.direct.drain()


def main() -> None:
    """Run the part that is named."""
    logging.basicConfig(level=logging.WARNING)
    part, count = sys.argv[1], int(sys.argv[2])
    work = {
        "throughput": throughput,
        "parked": parked,
        "data": lambda n: parked(n, is_data=True),
        "direct": direct,
    }[part]
    print(json.dumps(asyncio.run(work(count))))


if __name__ == "__main__":
    main()
