"""StepRunner: takes one admitted step through lock and journal, around the call of its executor."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import CommandResult, Execution, StepState
from it_incident_response.domain.ids import new_id
from it_incident_response.errors import (
    ActionFailed,
    ActionInDoubt,
    Conflict,
    ConnectorError,
    IncidentResponseError,
    TargetUnknown,
)
from it_incident_response.ports import Clock, Executor, Outcome, Probe, Stopwatch, StopWitness
from it_incident_response.safety.events import action_event
from it_incident_response.safety.gate_task import GateTask, require_standing
from it_incident_response.safety.judge import INTENT_LIFETIME, SafetyStore
from it_incident_response.safety.redaction import Redactor
from it_incident_response.safety.stopping import end_attempt, outlast, unbroken
from it_incident_response.safety.target_hold import TargetHold

BACKSTOP_S = 30.0
"""How much longer than the action's own limit an executor may take before we stop waiting."""
PROBE_PAUSE_S = 2.0
"""Between two looks at what a crash left behind."""
LOOK_S = 10.0
"""How long the look at an action that was just stopped may take."""
STOPPING_S = 60.0
"""How long it may take in all to stop an action, to look and to write down what was seen."""
OUTPUT_MAX = 64 * 1024
"""Characters kept of what one command printed: the beginning and the end."""

Commands = tuple[tuple[str, ...], ...]
Admit = Callable[[str], Awaitable[None]]
Attempt = asyncio.Task[Outcome]


