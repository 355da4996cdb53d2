"""The stages as activities of the durable workflow: idempotent against the store."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from it_incident_response.agents.verification import Watch
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value
from it_incident_response.domain.verification import CheckReading
from it_incident_response.errors import NotFound
from it_incident_response.ports import Clock, SystemClock
from it_incident_response.workflow.failures import LOGGED, crossing
from it_incident_response.workflow.messages import HandOver, Look, StageOrder
from it_incident_response.workflow.queues import queue_of_step, site_of, site_queue
from it_incident_response.workflow.stage_runner import ACTING, Progress, StageRunner
from it_incident_response.workflow.stages import Next, Record, Stage

LOOK = "look"
HAND_OVER = "hand_over"
STAGES = frozenset(Stage) - {Stage.REST, Stage.AWAIT_APPROVAL}
"""Those that are activities, under their own names; the others are waiting."""

AT_SITE = frozenset({Stage.PLAN, Stage.RECOVER, Stage.VERIFY})
"""Stages that look at targets, which may need a worker at the targets' site."""
BEATS_A_TIMEOUT = 3

_FOLLOWED_BY: Mapping[Stage, Collection[Stage]] = {
    Stage.DIAGNOSE: (Stage.PLAN,),
    Stage.VERIFY: (Stage.CONFIRM_RECOVERY, Stage.ESCALATE, Stage.WRITE_UP),
    Stage.CONFIRM_RECOVERY: (Stage.WRITE_UP,),
}
"""Which short stages are run with a stage, in the same activity, when the record asks for them."""

Notify = Callable[[IncidentId, datetime], Awaitable[datetime | None]]
Activity = Callable[..., Coroutine[Any, Any, Look]]


class ActivitySettings(Value):
    """How the activities of one installation run."""

    queue_prefix: str = "iir"
    pace: float = 1.0
    """Seconds on our clock in one real second: more than 1 in a simulated world."""


class IncidentActivities:
    """What a worker does for `IncidentWorkflow`; one object in a process."""

    def __init__(
        self,
        stages: StageRunner,
        clock: Clock,
        inventory: Inventory,
        settings: ActivitySettings,
        *,
        notify: Notify,
    ) -> None:
        """`notify` sends the reminders that are due and returns when the next one is."""
        self._stages = stages
        self._clock = clock
        self._inventory = inventory
        self._settings = settings
        self._notify = notify

    def reading(self) -> Sequence[Activity]:
        """Return the activities that change nothing outside."""
        stages = map(self._stage_activity, sorted(STAGES - ACTING))
        return [self._look_activity(), self._hand_over_activity(), *stages]

    def acting(self) -> Sequence[Activity]:
        """Return the activities that carry out a step or take one back."""
        return [self._stage_activity(stage) for stage in sorted(ACTING)]

    async def look(self, incident_id: IncidentId) -> Look:
        """Return what comes next; sends the reminders that are due, denies what is overdue."""
        try:
            record, step = await self._stages.look(incident_id)
        except NotFound:
            return Look(stage=Stage.REST, reason="the record has no such incident", is_over=True)
        due = step.not_before
        if step.stage is Stage.AWAIT_APPROVAL:
            notice = await self._notify(incident_id, self._clock.now())
            due = min((at for at in (due, notice) if at is not None), default=None)
        return self._as_look(record, step, due)

    async def run_stage(self, order: StageOrder, progress: Progress | None = None) -> Look:
        """Run the stage that is ordered, unless the record asks for another by now.

        Short stages that follow from it are run at once: each trip through the engine costs more
        than they do. One that fails is ordered by itself then.
        """
        record, step = await self._stages.look(order.incident_id)
        due = None
        if (step.stage, step.step) == (order.stage, order.step):
            due = await self._stages.run(record, step, progress)
        to_follow = set(_FOLLOWED_BY.get(order.stage, ()))
        while due is None:
            record, step = await self._stages.look(order.incident_id)
            if step.stage not in to_follow or not self._can_follow(record, step):
                break
            to_follow.discard(step.stage)
            due = await self._stages.run(record, step)
        then = await self.look(order.incident_id)
        if due is None:
            return then
        wait_s = max(then.wait_s or 0.0, self._real_s(due))
        return then.model_copy(update={"wait_s": wait_s})

    def _can_follow(self, record: Record, step: Next) -> bool:
        return step.not_before is None and self._queue(record, step) is None

    def _as_look(self, record: Record, step: Next, due: datetime | None) -> Look:
        is_over = step.stage is Stage.REST and not record.incident.status.is_open
        return Look(
            stage=step.stage,
            reason=step.reason,
            wait_s=None if due is None else self._real_s(due),
            step=step.step,
            queue=self._queue(record, step),
            is_halted=record.incident.halt is not None,
            is_over=is_over,
        )

    def _real_s(self, until: datetime) -> float:
        return max(0.0, (until - self._clock.now()).total_seconds()) / self._settings.pace

    def _queue(self, record: Record, step: Next) -> str | None:
        prefix, steps = self._settings.queue_prefix, record.plan.steps if record.plan else ()
        if step.stage in ACTING:
            chosen = next((s for s in steps if s.number == step.step), None)
            return queue_of_step(prefix, chosen, self._inventory) if chosen else None
        if step.stage not in AT_SITE:
            return None
        sites = {site_of(host, self._inventory) for host in self._hosts(record, step)}
        site = sites.pop() if len(sites) == 1 else None
        return site_queue(prefix, site) if site else None

    def _hosts(self, record: Record, step: Next) -> list[str | None]:
        """Return the hosts that a stage looks at."""
        if step.stage is Stage.RECOVER:
            return [e.host for e in record.executions if e.state is StepState.STARTED]
        if step.stage is Stage.VERIFY:
            return [s.host for s in record.plan.steps] if record.plan else []
        named = [e.name for alert in record.alerts for e in alert.entities]
        named += record.incident.affected_systems
        hosts = [h for h in self._inventory.hosts if h.name in named]
        hosts += [host for name in named for host, _ in self._inventory.locate(name)]
        return [host.name for host in hosts]

    def _look_activity(self) -> Activity:
        @activity.defn(name=LOOK)
        async def look(incident_id: str) -> Look:
            with crossing():
                return await self.look(IncidentId(incident_id))

        return look

    def _hand_over_activity(self) -> Activity:
        @activity.defn(name=HAND_OVER)
        async def hand_over(order: HandOver) -> Look:
            with crossing():
                await self._stages.hand_over(order.incident_id, order.reason)
                return await self.look(order.incident_id)

        return hand_over

    def _stage_activity(self, stage: Stage) -> Activity:
        follow = _to_its_end if stage in ACTING else _until_shutdown

        @activity.defn(name=stage.value)
        async def run(order: StageOrder) -> Look:
            beat = _Beat()
            with crossing():
                async with beat.going():
                    work = self.run_stage(order, beat.progress)
                    return await follow(asyncio.create_task(work))

        return run


