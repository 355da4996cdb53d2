"""Two workers, one PostgreSQL, one Temporal server: one is killed, the other goes on."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.ports import SystemClock
from it_incident_response.storage import open_store
from it_incident_response.workflow.incident_workflow import HEARTBEAT
from tests.crash.driver import ROOT
from tests.crash.life import Orders, settings_of
from tests.crash.points import Case
from tests.crash.targets import Truth
from tests.crash.verdict import Evidence, gather, judge
from tests.real.stack.temporal import TemporalServer
from tests.real.stack.waiting import WaitUntil

MARGIN_S = 15.0
"""Beyond the heartbeat timeout: the engine's own delays, on a machine that does more than this."""
ENDS_S = 300.0
PERSON = 1
"""The number of the worker in whose process the person sits who settles what is in doubt."""


class Pair:
    """Two workers in one folder of truth; whoever is asked first opens the incidents."""

    def __init__(self, folder: Path, database: str, address: str, takes_s: float) -> None:
        self._folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        self.orders = Orders(
            number=0,
            victim=None,
            address=address,
            database=database,
            prefix="iir",
            began=time.time(),
            slots=20,
            cases=[],
            takes_s=takes_s,
            stays=True,
        )
        folder.mkdir()

    @contextmanager
    def working(self, cases: list[Case]) -> Iterator["Pair"]:
        """Run two workers; the first opens the incidents."""
        try:
            for number, mine in enumerate((cases, [])):
                data = asdict(self.orders) | {
                    "number": number,
                    "cases": [case.as_data() for case in mine],
                    "looks_after": number == PERSON,
                }
                (self._folder / f"orders-{number}").write_text(json.dumps(data))
                self._children.append(self._start(number))
            yield self
        finally:
            for child in self._children:
                child.kill()
                child.wait()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        with (self._folder / f"log-{number}").open("wb") as log:
            return subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--", sys.executable),
                    *("-m", "tests.crash.life", str(self._folder), f"orders-{number}"),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def steps_of(self, number: int) -> int:
        """Return how many steps a worker has begun."""
        return (self._folder / f"log-{number}").read_text().count(": execute (")

    def is_working(self, number: int) -> bool:
        """Tell whether a worker takes tasks."""
        return "working on the queues" in (self._folder / f"log-{number}").read_text()

    def kill(self, number: int) -> None:
        """Kill a worker."""
        self._children[number].kill()
        self._children[number].wait()

    def call_the_person_back(self) -> None:
        """Start the worker again beside which the person sat, if it is the dead one."""
        if self._children[PERSON].poll() is not None:
            self._children[PERSON] = self._start(PERSON)

    @property
    def truth(self) -> Truth:
        """What really ran."""
        return Truth(self._folder / "truth")

    def evidence(self, cases: list[Case]) -> Evidence:
        """Return what is known."""
        settings = settings_of(self._folder, self.orders)
        return gather(settings, [case.title for case in cases], self.truth.read())


@pytest.fixture
def pair_of(
    tmp_path: Path, postgres_url: str, temporal_server: TemporalServer
) -> Callable[[float], Pair]:
    return lambda takes_s: Pair(tmp_path / "pair", postgres_url, temporal_server.address, takes_s)


def all_resolved(evidence: Evidence) -> bool:
    found = [evidence.incidents.get(title) for title in evidence.expected]
    return all(each is not None and each[1] == "resolved" for each in found)


def events(pair: Pair, kind: str) -> list[Any]:
    async def read() -> list[Any]:
        url = settings_of(pair._folder, pair.orders).database_url.get_secret_value()
        store = open_store(url, clock=SystemClock())
        await store.open()
        try:
            return [e for e in await store.events(limit=10_000) if e.kind == kind]
        finally:
            await store.close()

    return asyncio.run(read())


def test_another_worker_takes_over_in_the_middle_of_a_long_step(
    pair_of: Callable[[float], Pair], wait_until: WaitUntil
) -> None:
    case = Case("long", 0, False, ())
    with pair_of(6.0).working([case]) as pair:
        wait_until(lambda: pair.steps_of(0) + pair.steps_of(1) > 0, 60, "the first step")
        wait_until(lambda: events(pair, "action.started"), 30, "the first step to be journalled")
        dead = 0 if pair.steps_of(0) else 1
        wait_until(lambda: pair.is_working(1 - dead), 30, "the other worker")
        pair.kill(dead)
        died = time.monotonic()
        log = pair._folder / f"log-{1 - dead}"
        wait_until(lambda: ": recover (" in log.read_text(), 60, "the other worker")
        took_over_s = time.monotonic() - died
        pair.call_the_person_back()
        wait_until(lambda: all_resolved(pair.evidence([case])), ENDS_S, "the incident's end")
        ended_s = time.monotonic() - died
        verdict = judge(pair.evidence([case]))
    print(f"\n  taken over after {took_over_s:.1f} s, ended after {ended_s:.1f} s")  # noqa: T201
    assert verdict.is_good, verdict
    assert took_over_s <= HEARTBEAT.total_seconds() + MARGIN_S


def test_twenty_incidents_end_when_one_of_two_workers_dies(
    pair_of: Callable[[float], Pair], wait_until: WaitUntil
) -> None:
    cases = [Case(f"many-{n:02}", n, n % 4 == 0, ()) for n in range(20)]
    with pair_of(2.0).working(cases) as pair:
        wait_until(lambda: pair.steps_of(0) >= 8 and pair.steps_of(1) >= 8, 90, "both to act")
        dead = 0
        in_flight = sum(row.state == "started" for row in pair.evidence(cases).rows)
        pair.kill(dead)
        died = time.monotonic()
        wait_until(lambda: all_resolved(pair.evidence(cases)), ENDS_S, "all to end")
        ended_s = time.monotonic() - died
        evidence = pair.evidence(cases)
        verdict = judge(evidence)
    by_hand = sum(row.is_settled_by_hand for row in evidence.rows)
    print(  # noqa: T201
        f"\n  {in_flight} steps in flight at the kill; all 20 ended after {ended_s:.1f} s; "
        f"{evidence.found_done} found done, {by_hand} settled by a human"
    )
    assert verdict.is_good, verdict
