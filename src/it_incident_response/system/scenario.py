"""Plays one fault of the simulated world from its beginning to the end of its incident."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.incident import Incident
from it_incident_response.errors import ConfigError
from it_incident_response.ports import IncidentFilter
from it_incident_response.simulation import SimulatedWorld
from it_incident_response.system.composition import Runtime
from it_incident_response.system.views import IncidentView

Decide = Callable[[IncidentView], Awaitable[bool]]
Watch = Callable[[Sequence[AuditEvent]], Awaitable[None]]

STEP_S = 15.0
SETTLE_S = 120.0
"""Virtual time after the first alert in which the others of the same fault join."""
ALERT_WITHIN_S = 4 * 3600.0
VIA = "demo"


@dataclass(frozen=True)
class Played:
    """How it went; times are virtual seconds since the fault began."""

    fault: str
    view: IncidentView | None
    incidents: int
    detected_after_s: float | None
    ended_after_s: float
    is_healed: bool
    """Whether the fault itself is gone: the world's truth, not our belief."""


async def play(
    runtime: Runtime, fault: str, *, decide: Decide, watch: Watch, by: str = "demo"
) -> Played:
    """Begin `fault`, handle what comes of it, and return how it went.

    `decide` is asked whether to approve the plan; `watch` is given each new audit event. Raises
    `InputRejected` for an unknown fault, `ConfigError` if nothing is simulated.
    """
    world = runtime.adapters.world
    if world is None:
        raise ConfigError("there is no simulated world to play in")
    stage = _Stage(runtime, world, watch)
    truth = world.inject(fault)
    began = world.clock.now()
    incident = await stage.until_incident()
    detected = (world.clock.now() - began).total_seconds() if incident else None
    if incident is not None:
        await world.run(SETTLE_S)
        await stage.poll()
        await stage.handle()
        await _ask(runtime, incident, decide, by)
        await stage.handle()
    found = await runtime.store.incidents(IncidentFilter(limit=1000))
    return Played(
        fault=fault,
        view=await runtime.incident_view(incident.id) if incident else None,
        incidents=len(found),
        detected_after_s=detected,
        ended_after_s=(world.clock.now() - began).total_seconds(),
        is_healed=truth.ended_at is not None,
    )


async def _ask(runtime: Runtime, incident: Incident, decide: Decide, by: str) -> None:
    view = await runtime.incident_view(incident.id)
    request = view.approval
    if request is None or request.status is not ApprovalStatus.PENDING:
        return
    if await decide(view):
        await runtime.approvals.approve(request.id, by=by, via=VIA, plan_digest=request.plan_digest)
    else:
        await runtime.approvals.reject(request.id, by=by, via=VIA)


class _Stage:
    """Moves the world and the responder in turns, and shows what was recorded meanwhile."""

    def __init__(self, runtime: Runtime, world: SimulatedWorld, watch: Watch) -> None:
        self._runtime = runtime
        self._world = world
        self._watch = watch
        self._seen = 0

    async def until_incident(self) -> Incident | None:
        """Let time pass until an alert has opened an incident, at most `ALERT_WITHIN_S`."""
        passed = 0.0
        while passed < ALERT_WITHIN_S:
            await self._world.run(STEP_S)
            passed += STEP_S
            await self.poll()
            found = await self._runtime.store.incidents(IncidentFilter(limit=1))
            if found:
                return found[0]
        return None

    async def poll(self) -> None:
        """Read the world's alerts, and show what came of them."""
        source = self._runtime.adapters.alerts
        if source is not None:
            await self._runtime.detection.poll(source, self._runtime.adapters.conditions)
        await self._show()

    async def handle(self) -> None:
        """Carry every due incident as far as it goes."""
        await self._runtime.direct.drain()
        await self._show()

    async def _show(self) -> None:
        events = await self._runtime.store.events(after=self._seen)
        if events:
            self._seen = events[-1].sequence or self._seen
            await self._watch(events)
