"""`kill -9` at every journal state of a five-step plan: of the worker, of the engine, of both.

Real processes, a real engine, the product's own store, gate, stages and workflow. The targets are
a file in which every restart leaves a line before anybody hears of it: the truth about what ran.
"""

from pathlib import Path

from tests.crash.driver import Installation, Shape, Tally, run_all
from tests.crash.points import VICTIMS, all_points, exhaustive
from tests.real.stack.temporal import TemporalServer

POINTS_AT_LEAST = 200
AT_ONCE = 3
FIRST_STEPS = 11
"""Incidents of which each is held at another state of the first step."""


def installations(
    folder: Path, server: TemporalServer, seed: int = 20_261_123
) -> list[Installation]:
    shapes = [Shape(victim, exhaustive(victim), seed=seed) for victim in VICTIMS]
    # Workers die alone where the engine is not their child: at a server of its own.
    addresses = {"worker": server.address}
    return [
        Installation(folder / shape.victim, shape, addresses.get(shape.victim)) for shape in shapes
    ]


def told(tally: Tally) -> str:
    return "\n".join(f"  {name:<50} {value}" for name, value in tally.lines().items())


async def test_killed_at_every_journal_state_nothing_is_lost_and_nothing_runs_twice(
    tmp_path: Path, temporal_server: TemporalServer
) -> None:
    tally = await run_all(installations(tmp_path, temporal_server), AT_ONCE)
    print(f"\n{told(tally)}")  # noqa: T201 - the numbers are what this test is for
    assert tally.problems.is_good, tally.problems
    assert sum(tally.points.values()) >= POINTS_AT_LEAST, told(tally)
    met = {(victim, name) for victim, name in tally.points}
    wanted = {(victim, point.name) for victim in VICTIMS for point in all_points()}
    assert wanted <= met, wanted - met
    assert tally.in_doubt, told(tally)
    assert tally.recovered, told(tally)


async def test_a_worker_that_runs_again_what_a_crash_left_is_found_out(tmp_path: Path) -> None:
    shape = Shape("both", FIRST_STEPS, size=FIRST_STEPS, sabotage=True)
    tally = await Installation(tmp_path / "broken", shape).run()
    assert tally.problems.duplicated, told(tally)
