"""Runs installations through life after life, kills them, and has the end judged."""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from it_incident_response.ports import SystemClock
from it_incident_response.storage import open_store
from tests.crash.life import Orders, clock_of, settings_of
from tests.crash.points import Case, waves
from tests.crash.targets import Truth
from tests.crash.verdict import Verdict, census, gather, judge

ROOT = Path(__file__).parents[2]
LIFE_S = 120.0
ROUNDS_MORE = 2
"""How often a state that was missed on a busy machine is tried again, with a new incident."""
SETTLE_S = 300.0
RANDOM_S = (2.0, 7.0)
"""How long a life lasts that is ended at a moment drawn by the seed."""


@dataclass
class Shape:
    """What an installation goes through."""

    victim: str
    count: int
    """Incidents, each held at a state of the journal when its death comes."""
    size: int = 20
    """Incidents that meet one death together."""
    seed: int = 1
    random_kills: int = 0
    """Deaths at moments that nobody chose, of the worker (and of its embedded server)."""
    sabotage: bool = False


@dataclass
class Tally:
    """What was done to an installation, and what became of it."""

    kills: int = 0
    points: Counter = field(default_factory=Counter)
    """Incidents held at a state when their death came, by victim and state."""
    missed: int = 0
    """Incidents that did not get to their state before the death."""
    journal: Counter = field(default_factory=Counter)
    """Open incidents that a death met, by the last row of their journal."""
    lives: int = 0
    seconds: float = 0.0
    incidents: int = 0
    steps_ran: int = 0
    in_doubt: int = 0
    recovered: int = 0
    problems: Verdict = field(default_factory=Verdict)

    def plus(self, other: "Tally") -> "Tally":
        """Return the sum of two."""
        mine, theirs = self.problems, other.problems
        return Tally(
            kills=self.kills + other.kills,
            points=self.points + other.points,
            missed=self.missed + other.missed,
            journal=self.journal + other.journal,
            lives=self.lives + other.lives,
            seconds=max(self.seconds, other.seconds),
            incidents=self.incidents + other.incidents,
            steps_ran=self.steps_ran + other.steps_ran,
            in_doubt=self.in_doubt + other.in_doubt,
            recovered=self.recovered + other.recovered,
            problems=Verdict(
                mine.duplicated + theirs.duplicated,
                mine.lost + theirs.lost,
                mine.untrue + theirs.untrue,
                mine.left + theirs.left,
            ),
        )

    def lines(self) -> dict[str, object]:
        """Return it for people."""
        victims: Counter = Counter()
        states: Counter = Counter()
        for (victim, name), number in self.points.items():
            victims[victim] += number
            states[name.split()[0]] += number
        return {
            "processes killed (kill -9)": self.kills,
            "kill points at a chosen journal state": sum(self.points.values()),
            "... different ones (victim and state)": len(self.points),
            "... by victim": dict(sorted(victims.items())),
            "... by journal state": dict(sorted(states.items())),
            "incidents that did not get to their state in time": self.missed,
            "open incidents met by a kill, any state": sum(self.journal.values()),
            "... by the last row of their journal": dict(sorted(self.journal.items())),
            "restarts": self.lives,
            "incidents": self.incidents,
            "steps that ran": self.steps_ran,
            "steps found done after a crash": self.recovered,
            "steps in doubt, settled by a human": self.in_doubt,
            "duplicated steps": len(self.problems.duplicated),
            "lost steps or incidents": len(self.problems.lost),
            "untrue rows": len(self.problems.untrue),
            "left over (not at an end, locked)": len(self.problems.left),
            "seconds": round(self.seconds, 1),
        }


