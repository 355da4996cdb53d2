"""One incident from opening to end, as a durable workflow; reads like the runbook.

It decides nothing itself: the record does, which each activity reads afresh. So a signal only
wakes it, and the same record leads any worker, of this release or the next, to the same stage.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from it_incident_response.workflow.activities import HAND_OVER, LOOK
    from it_incident_response.workflow.failures import ONCE, READ, STORE
    from it_incident_response.workflow.messages import (
        HandOver,
        IncidentStart,
        Look,
        StageOrder,
        Standing,
    )
    from it_incident_response.workflow.stage_runner import ACTING
    from it_incident_response.workflow.stages import Stage

WAITING = frozenset({Stage.REST, Stage.AWAIT_APPROVAL})
OF_THE_STORE = frozenset({Stage.ESCALATE, Stage.WRITE_UP})
"""Short stages that reach for nothing but our own record."""

HEARTBEAT = timedelta(seconds=10)
"""A worker that is silent for so long in the middle of a stage is taken for dead."""
LONGEST_STAGE = timedelta(hours=6)
"""A backstop: each action and each watch has its own, shorter, limit."""
NO_WORKER_AFTER = timedelta(minutes=30)
"""A step that no worker of its queue has taken by then is looked at again."""
SHORT = timedelta(seconds=60)

SAME_AGAIN_MAX = 3
"""The same stage for the same reason so often in a row, before we pause in between."""
PAUSE_S_MAX = 300.0
WAKES_KEPT = 5


@workflow.defn
class IncidentWorkflow:
    """Carries one incident; its id is the incident's, so the engine refuses a second one."""

    @workflow.init
    def __init__(self, start: IncidentStart) -> None:
        self._id = start.incident_id
        self._woken = False
        self._wakes: list[str] = []
        self._standing = Standing(stage=None, reason="about to look", state="working")

    @workflow.run
    async def run(self, start: IncidentStart) -> str:
        """Carry the incident until it is over; returns how it ended.

        One that somebody started by hand under another id is no incident's workflow, and ends.
        """
        if workflow.info().workflow_id != self._id:
            return "the workflow's id is not the incident's"
        repeats = start.repeats
        look = await self._look()
        while not look.is_over:
            if look.stage in WAITING or look.wait_s:
                await self._wait(look)
                look = await self._look()
            else:
                then = await self._do(look)
                repeats = repeats + 1 if _is_same(look, then) else 0
                look = _with_pause(then, repeats)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(IncidentStart(incident_id=self._id, repeats=repeats))
        self._standing = Standing(stage=look.stage, reason=look.reason, state="ended")
        return look.reason

    @workflow.query
    def standing(self) -> Standing:
        """Where it is and why, and what woke it last."""
        return self._standing.model_copy(update={"wakes_by": tuple(self._wakes)})

    @workflow.signal
    def wake(self) -> None:
        """Something in the record changed."""
        self._wake("wake")

    @workflow.signal
    def alerts_joined(self) -> None:
        """New alerts belong to the incident."""
        self._wake("alerts_joined")

    @workflow.signal
    def alert_resolved(self) -> None:
        """One of its alerts has resolved."""
        self._wake("alert_resolved")

    @workflow.signal
    def approved(self) -> None:
        """Somebody approved; counts only when the record says so."""
        self._wake("approved")

    @workflow.signal
    def rejected(self) -> None:
        """Somebody rejected; counts only when the record says so."""
        self._wake("rejected")

    @workflow.signal
    def cancel(self) -> None:
        """Somebody cancelled; counts only when the record says so."""
        self._wake("cancel")

    @workflow.signal
    def taken_over(self) -> None:
        """A person took over; counts only when the record says so."""
        self._wake("taken_over")

    @workflow.signal
    def rediagnose(self) -> None:
        """Somebody wants it diagnosed afresh; counts only when the record says so."""
        self._wake("rediagnose")

    def _wake(self, by: str) -> None:
        self._woken = True
        self._wakes = [*self._wakes, by][-WAKES_KEPT:]

    async def _look(self) -> Look:
        self._woken = False
        look: Look = await workflow.execute_local_activity(
            LOOK, self._id, result_type=Look, start_to_close_timeout=SHORT, retry_policy=STORE
        )
        return look

    async def _wait(self, look: Look) -> None:
        """Sleep until something happens, or it is time to look again."""
        limit = None if look.wait_s is None else timedelta(seconds=look.wait_s)
        self._standing = Standing(
            stage=look.stage,
            reason=look.reason,
            state="waiting",
            until=workflow.now() + limit if limit else None,
        )
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=limit)
        except TimeoutError:
            return

    async def _do(self, look: Look) -> Look:
        """Run one stage; what became of a stage that failed, the record says."""
        self._standing = Standing(stage=look.stage, reason=look.reason, state="working")
        order = StageOrder(incident_id=self._id, stage=look.stage, step=look.step)
        try:
            if look.stage in OF_THE_STORE:
                return await self._briefly(order)
            return await self._at_length(order, look.queue)
        except ActivityError as error:
            if is_cancelled_exception(error) or look.stage in ACTING | {Stage.RECOVER}:
                return await self._look()
            return await self._give_up(look, error)

    async def _briefly(self, order: StageOrder) -> Look:
        look: Look = await workflow.execute_local_activity(
            order.stage.value,
            order,
            result_type=Look,
            start_to_close_timeout=SHORT,
            retry_policy=STORE,
        )
        return look

    async def _at_length(self, order: StageOrder, queue: str | None) -> Look:
        """Run a stage that may take long; stop it when a person has halted the incident."""
        is_action = order.stage in ACTING
        running = workflow.start_activity(
            order.stage.value,
            order,
            result_type=Look,
            task_queue=queue,
            start_to_close_timeout=LONGEST_STAGE,
            schedule_to_start_timeout=NO_WORKER_AFTER if is_action else None,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=ONCE if is_action else READ,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        is_told = was_woken = False
        while not running.done():
            self._woken = False
            await workflow.wait_condition(lambda: running.done() or self._woken)
            was_woken = was_woken or self._woken
            if not running.done() and not is_told and (await self._look()).is_halted:
                is_told = running.cancel()
        try:
            look: Look = await running
        finally:
            # What the stage read last may be older than what woke us: wait for nothing unseen.
            self._woken = self._woken or was_woken
        return look

    async def _give_up(self, failed: Look, error: ActivityError) -> Look:
        """Hand the incident to a human: trying again has not helped, or cannot."""
        stage = failed.stage.value.replace("_", " ")
        reason = f"{stage} was given up: {error.cause or error}"
        look: Look = await workflow.execute_local_activity(
            HAND_OVER,
            HandOver(incident_id=self._id, reason=reason),
            result_type=Look,
            start_to_close_timeout=SHORT,
            retry_policy=STORE,
        )
        return look


def _is_same(one: Look, other: Look) -> bool:
    return (one.stage, one.step, one.reason) == (other.stage, other.step, other.reason)


def _with_pause(look: Look, repeats: int) -> Look:
    """Return `look`, put off if the same was asked for too often in a row."""
    if repeats < SAME_AGAIN_MAX:
        return look
    pause_s = min(PAUSE_S_MAX, 2.0 ** (repeats - SAME_AGAIN_MAX + 1))
    return look.model_copy(update={"wait_s": max(look.wait_s or 0.0, pause_s)})
