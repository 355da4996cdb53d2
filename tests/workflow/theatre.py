"""A simulated world and a database file on which runtimes are opened, killed and opened again."""

import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from it_incident_response.config import Settings
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.execution import StepState
from it_incident_response.ports import IncidentFilter
from it_incident_response.simulation import SimulatedWorld
from it_incident_response.simulation.physics import TICK_S
from it_incident_response.storage import open_store
from it_incident_response.system.adapters import choose_adapters
from it_incident_response.system.composition import Runtime
from it_incident_response.workflow.direct import DirectRunner

PAST_S = 2700.0
"""Enough of a baseline for every cause but one; a longer past takes longer to make."""
SETTLE_S = 120.0
DETECT_WITHIN_S = 3600.0
WHO = "alice"

WRITES = frozenset(
    {
        "save_incident",
        "create_incident",
        "add_evidence",
        "add_diagnosis",
        "wake",
        "claim_due",
        "release",
        "add_plan",
        "decide",
        "intend",
        "advance",
        "lock_target",
        "unlock_target",
        "add_verification",
        "append",
    }
)
"""Every method of the store that changes it and that is called while incidents are carried."""


class Crash(BaseException):
    """The process died: nothing may handle it."""


class MortalStore:
    """A store whose process dies right after its `dies_after`-th write; then nothing works."""

    def __init__(self, store: Any, dies_after: int | None = None) -> None:
        self._store = store
        self._dies_after = dies_after
        self._is_dead = False
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._store, name)
        if name in ("open", "close") or not callable(inner):
            return inner
        if name not in WRITES:
            self.require_life()
            return inner

        async def write(*arguments: Any, **options: Any) -> Any:
            self.require_life()
            result = await inner(*arguments, **options)
            self.writes.append(name)
            if len(self.writes) == self._dies_after:
                self.die()
            return result

        return write

    def die(self) -> None:
        self._is_dead = True
        raise Crash

    def require_life(self) -> None:
        if self._is_dead:
            raise Crash


class CountedExecutor:
    """Counts what is really carried out; `after` is called once something was."""

    def __init__(self, inner: Any, ran: list[Any], after: Callable[[], None]) -> None:
        self._inner = inner
        self._ran = ran
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, action: Any, *, key: str) -> Any:
        outcome = await self._inner.execute(action, key=key)
        self._ran.append(action)
        self._after()
        return outcome


class Theatre:
    """World and record; they outlive every runtime."""

    def __init__(
        self, folder: Path, seed: int = 7, past_s: float = PAST_S, **settings: Any
    ) -> None:
        self.folder = folder
        self.world = SimulatedWorld(seed, past_s=past_s)
        self.given = settings
        self._born = (seed, past_s)
        self._story: list[tuple[str, Any]] = []
        self.ran: list[Any] = []
        self.after_action: Callable[[], None] = lambda: None
        self.mortal: MortalStore | None = None

    def again(self, folder: Path) -> "Theatre":
        """Return another theatre in the same state; the world is told the same story again.

        Right only as long as nothing slept on this one's clock or acted on it.
        """
        folder.mkdir()
        shutil.copy(self.folder / "iir.db", folder / "iir.db")
        other = Theatre(folder, *self._born, **self.given)
        for what, how in self._story:
            getattr(other, what)(how)
        assert other.world.clock.now() == self.world.clock.now()
        return other

    def inject(self, fault: str) -> None:
        """Let something go wrong now."""
        self._story.append(("inject", fault))
        self.world.inject(fault)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        self._story.append(("pass_time", seconds))
        left = seconds
        while left > 0:
            self.world.clock.advance(min(TICK_S, left))
            self.world.catch_up()
            left -= TICK_S

    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "data_dir": self.folder,
                "agents": {"resolution": {"dry_run": False, "require_approval": True}},
                **self.given,
            }
        )

    @asynccontextmanager
    async def open(
        self, *, dies_after: int | None = None, worker: str = "w1"
    ) -> AsyncIterator[Runtime]:
        """Open a runtime as a process of its own would."""
        settings = self.settings()
        adapters = choose_adapters(settings, self.world)
        adapters.executors = self._counted(adapters.executors)
        store = open_store(settings.database_url.get_secret_value(), clock=adapters.clock)
        try:
            await store.open()
            self.mortal = MortalStore(store, dies_after)
            runtime = Runtime(settings, adapters, self.mortal)
            runtime.__dict__["direct"] = DirectRunner(
                self.mortal, runtime.clock, runtime.detection, runtime.stages, name=worker
            )
            yield runtime
        finally:
            await store.close()

    def _counted(self, executors: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            name: CountedExecutor(executor, self.ran, lambda: self.after_action())
            for name, executor in executors.items()
        }

    @property
    def truth(self) -> Any:
        """The fault that was injected last, and how it went on."""
        self.world.catch_up()
        return self.world.incidents[-1]

    async def detect(self, runtime: Runtime, fault: str) -> Any:
        """Begin `fault` and let the alerts that come of it open an incident; returns it."""
        self.inject(fault)
        return await self.watch(runtime)

    async def watch(self, runtime: Runtime) -> Any:
        """Let time pass until there is an open incident, and its alerts have joined."""
        for _ in range(int(DETECT_WITHIN_S / TICK_S)):
            self.pass_time(TICK_S)
            await self.poll(runtime)
            if found := await runtime.store.incidents(IncidentFilter(limit=1)):
                break
        self.pass_time(SETTLE_S)
        await self.poll(runtime)
        return await runtime.store.incident(found[0].id)

    async def poll(self, runtime: Runtime) -> None:
        await runtime.detection.poll(runtime.adapters.alerts, runtime.adapters.conditions)

    async def wait(self, runtime: Runtime, seconds: float) -> None:
        """Let time pass, reading alerts as `iir serve` does."""
        for _ in range(int(seconds / TICK_S)):
            self.pass_time(TICK_S)
            await self.poll(runtime)


async def pending(runtime: Runtime, incident: Any) -> Approval | None:
    """Return the incident's request that waits for a human, if there is one."""
    found = await runtime.store.approvals(incident_id=incident.id, status=ApprovalStatus.PENDING)
    return found[0] if found else None


async def approve(runtime: Runtime, incident: Any) -> Approval:
    """Approve what waits, as a person who saw it."""
    request = await pending(runtime, incident)
    assert request is not None, "nothing waits for approval"
    return await runtime.approvals.approve(
        request.id, by=WHO, via="test", plan_digest=request.plan_digest
    )


async def kinds(runtime: Runtime, incident: Any) -> list[str]:
    """Return what the audit trail says happened, in order."""
    return [event.kind for event in await runtime.store.events(incident_id=incident.id)]


async def states(runtime: Runtime, incident: Any) -> list[StepState]:
    """Return the states of the incident's journal."""
    return [row.state for row in await runtime.store.executions_of(incident.id)]
