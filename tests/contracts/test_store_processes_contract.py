"""What every store promises when several processes use it, and when one is killed."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from it_incident_response.ports.store import IncidentFilter
from it_incident_response.storage.store import SqlStore
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW

pytestmark = pytest.mark.real
"""Starting processes takes seconds: not for the quick run."""

ROOT = Path(__file__).parent.parent.parent

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def start(store_url: str) -> Iterator[Start]:
    """Start a process in a role; it is open and waits for `go` when this returns."""
    with ExitStack() as stack:

        def started(role: str, number: int = 0) -> Process:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.contracts.store_process",
                    store_url,
                    role,
                    str(number),
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, process)
            return process

        yield started


def _end(process: Process) -> None:
    process.kill()
    process.communicate()


def _go(processes: list[Process]) -> None:
    """Wait until all are open, then let them begin together."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def _finish(processes: list[Process]) -> list[str]:
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


async def _everything_is_ingested_once(store: SqlStore, names: set[str], bodies: int) -> None:
    assert await store.inbox_depth() == 0
    incidents = await store.incidents(IncidentFilter(limit=10_000))
    assert sorted(one.key for one in incidents) == [
        f"INC-{n:06d}" for n in range(1, len(names) + 1)
    ]
    alerts = [found for one in incidents for _, found in await store.alerts_of(one.id)]
    assert sorted(one.name for one in alerts) == sorted(names)
    seen = await store.events(limit=10_000)
    assert {event.summary for event in seen} == names
    assert len(names) <= len(seen) <= bodies
    assert (await store.verify_chain()).is_intact


async def test_two_receivers_of_one_alert_open_one_incident(store: SqlStore, start: Start) -> None:
    names = {f"Alert{n}" for n in range(20)}
    bodies = [("alerts", name.encode()) for name in sorted(names) * 4]
    await store.accept(bodies, NOW)
    processes = [start("ingest") for _ in range(2)]
    _go(processes)
    _finish(processes)
    await _everything_is_ingested_once(store, names, len(bodies))


async def test_the_lock_of_a_killed_process_is_free_and_nothing_is_lost(
    store: SqlStore, start: Start
) -> None:
    await store.accept([("alerts", b"Alert1")], NOW)
    process = start("hang")
    _go([process])
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    await store.accept([("alerts", b"Alert2")], NOW)
    process.kill()
    process.wait()

    async with store.ingestion(10) as ingestion:
        assert [item.body for item in ingestion.items] == [b"Alert1", b"Alert2"]
        assert await ingestion.next_incident_number() == 1


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03, 0.07, 0.15])
async def test_killed_anywhere_in_an_ingestion_leaves_no_half_state(
    store: SqlStore, start: Start, delay_s: float
) -> None:
    """Each body is either waiting or completely ingested, whenever the process died."""
    names = {f"Alert{n}" for n in range(200)}
    await store.accept([("alerts", name.encode()) for name in sorted(names)], NOW)
    process = start("ingest")
    _go([process])
    timer = threading.Timer(delay_s, process.kill)
    timer.start()
    process.wait()
    timer.join()

    waiting = await store.inbox_depth()
    incidents = await store.incidents(IncidentFilter(limit=1_000))
    events = await store.events()
    assert len(incidents) == len(events) == len(names) - waiting
    assert sum([len(await store.alerts_of(one.id)) for one in incidents]) == len(incidents)
    assert (await store.verify_chain()).is_intact

    second = start("ingest")
    _go([second])
    _finish([second])
    await _everything_is_ingested_once(store, names, len(names))


async def test_of_deciders_in_several_processes_one_wins(store: SqlStore, start: Start) -> None:
    of = await store.create_incident(make.incident(1), [])
    plan = make.plan(of)
    await store.add_plan(plan, make.approval(plan), [])
    processes = [start("decide", number) for number in range(5)]
    _go(processes)
    outputs = _finish(processes)
    assert sorted(outputs) == ["lost\n"] * 4 + ["won\n"]
    (request,) = await store.approvals()
    assert request.decided_by == f"user-{outputs.index('won' + chr(10))}"
    assert len(await store.events()) == 1


async def test_appends_of_several_processes_make_one_chain(store: SqlStore, start: Start) -> None:
    processes = [start("append", number) for number in range(3)]
    _go(processes)
    _finish(processes)
    report = await store.verify_chain()
    assert (report.is_intact, report.events) == (True, 300)
    kinds = [event.kind for event in await store.events()]
    assert len(set(kinds)) == 300
    assert all(kinds[n].rpartition(".")[0] == kinds[n + 1].rpartition(".")[0]
               for n in range(0, 300, 2))  # fmt: skip


async def test_of_processes_that_want_one_post_no_two_get_the_same_token(
    store: SqlStore, start: Start
) -> None:
    processes = [start("hold", number) for number in range(4)]
    _go(processes)
    tokens = [set(output.split()) for output in _finish(processes)]
    every = sorted(int(token) for own in tokens for token in own)
    assert every == list(range(1, len(every) + 1)), "each token once, none left out"
    last = await store.lease("engine")
    assert last is not None
    assert last.token == every[-1]