class Installation:
    """A folder with its database, its engine and its outside; children live in it and die."""

    def __init__(
        self, folder: Path, shape: Shape, address: str | None = None, prefix: str = "iir"
    ) -> None:
        """`address` is of a Temporal server that outlives the workers; None: embedded.

        `prefix` is of the task queues, where several installations share a server.
        """
        self._folder = folder
        self._shape = shape
        self._rng = random.Random(f"{shape.seed}/{shape.victim}/moments")
        folder.mkdir(parents=True, exist_ok=True)
        self._base = Orders(
            number=0,
            victim=None,
            address=address,
            prefix=prefix,
            database=None,
            began=time.time(),
            slots=3 * shape.size,
            cases=[],
            sabotage=shape.sabotage,
        )
        self._tally = Tally()

    async def run(self) -> Tally:
        """Live, die and settle; returns what came of it."""
        began = time.monotonic()
        shape = self._shape
        todo = waves(shape.victim, shape.count, shape.size, shape.seed)
        cases = {case.title: case for wave in todo for case in wave}
        missed = await self._through(todo, cases)
        for number in range(ROUNDS_MORE):
            fresh = [self._anew(cases[title], number) for title in missed]
            cases |= {case.title: case for case in fresh}
            missed = await self._through([fresh] if fresh else [], cases)
        self._tally.missed = len(missed)
        for number in range(shape.random_kills):
            more = self._more(number)
            cases |= {case.title: case for case in more}
            await self._at_random(more)
        await self._settle()
        self._tally.seconds = time.monotonic() - began
        await self._judge(list(cases))
        return self._tally

    async def _through(self, todo: list[list[Case]], known: Mapping[str, Case]) -> set[str]:
        """Go through the waves; returns the titles of those that did not get to a point."""
        missed: set[str] = set()
        while todo:
            wave = todo.pop(0)
            held = await self._targeted(wave)
            missed |= {case.title for case in wave} - held
            again = [
                replace(known[case.title], points=case.points[1:])
                for case in wave
                if case.title in held and case.points[1:]
            ]
            if again and todo:
                todo[0] = [*todo[0], *again]
            elif again:
                todo.append(again)
        return missed

    def _anew(self, case: Case, number: int) -> Case:
        """Return another incident that is to meet its deaths at the same points."""
        return replace(case, title=f"{case.title.partition('/')[0]}/{number}")

    def _more(self, number: int) -> list[Case]:
        return [
            Case(f"random-{number}-{n:03}", n, self._rng.random() < 0.25, ())
            for n in range(self._shape.size)
        ]

    async def _targeted(self, wave: Sequence[Case]) -> set[str]:
        """Live until the wave meets its death; returns the titles of those held at their point."""
        victim = self._shape.victim
        process = await self._begin(wave, victim)
        hits = self._folder / "hits"
        before = _lines(hits)
        if victim == "server":
            async with asyncio.timeout(LIFE_S):
                while _lines(hits) == before and process.returncode is None:
                    await asyncio.sleep(0.1)
            # The worker lives on with a new server; then it dies too, for the next wave.
            await asyncio.sleep(1.5)
            process.kill()
            self._tally.kills += 1
        async with asyncio.timeout(LIFE_S):
            status = await process.wait()
        if status != -9:
            raise RuntimeError(f"a life ended by itself, with {status}: {self.log_tail()}")
        hit = json.loads(hits.read_text().splitlines()[-1])
        self._count_hit(hit)
        return {title for title, _ in hit["held"]}

    def _count_hit(self, hit: dict) -> None:
        tally = self._tally
        tally.kills += 2 if hit["victim"] == "both" else 1
        tally.points.update((hit["victim"], name) for _, name in hit["held"])
        tally.journal.update(hit["journal"])

    async def _at_random(self, cases: Sequence[Case]) -> None:
        process = await self._begin(cases, None)
        await asyncio.sleep(self._rng.uniform(*RANDOM_S))
        process.kill()
        await process.wait()
        self._tally.kills += 1
        self._tally.journal.update(census(settings_of(self._folder, self._base)))

    async def _settle(self) -> None:
        """Let everything come to its end, without any kill."""
        process = await self._begin([], None)
        try:
            async with asyncio.timeout(SETTLE_S):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return
        if status != 0:
            raise RuntimeError(f"the last life ended with status {status}: {self.log_tail()}")

    async def _begin(self, cases: Sequence[Case], victim: str | None) -> asyncio.subprocess.Process:
        self._tally.lives += 1
        number = self._tally.lives
        orders = replace(
            self._base, number=number, victim=victim, cases=[case.as_data() for case in cases]
        )
        (self._folder / f"orders-{number}").write_text(json.dumps(asdict(orders)))
        with (self._folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *(sys.executable, "-m", "tests.crash.life", str(self._folder), f"orders-{number}"),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _judge(self, titles: Sequence[str]) -> None:
        settings = settings_of(self._folder, self._base)
        ran = Truth(self._folder / "truth").read()
        evidence = gather(settings, titles, ran)
        store = open_store(settings.database_url.get_secret_value(), clock=SystemClock())
        await store.open()
        try:
            evidence.is_chain_intact = (await store.verify_chain()).is_intact
            later = clock_of(self._base).now()
            evidence.locks = [lock.target for lock in await store.target_locks(later)]
        finally:
            await store.close()
        tally = self._tally
        tally.incidents, tally.steps_ran = len(titles), len(ran)
        tally.in_doubt = sum(row.is_settled_by_hand for row in evidence.rows)
        tally.recovered = evidence.found_done
        tally.problems = judge(evidence)

    def log_tail(self, lines: int = 30) -> str:
        """Return the end of what the lives logged."""
        text = (self._folder / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


async def run_all(installations: Sequence[Installation], at_once: int) -> Tally:
    """Run installations side by side and return the sum."""
    gate = asyncio.Semaphore(at_once)

    async def one(installation: Installation) -> Tally:
        async with gate:
            return await installation.run()

    total = Tally()
    for tally in await asyncio.gather(*map(one, installations)):
        total = total.plus(tally)
    return total
