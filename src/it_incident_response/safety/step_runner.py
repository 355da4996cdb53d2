"""StepRunner: takes one admitted step through lock and journal, around the call of its executor."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import CommandResult, Execution, StepState
from it_incident_response.domain.ids import new_id
from it_incident_response.errors import (
    ActionFailed,
    ActionInDoubt,
    ConnectorError,
    IncidentResponseError,
    TargetUnknown,
)
from it_incident_response.ports import Clock, Executor, Outcome, Probe
from it_incident_response.ports.clock import Stopwatch
from it_incident_response.safety.events import action_event
from it_incident_response.safety.gate_task import GateTask
from it_incident_response.safety.judge import INTENT_LIFETIME, SafetyStore
from it_incident_response.safety.redaction import Redactor

LOCK_MARGIN_S = 60.0
"""A target stays locked this much longer than we wait for its action."""
BACKSTOP_S = 30.0
"""How much longer than the action's own limit an executor may take before we stop waiting."""
PROBE_PAUSE_S = 2.0
"""Between two looks at what a crash left behind."""
OUTPUT_MAX = 64 * 1024
"""Characters kept of what one command printed: the beginning and the end."""

Commands = tuple[tuple[str, ...], ...]
Admit = Callable[[str], Awaitable[None]]


class StepRunner:
    """Writes the journal; `running` holds the keys of the steps that run in this process."""

    def __init__(self, store: SafetyStore, clock: Clock, redactor: Redactor) -> None:
        self._store = store
        self._clock = clock
        self._redactor = redactor
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
        """
        await self._lock(task)
        may_be_going_on = False
        key = ""
        try:
            before = (await executor.probe(task.action)).outputs or None
            row = await self._intend(task, commands)
            key = row.key
            await admit(key)
            await self._lock(task)
            row = await self._start(task, row, before, commands)
            may_be_going_on = True
            self.running.add(key)
            done = await self._execute(task, executor, row)
            may_be_going_on = done.state is StepState.IN_DOUBT
            return done
        finally:
            self.running.discard(key)
            if not may_be_going_on:
                await self._store.unlock_target(task.step.target, holder=task.holder)

    async def recover(self, row: Execution, action: Action, executor: Executor) -> Execution:
        """Find out how a started step ended, without running anything.

        What has not visibly taken effect is looked at for as long as the action may take: it may
        still be going on. That time is counted from the first look, since how long ago it was
        begun is not known where the clock may have been set meanwhile.
        """
        looked = Stopwatch(self._clock)
        while True:
            try:
                probe = await executor.probe(action, before=row.before)
            except (ConnectorError, TargetUnknown) as error:
                probe = Probe(took_effect=None, detail=f"it cannot be looked at: {error.message}")
            if probe.took_effect or looked.elapsed_s >= patience_s(action):
                return await self.record_found(row, probe)
            await self._clock.sleep(PROBE_PAUSE_S)

    async def record_found(self, row: Execution, probe: Probe) -> Execution:
        """Journal what a look at a started step showed."""
        now = self._clock.now()
        took_effect = probe.took_effect is True
        detail = self._redactor.redact(probe.detail)
        done = row.model_copy(
            update={
                "state": StepState.FINISHED if took_effect else StepState.IN_DOUBT,
                "ended_at": now,
                "results": self._redacted(probe.results),
                "error": None if took_effect else f"interrupted, and not seen to be done: {detail}",
            }
        )
        summary = f"after an interruption, step {row.step} is {done.state}: {detail}"
        event = action_event(done, now, kind="recovered", summary=summary)
        await self._store.advance(done, StepState.STARTED, [event])
        if took_effect:
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

    async def _lock(self, task: GateTask) -> None:
        now = self._clock.now()
        until = now + timedelta(seconds=patience_s(task.action) + LOCK_MARGIN_S)
        await self._store.lock_target(task.step.target, holder=task.holder, now=now, until=until)

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
        self, task: GateTask, row: Execution, before: tuple[str, ...] | None, commands: Commands
    ) -> Execution:
        now = self._clock.now()
        changes: Mapping[str, Any] = {"state": StepState.STARTED, "started_at": now}
        started = row.model_copy(update={**changes, "before": before})
        summary = f"acting: {task.action.describe()}"
        event = action_event(started, now, kind="started", summary=summary, commands=commands)
        await self._store.advance(started, StepState.INTENDED, [event])
        return started

    async def _execute(self, task: GateTask, executor: Executor, row: Execution) -> Execution:
        try:
            async with asyncio.timeout(patience_s(task.action)):
                outcome = await executor.execute(task.action, key=row.key)
        except (ActionInDoubt, TimeoutError) as error:
            done = self._stopped(row, StepState.IN_DOUBT, error)
        except (ConnectorError, TargetUnknown) as error:
            # By the executors' contract nothing was started: the row says so, and may be retried.
            done = self._stopped(row, StepState.FAILED, error)
            done = done.model_copy(update={"started_at": None})
        except ActionFailed as error:
            done = self._stopped(row, StepState.FAILED, error)
        else:
            done = self.ended(row, outcome)
        summary = f"{done.state}: {task.action.describe()}"
        event = action_event(done, self._clock.now(), kind=done.state.value, summary=summary)
        await self._store.advance(done, StepState.STARTED, [event])
        return done

    def _stopped(
        self, row: Execution, state: StepState, error: IncidentResponseError | TimeoutError
    ) -> Execution:
        late = "the executor did not come back in time"
        said = error.message if isinstance(error, IncidentResponseError) else late
        changes = {"state": state, "ended_at": self._clock.now()}
        return row.model_copy(update={**changes, "error": self._redactor.redact(said)})

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
