"""Wrappers around store and stages that stop at a journal state, until a kill comes or goes by."""

import asyncio
from typing import Any

from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.workflow.stage_runner import ACTING, StageRunner
from it_incident_response.workflow.stages import Next, Record, Stage
from tests.crash.points import Point


class Trap:
    """Holds incidents at their points; opened, it lets everything pass."""

    def __init__(self) -> None:
        self._wanted: dict[str, Point] = {}
        self._opened = asyncio.Event()
        self._hit = asyncio.Event()
        self.held: dict[str, Point] = {}

    def want(self, incident_id: str, point: Point) -> None:
        """Hold the incident when it gets to `point`."""
        self._wanted[incident_id] = point

    async def __call__(self, hook: str, incident_id: str, step: int) -> None:
        """Return, unless the incident is to be held here."""
        point = Point(hook, step)
        if self._wanted.get(incident_id) == point and incident_id not in self.held:
            self.held[incident_id] = point
            self._hit.set()
            await self._opened.wait()

    async def until_all_held(self, within_s: float) -> None:
        """Return when every incident is where it is wanted, or the time is up."""
        deadline = asyncio.get_running_loop().time() + within_s
        while len(self.held) < len(self._wanted):
            self._hit.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._hit.wait()
            except TimeoutError:
                return

    def open(self) -> None:
        """Let everything go on."""
        self._wanted.clear()
        self._opened.set()


class HookedStore:
    """The product's store, with a hook before and after each write of the journal."""

    def __init__(self, store: Any, hook: Any) -> None:
        self._store = store
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def intend(self, row: Any, events: Any) -> None:
        await self._around("intend", row, self._store.intend(row, events))

    async def advance(self, row: Any, expected: StepState, events: Any) -> None:
        name = "start"
        if expected is not StepState.INTENDED:
            name = "found" if any(e.kind == "action.recovered" for e in events) else "end"
        if expected is StepState.IN_DOUBT:
            return await self._store.advance(row, expected, events)
        await self._around(name, row, self._store.advance(row, expected, events))

    async def unlock_target(self, target: Any, *, holder: str) -> None:
        await self._store.unlock_target(target, holder=holder)
        incident = holder.removeprefix("incident ")
        rows = await self._store.executions_of(incident)
        step = max((row.step for row in rows if row.target == target), default=0)
        await self._hook("unlock:after", incident, step)

    async def add_verification(self, verification: Any, events: Any) -> None:
        incident = verification.incident_id
        await self._hook("verified:before", incident, 0)
        await self._store.add_verification(verification, events)
        await self._hook("verified:after", incident, 0)

    async def save_incident(self, incident: Any, events: Any, **more: Any) -> Any:
        name = _change(events)
        if name:
            await self._hook(f"{name}:before", incident.id, 0)
        saved = await self._store.save_incident(incident, events, **more)
        if name:
            await self._hook(f"{name}:after", incident.id, 0)
        return saved

    async def _around(self, name: str, row: Any, write: Any) -> None:
        try:
            await self._hook(f"{name}:before", row.incident_id, row.step)
        except BaseException:
            write.close()
            raise
        await write
        await self._hook(f"{name}:after", row.incident_id, row.step)


def _change(events: Any) -> str | None:
    kinds = {f"incident.{status}": str(status) for status in IncidentStatus}
    kinds["incident.written_up"] = "written_up"
    return next((kinds[event.kind] for event in events if event.kind in kinds), None)


class HookedStages(StageRunner):
    """The product's stages, with a hook where the worker has one and where it is done."""

    hook: Any = None

    async def run(self, record: Record, step: Next, *more: Any, **options: Any) -> Any:
        incident = record.incident.id
        if step.stage in ACTING:
            await self.hook("step:ordered", incident, step.step)
        elif step.stage is Stage.VERIFY:
            await self.hook("verify:ordered", incident, 0)
        due = await super().run(record, step, *more, **options)
        if step.stage in ACTING:
            await self.hook("step:over", incident, step.step)
        return due
