"""One life of a worker: `python -m tests.crash.life FOLDER`; ends by a kill, or when all is done.

Everything is the product's but the outside (`targets`), the people (`human`) and the kills.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from it_incident_response.config import Settings
from it_incident_response.safety.step_runner import StepRunner
from it_incident_response.simulation import PacedClock
from it_incident_response.storage import open_store
from it_incident_response.system.adapters import Adapters
from it_incident_response.system.composition import Runtime
from it_incident_response.system.durable import DurableService
from it_incident_response.workflow.engine.engine_folder import read_note
from it_incident_response.workflow.engine_worker import WorkerSettings
from tests.crash.hooks import HookedStages, HookedStore, Trap
from tests.crash.human import Human
from tests.crash.points import Case
from tests.crash.targets import Truth, UnitExecutor, inventory
from tests.crash.verdict import append, census

SPEED = 30.0
"""So that the time a step may take passes quickly after a crash."""
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
LOOK_EVERY_S = 0.3

POLICY = """\
version: 1
roles: {operator: ["*"]}
limits: {max_actions_per_hour: 10000, max_actions_per_target_per_hour: 10000, max_fleet_share: 1.0}
rules:
  - {name: restarts, effect: approve, reason: Somebody has to look.}
"""


@dataclass
class Orders:
    """What this life is for, as the parent wrote it into `orders.json`."""

    number: int
    victim: str | None
    """None: nobody is killed by this life itself."""
    address: str | None
    database: str | None
    prefix: str
    began: float
    """Real time at which the installation's clock began."""
    slots: int
    cases: list[dict]
    """Cases, each with the one point of this life."""
    takes_s: float = 0.005
    within_s: float = 60.0
    """Real seconds in which incidents have to get to their points."""
    sabotage: bool = False
    stays: bool = False
    """Whether it lives on when nothing is left to do."""
    looks_after: bool = True
    """Whether its people look after the incidents; else they only open them."""


class CrashAdapters(Adapters):
    """Adapters whose clock runs faster than time."""

    @property
    def pace(self) -> float:
        """Seconds on our clock in a real one."""
        return SPEED


def settings_of(folder: Path, orders: Orders) -> Settings:
    """Return the installation's settings."""
    policy = folder / "policy.yaml"
    if not policy.exists():
        policy.write_text(POLICY)
    given: dict[str, Any] = {
        "data_dir": folder,
        "policy": policy,
        "agents": {"resolution": {"dry_run": False, "require_approval": True}},
        "verification": {"soak": 10, "timeout": 120, "poll": 5},
    }
    if orders.address:
        given["temporal"] = {"address": orders.address, "queue_prefix": orders.prefix}
    if orders.database:
        given["store"] = {"url": orders.database}
    return Settings.model_validate(given)


def clock_of(orders: Orders) -> PacedClock:
    """Return the installation's clock, which goes on through all its lives."""
    passed = datetime.now(UTC).timestamp() - orders.began
    return PacedClock(BEGAN + timedelta(seconds=passed * SPEED), SPEED)


@asynccontextmanager
async def opened(folder: Path, orders: Orders, trap: Trap) -> AsyncIterator[Runtime]:
    """Open everything as `iir worker` does, with the outside replaced and hooks in between."""
    clock = clock_of(orders)
    truth = Truth(folder / "truth")
    executor = UnitExecutor(truth, trap, orders.takes_s)
    adapters = CrashAdapters(
        clock=clock, inventory=inventory(orders.slots), executors={"ssh": executor}
    )
    settings = settings_of(folder, orders)
    store = open_store(settings.database_url.get_secret_value(), clock=clock)
    await store.open()
    try:
        runtime = Runtime(settings, adapters, HookedStore(store, trap))
        stages = HookedStages(
            runtime.store,
            clock,
            runtime.diagnostic,
            runtime.resolution,
            refresh_s=settings.diagnosis.refresh_s,
        )
        stages.hook = trap
        runtime.__dict__["stages"] = stages
        yield runtime
    finally:
        await store.close()


async def live(folder: Path, orders: Orders) -> None:
    """Carry the incidents; kill as ordered."""
    trap = Trap()
    if orders.sabotage:
        sabotage()
    async with opened(folder, orders, trap) as runtime:
        worker = WorkerSettings(
            queue_prefix=orders.prefix if orders.address else "iir",
            executors=("ssh",),
            actions_per_second=500,
            actions_at_once=100,
        )
        service = asyncio.create_task(DurableService(runtime, runtime.outbox, worker).run())
        people = asyncio.create_task(look_after(runtime, folder, trap, orders))
        try:
            done, _ = await asyncio.wait({service, people}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (service, people):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(service, people, return_exceptions=True)


async def look_after(runtime: Runtime, folder: Path, trap: Trap, orders: Orders) -> None:
    """Open the life's incidents, look after all, and kill when each is where it is wanted."""
    human = Human(runtime, Truth(folder / "truth"))
    cases = [Case.from_data(data) for data in orders.cases]
    opened_ones = await asyncio.gather(*map(human.open_case, cases))
    for case, incident in zip(cases, opened_ones, strict=True):
        if case.points:
            trap.want(incident, case.points[0])
    titles = {incident: case.title for case, incident in zip(cases, opened_ones, strict=True)}
    killing = asyncio.create_task(kill(runtime, folder, trap, orders, titles))
    while (
        not orders.looks_after or await human.look_after_all() or orders.stays or not killing.done()
    ):
        runtime.outbox.tell()
        await asyncio.sleep(LOOK_EVERY_S)
        if killing.done():
            killing.result()


async def kill(
    runtime: Runtime, folder: Path, trap: Trap, orders: Orders, titles: dict[str, str]
) -> None:
    """Kill the victim when every incident is held at its point."""
    if orders.victim is None:
        return
    await trap.until_all_held(orders.within_s)
    append(
        folder / "hits",
        {
            "life": orders.number,
            "victim": orders.victim,
            "held": [[titles[incident], point.name] for incident, point in trap.held.items()],
            "journal": census(runtime.settings),
        },
    )
    if orders.victim in ("server", "both"):
        note = read_note(runtime.settings.engine.folder)
        assert note is not None
        assert note.pid is not None
        os.killpg(note.pid, signal.SIGKILL)
    if orders.victim in ("worker", "both"):
        os.kill(os.getpid(), signal.SIGKILL)
    trap.open()


def sabotage() -> None:
    """Break the promise on purpose: what a crash left started is begun a second time."""

    async def forget(self: StepRunner, row: Any, *_: Any, **__: Any) -> Any:
        await self._never_began(row, "sabotage")
        return row

    StepRunner.recover = forget  # type: ignore[method-assign]


def main() -> None:
    """Live as `orders.json` in the folder says."""
    folder = Path(sys.argv[1])
    orders = Orders(**json.loads((folder / sys.argv[2]).read_text()))
    asyncio.run(live(folder, orders))


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("it_incident_response").setLevel(logging.INFO)
    main()