class _Beat:
    """Tells the engine now and then that this worker lives, and how far a watch has come."""

    def __init__(self) -> None:
        info = activity.info()
        self._limit = info.heartbeat_timeout
        self._watch = _watch_of(info.heartbeat_details)
        self.progress = Progress(watch=self._watch, on_reading=self._note)

    def _note(self, watch: Watch, readings: Sequence[CheckReading]) -> None:
        self._watch = watch

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Beat while the block runs; a local activity has no need to."""
        if self._limit is None:
            yield
            return
        task = asyncio.create_task(self._go(self._limit.total_seconds() / BEATS_A_TIMEOUT))
        try:
            yield
        finally:
            task.cancel()

    async def _go(self, every_s: float) -> None:
        while True:
            activity.heartbeat(*([self._watch] if self._watch else []))
            await SystemClock().sleep(every_s)


def _watch_of(details: Sequence[Any]) -> Watch | None:
    """Return what an attempt before this one told last; None if there is nothing to go on from."""
    try:
        return Watch.model_validate(details[0]) if details else None
    except ValidationError:
        # Of another release: the watch then begins afresh.
        return None


async def _until_shutdown(work: "asyncio.Task[Look]") -> Look:
    """Return what `work` returns; given up when the worker stops: another begins it afresh."""
    shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
    try:
        await asyncio.wait({work, shutdown}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        shutdown.cancel()
        if not work.done():
            await _end(work)
    if work.cancelled():
        raise ApplicationError("the worker was stopped", type="WorkerStopped", category=LOGGED)
    return work.result()


async def _to_its_end(work: "asyncio.Task[Look]") -> Look:
    """Return what `work` returns; stopped only when the workflow or the worker's end asks for it.

    An engine that lost sight of us for a while is no reason to stop an action in the middle: its
    result is in the journal, where whoever has the incident by then finds it.
    """
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.done():
                break
            details = activity.cancellation_details()
            if details is not None and (details.not_found or details.timed_out):
                continue
            await _end(work)
            raise
    return work.result()


async def _end(work: "asyncio.Task[Look]") -> None:
    work.cancel()
    await asyncio.wait({work})
