"""Where a process is killed: the states that the journal of a five-step plan passes through."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

STEPS = 5

OF_A_STEP = (
    "step:ordered",  # the worker has the activity, nothing is written
    "intend:before",
    "intend:after",
    "start:before",
    "start:after",
    "effect:before",  # the executor was called, nothing was sent
    "effect:after",  # it took effect at the target, and nobody was told
    "end:before",
    "end:after",
    "unlock:after",
    "step:over",  # everything is written, and the engine has not heard of it
)
"""Each is reached once for every step."""

OF_AN_INCIDENT = (
    "resolving:before",
    "resolving:after",
    "verify:ordered",
    "verified:before",
    "verified:after",
    "resolved:before",
    "resolved:after",
    "written_up:before",
    "written_up:after",
)
"""Reached once, before the first step or after the last."""

OF_A_RECOVERY = ("found:before", "found:after")
"""Reached when what a crash left started is looked at: a second death of the same step."""

VICTIMS = ("worker", "server", "both")


@dataclass(frozen=True)
class Point:
    """A moment in the life of one incident; `step` is 0 where it is of none."""

    hook: str
    step: int

    @property
    def name(self) -> str:
        """Such as `effect:after 3`."""
        return f"{self.hook} {self.step}" if self.step else self.hook


@dataclass(frozen=True)
class Case:
    """One incident and the points at which it meets a death, one in each life."""

    title: str
    slot: int
    """Which five hosts it is about."""
    is_blind: bool
    """Whether nobody can tell by a look whether a restart there took effect."""
    points: tuple[Point, ...]

    def as_data(self) -> dict:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict) -> "Case":
        """Return what `as_data` gave."""
        points = tuple(Point(**point) for point in data["points"])
        return cls(**{**data, "points": points})


def all_points() -> list[Point]:
    """Return every point of a life without an earlier death."""
    of_steps = [Point(hook, step) for step in range(1, STEPS + 1) for hook in OF_A_STEP]
    return of_steps + [Point(hook, 0) for hook in OF_AN_INCIDENT]


def cases(victim: str, count: int, seed: int) -> Iterator[list[Point]]:
    """Yield the points of `count` incidents: every state first, then states drawn by the seed.

    Where the worker dies, some die a second time while it is found out how their step ended.
    """
    rng = random.Random(f"{seed}/{victim}")
    once = all_points()
    twice = [] if victim == "server" else _twice()
    order = once + [points[0] for points in twice]
    second = {len(once) + index: points[1] for index, points in enumerate(twice)}
    for number in range(count):
        if number < len(order):
            later = second.get(number)
            yield [order[number], *([later] if later else [])]
        elif twice and rng.random() < 0.1:
            yield list(rng.choice(twice))
        else:
            yield [rng.choice(once)]


def exhaustive(victim: str) -> int:
    """Return how many incidents it takes to meet every state once."""
    return len(all_points()) + (0 if victim == "server" else len(_twice()))


def waves(victim: str, count: int, size: int, seed: int) -> list[list[Case]]:
    """Return `count` incidents, in waves whose members meet their deaths together."""
    rng = random.Random(f"{seed}/{victim}/waves")
    chosen = list(cases(victim, count, seed))
    rng.shuffle(chosen)
    made = [
        Case(f"{victim}-{number:04}", number % (3 * size), rng.random() < 0.25, tuple(points))
        for number, points in enumerate(chosen)
    ]
    return [made[at : at + size] for at in range(0, len(made), size)]


def _twice() -> Sequence[tuple[Point, Point]]:
    first = ("start:after", "effect:after")
    return [
        (Point(first[step % 2], step), Point(hook, step))
        for step in range(1, STEPS + 1)
        for hook in OF_A_RECOVERY
    ]