class StepRunner:
    """Writes the journal; `running` holds the keys of the steps that run in this process."""

    def __init__(self, store: SafetyStore, clock: Clock, redactor: Redactor) -> None:
        self._store = store
        self._clock = clock
        self._redactor = redactor
        self._stopped: set[str] = set()
        self.running: set[str] = set()

    async def rehearse(self, task: GateTask, commands: Commands, why: str) -> Execution:
        """Journal what would have run."""
        now = self._clock.now()
        row = task.row(StepState.DRY_RUN, new_id(now), now)
        row = row.model_copy(update={"results": would_run(commands), "error": why, "ended_at": now})
        summary = f"would have run: {task.action.describe()}"
        await self._store.intend(row, [action_event(row, now, kind="dry_run", summary=summary)])
        return row

    async def run(
        self, task: GateTask, executor: Executor, commands: Commands, admit: Admit
    ) -> Execution:
        """Run the step and return its final row.

        `admit` is asked once more, with the row's key, when target and row are reserved. The lock
        is kept when the action may still be going on at the target: it then runs out by itself.

        When this call is cancelled, the action is stopped and the journal says so before the
        cancellation goes on: a step of a halted incident has ended then, by a look or in doubt;
        any other stays `started`, for whoever goes on to look at.
        """
        hold = TargetHold(self._store, self._clock, task, for_s=patience_s(task.action))
        await hold.take()
        try:
            row = await self._begin(task, hold, executor, commands, admit)
        except Conflict:
            raise  # another worker of this incident has the step, and the lock with it
        except BaseException:
            await outlast(hold.give_back())
            raise
        self.running.add(row.key)
        try:
            return await self._carry_out(task, hold, executor, row)
        finally:
            self.running.discard(row.key)

    async def recover(
        self, row: Execution, action: Action, executor: Executor, *, is_halted: bool = False
    ) -> Execution:
        """Find out how a started step ended, without running anything.

        What has not visibly taken effect is looked at for as long as the action may take: it may
        still be going on. That time is counted from the first look, since how long ago it was
        begun is not known where the clock may have been set meanwhile. What this process itself
        has stopped for a halted incident is looked at once.
        """
        looked = Stopwatch(self._clock)
        is_stopped = is_halted and row.key in self._stopped
        while True:
            probe = await _looked(executor, action, row)
            if probe.took_effect or is_stopped or looked.elapsed_s >= patience_s(action):
                return await self.record_found(row, probe)
            await self._clock.sleep(PROBE_PAUSE_S)

    async def record_found(self, row: Execution, probe: Probe) -> Execution:
        """Journal what a look at a started step showed."""
        detail = self._redactor.redact(probe.detail)
        done = self._found(row, probe, f"interrupted, and not seen to be done: {detail}")
        summary = f"after an interruption, step {row.step} is {done.state}: {detail}"
        event = action_event(done, self._clock.now(), kind="recovered", summary=summary)
        await self._store.advance(done, StepState.STARTED, [event])
        if done.state is StepState.FINISHED:
            holder = f"incident {row.incident_id}"
            await self._store.unlock_target(row.target, holder=holder)
        return done

    def ended(self, row: Execution, outcome: Outcome) -> Execution:
        """Return the row with an executor's outcome, redacted and bounded."""
        error = outcome.error if outcome.error else None if outcome.succeeded else "it failed"
        return row.model_copy(
            update={
                "state": StepState.FINISHED if outcome.succeeded else StepState.FAILED,
                "ended_at": self._clock.now(),
                "results": self._redacted(outcome.results),
                "error": self._redactor.redact(error) if error else None,
            }
        )

    async def _begin(
        self,
        task: GateTask,
        hold: TargetHold,
        executor: Executor,
        commands: Commands,
        admit: Admit,
    ) -> Execution:
        """Reserve the row, ask once more, and journal the start; nothing is sent if this raises."""
        before = (await executor.probe(task.action)).outputs or None
        row = await self._intend(task, commands)
        await admit(row.key)
        await hold.take()
        changes = {"state": StepState.STARTED, "started_at": self._clock.now(), "before": before}
        row = row.model_copy(update=changes)
        start = asyncio.ensure_future(self._start(task, hold, row, commands))
        try:
            await asyncio.shield(start)
        except asyncio.CancelledError:
            await outlast(self._take_back_start(start, row))
            raise
        return row

    async def _intend(self, task: GateTask, commands: Commands) -> Execution:
        """Journal the intention, or take up the one of a worker that never began.

        Should that worker be alive after all: only one of the two can move the row to started.
        """
        latest, now = task.latest, self._clock.now()
        if latest is not None and latest.state is StepState.INTENDED:
            if now - latest.intended_at < INTENT_LIFETIME:
                return latest
            await self._give_up(latest)
        row = task.row(StepState.INTENDED, new_id(now), now)
        summary = f"about to act: {task.action.describe()}"
        event = action_event(row, now, kind="intended", summary=summary, commands=commands)
        await self._store.intend(row, [event])
        return row

    async def _give_up(self, row: Execution) -> None:
        """Close an intention so old that nobody can still mean it."""
        now = self._clock.now()
        changes = {"state": StepState.FAILED, "ended_at": now, "error": "it was never begun"}
        event = action_event(row, now, kind="failed", summary=f"step {row.step} was never begun")
        await self._store.advance(row.model_copy(update=changes), StepState.INTENDED, [event])

    async def _start(
        self, task: GateTask, hold: TargetHold, row: Execution, commands: Commands
    ) -> None:
        """Journal the start, then see that nothing stands against it any more.

        In this order: a person who halts the incident from now on finds a step that has begun, and
        has it stopped; whoever halted it before is seen here.
        """
        now = self._clock.now()
        summary = f"acting: {task.action.describe()}"
        event = action_event(row, now, kind="started", summary=summary, commands=commands)
        await self._store.advance(row, StepState.INTENDED, [event])
        try:
            await require_standing(self._store, task.plan)
            await hold.require(row)
        except IncidentResponseError as obstacle:
            await self._never_began(row, obstacle.message)
            raise

    async def _take_back_start(self, start: "asyncio.Task[None]", row: Execution) -> None:
        await asyncio.wait({start})
        if not start.cancelled() and start.exception() is None:
            await self._never_began(row, "it was stopped before anything was sent")

    async def _never_began(self, row: Execution, reason: str) -> None:
        """Journal that nothing of a started step was sent, and nothing will be."""
        done = self._over(row, StepState.FAILED, reason).model_copy(update={"started_at": None})
        summary = f"step {row.step} was not begun: {done.error}"
        event = action_event(done, self._clock.now(), kind="failed", summary=summary)
        await self._store.advance(done, StepState.STARTED, [event])

    async def _carry_out(
        self, task: GateTask, hold: TargetHold, executor: Executor, row: Execution
    ) -> Execution:
        attempt = asyncio.ensure_future(executor.execute(task.action, key=row.key))
        try:
            await asyncio.wait({attempt}, timeout=patience_s(task.action))
        except asyncio.CancelledError:
            await outlast(self._stop(task, hold, executor, row, attempt), STOPPING_S)
            raise
        if not attempt.done():
            await end_attempt(attempt)
        done = self._known(row, attempt) or self._over(
            row, StepState.IN_DOUBT, _why_unknown(attempt, "the executor did not come back in time")
        )
        await unbroken(self._end(task, hold, done))
        return done

    async def _end(self, task: GateTask, hold: TargetHold, done: Execution) -> None:
        """Journal the end; the target is free unless the action may still be going on."""
        summary = f"{done.state}: {task.action.describe()}"
        if done.state is StepState.IN_DOUBT:
            summary = f"{summary} {done.error}"
        event = action_event(done, self._clock.now(), kind=done.state.value, summary=summary)
        await self._store.advance(done, StepState.STARTED, [event])
        if done.state is not StepState.IN_DOUBT:
            await hold.release()

    async def _stop(
        self, task: GateTask, hold: TargetHold, executor: Executor, row: Execution, attempt: Attempt
    ) -> None:
        """Stop a running action whose caller is cancelled, and write down what is known of it."""
        await end_attempt(attempt)
        if attempt.done():
            self._stopped.add(row.key)
        known = self._known(row, attempt)
        if known is None:
            known = await self._cut_off(task.action, executor, row, attempt)
        if known is not None:
            await self._end(task, hold, known)

    async def _cut_off(
        self, action: Action, executor: Executor, row: Execution, attempt: Attempt
    ) -> Execution | None:
        """Return how a stopped action of a halted incident ended; None if it is left `started`."""
        seen = _why_unknown(attempt, _witnessed(executor, row.key, attempt))
        halt = (await self._store.incident(row.incident_id)).halt
        if halt is None:
            summary = f"step {row.step} was interrupted: {self._redactor.redact(seen)}"
            event = action_event(row, self._clock.now(), kind="interrupted", summary=summary)
            await self._store.append([event])
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                probe = await _looked(executor, action, row)
        except TimeoutError:
            probe = Probe(took_effect=None, detail="the target did not answer in time")
        said = f"stopped while it ran ({halt}): {seen}; a look afterwards: {probe.detail}"
        return self._found(row, probe, self._redactor.redact(said))

    def _known(self, row: Execution, attempt: Attempt) -> Execution | None:
        """Return the row of an attempt that has ended, or None if nobody knows how it ended."""
        if not attempt.done() or attempt.cancelled():
            return None
        try:
            outcome = attempt.result()
        except (ActionInDoubt, TimeoutError):
            return None
        except (ConnectorError, TargetUnknown) as error:
            # By the executors' contract nothing was started: the row says so, and may be retried.
            done = self._over(row, StepState.FAILED, error.message)
            return done.model_copy(update={"started_at": None})
        except ActionFailed as error:
            return self._over(row, StepState.FAILED, error.message)
        return self.ended(row, outcome)

    def _found(self, row: Execution, probe: Probe, doubt: str) -> Execution:
        """Return the row by what a look showed; `doubt` says why it is in doubt otherwise."""
        if probe.took_effect is True:
            done = self._over(row, StepState.FINISHED, None)
        else:
            done = self._over(row, StepState.IN_DOUBT, doubt)
        return done.model_copy(update={"results": self._redacted(probe.results)})

    def _over(self, row: Execution, state: StepState, error: str | None) -> Execution:
        said = self._redactor.redact(error) if error else None
        changes = {"state": state, "ended_at": self._clock.now(), "error": said}
        return row.model_copy(update=changes)

    def _redacted(self, results: Sequence[CommandResult]) -> tuple[CommandResult, ...]:
        return tuple(self._redacted_result(result) for result in results)

    def _redacted_result(self, result: CommandResult) -> CommandResult:
        text = self._redactor.redact(result.output)
        if len(text) <= OUTPUT_MAX:
            return result.model_copy(update={"output": text})
        half = OUTPUT_MAX // 2
        cut = f"{text[:half]}\n[{len(text) - OUTPUT_MAX} characters left out]\n{text[-half:]}"
        return result.model_copy(update={"output": cut, "is_truncated": True})


def patience_s(action: Action) -> float:
    """Return how long we wait for an action, in seconds: its limit for each command, and some."""
    return action.time_limit_s * max(1, len(action.commands())) + BACKSTOP_S


def would_run(commands: Commands) -> tuple[CommandResult, ...]:
    """Return the commands as results of nothing: without exit status."""
    return tuple(CommandResult(command=command) for command in commands)


async def _looked(executor: Executor, action: Action, row: Execution) -> Probe:
    try:
        return await executor.probe(action, before=row.before)
    except (ConnectorError, TargetUnknown) as error:
        return Probe(took_effect=None, detail=f"it cannot be looked at: {error.message}")


def _why_unknown(attempt: Attempt, otherwise: str) -> str:
    """Return what an executor says of an attempt whose end it did not see."""
    if attempt.done() and not attempt.cancelled():
        error = attempt.exception()
        if isinstance(error, IncidentResponseError):
            return error.message
    return otherwise


def _witnessed(executor: Executor, key: str, attempt: Attempt) -> str:
    if not attempt.done():
        return "it could not be stopped, and may be going on"
    seen = executor.how_it_stopped(key) if isinstance(executor, StopWitness) else None
    return seen or "its executor was told to stop, and has"
