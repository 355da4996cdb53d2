"""ActionGate: the only way in which an action reaches an executor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from it_incident_response.domain.action import Action, ActionRecord, Risk
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.errors import (
    ActionError,
    ApprovalRequired,
    IncidentHalted,
    IncidentResponseError,
    InputRejected,
    PolicyDelayed,
    PolicyDenied,
    TargetLocked,
    TargetUnknown,
)
from it_incident_response.ports import Clock, Executor, Probe
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.events import (
    GATE,
    action_event,
    delay_event,
    is_same_wait,
    refusal_event,
)
from it_incident_response.safety.gate_task import (
    GateTask,
    described_step,
    read_task,
    require_standing,
)
from it_incident_response.safety.judge import PolicyJudge, SafetyStore
from it_incident_response.safety.people import as_actor, person_name
from it_incident_response.safety.policy import Effect, Policy, PolicyContext
from it_incident_response.safety.redaction import Redactor
from it_incident_response.safety.step_runner import Commands, StepRunner, would_run

_REFUSALS = (PolicyDenied, IncidentHalted, ApprovalRequired, TargetUnknown, InputRejected)
_NO_REAL_COMMANDS = "execute_real_commands is false: nothing was run"
REASON_MAX = 2000


@dataclass(frozen=True)
class ExecutionFlags:
    """The kill switches; as they are by default, nothing is changed anywhere."""

    execute_real: bool = False
    dry_run: bool = True

    @property
    def why_nothing_runs(self) -> str | None:
        """Which switch keeps actions from running, or None."""
        if self.dry_run:
            return "dry run: nothing was changed"
        return None if self.execute_real else _NO_REAL_COMMANDS


@dataclass
class ActionGate:
    """Runs steps of approved plans, each at most once, and journals every transition.

    Whatever was decided before is checked again here and now: the plan is the stored one, its
    digest is the approved one, the executor would still run exactly the approved commands, policy
    still allows it, the steps before it have succeeded, and the target is locked.
    """

    store: SafetyStore
    clock: Clock
    policy: Policy
    approvals: ApprovalManager
    executors: Mapping[str, Executor]
    inventory: Inventory
    parse: Callable[[ActionRecord], Action]
    """From a stored record to its typed action, checked against the inventory."""
    flags: ExecutionFlags = ExecutionFlags()
    redactor: Redactor = field(default_factory=Redactor)

    def __post_init__(self) -> None:
        self._judge = PolicyJudge(self.store, self.clock, self.policy, self.inventory)
        self._runner = StepRunner(self.store, self.clock, self.redactor)

    async def prepare(self, plan: Plan) -> Plan:
        """Return `plan` with what its executors would run and meet now, and policy's word.

        What is then approved is what `run_step` compares with. Raises `TargetUnknown` and
        `ConnectorError` if a step cannot be previewed.
        """
        steps = []
        for step in plan.steps:
            preview = await self._executor(step.executor).preview(self.parse(step.action))
            notes = tuple(self.redactor.redact(note) for note in preview.notes)
            steps.append(step.model_copy(update={"commands": preview.commands, "notes": notes}))
        return await self._judge.annotate(plan.model_copy(update={"steps": tuple(steps)}))

    async def run_step(
        self,
        plan: Plan,
        step: PlanStep,
        *,
        context: PolicyContext | None = None,
        is_undo: bool = False,
    ) -> Execution:
        """Run one step, or its undo, and return its journal row.

        A step that has ended returns the row there is: nothing runs twice. With a kill switch on,
        the row is a dry run with the exact commands. A row that is `failed` without `started_at`
        certainly changed nothing and may be tried again; every other failure is final for this
        plan. `context` gives severity and certainty; without it they come from the record.

        Raises `ApprovalRequired`, `PolicyDenied`, `IncidentHalted`, `TargetUnknown`,
        `ActionInDoubt` (recover or settle it first), `Conflict` (another worker has it), and
        `ConnectorError` if the target could not even be looked at. `PolicyDelayed` and
        `TargetLocked` pass by themselves: their `retry_after_s` says when to come again.

        An undo runs under the approval of its plan, which showed it; see
        `ApprovalManager.granted_for`. Cancelling stops the action; see `StepRunner.run`.
        """
        why_nothing_runs = self.flags.why_nothing_runs
        is_rehearsal = why_nothing_runs is not None
        try:
            task = await read_task(self.store, plan, step, self.parse, is_undo=is_undo)
            ended = task.outcome(is_rehearsal=is_rehearsal, running=self._runner.running)
            if ended is not None:
                return ended
            task.require_order(is_rehearsal=is_rehearsal)
            await self._admit(task, context, own_keys=task.intentions)
            commands = await self._same_commands(task)
            if why_nothing_runs is not None:
                return await self._runner.rehearse(task, commands, why_nothing_runs)
            executor = self._executor(task.step.executor)
            return await self._runner.run(
                task, executor, commands, lambda key: self._admit(task, context, own_keys=(key,))
            )
        except (PolicyDelayed, TargetLocked) as wait:
            await self._note_wait(plan, step, wait, is_undo=is_undo)
            raise
        except _REFUSALS as refusal:
            await self._note_refusal(plan.incident_id, step, refusal)
            raise

    async def run_read_only(
        self, action: Action, *, incident_id: IncidentId | None = None, by: str = "agent:diagnostic"
    ) -> Execution:
        """Run a read-only diagnostic under the policy, without approval, lock or journal.

        It is audited, and runs in a dry run too, since it changes nothing; with
        `execute_real_commands: false` it only shows its commands. Raises `PolicyDenied` and
        what the executor raises.
        """
        step, incident = described_step(action), incident_id or IncidentId("")
        try:
            self._require_readable(action, step)
            executor = self._executor(action.executor)
        except _REFUSALS as refusal:
            await self._note_refusal(incident, step, refusal)
            raise
        row = self._row_outside_plans(action, incident)
        if not self.flags.execute_real:
            commands = (await executor.preview(action)).commands
            changes = {"results": would_run(commands), "error": _NO_REAL_COMMANDS}
            return row.model_copy(update=changes)
        row = row.model_copy(update={"state": StepState.STARTED, "started_at": self.clock.now()})
        await self._note(row, "read_started", f"{by} looks: {action.describe()}")
        done = self._runner.ended(row, await executor.execute(action, key=row.key))
        await self._note(done, "read_ended", f"{by} looked ({done.state}): {action.describe()}")
        return done

    async def recover(self, incident_id: IncidentId) -> Sequence[Execution]:
        """Settle what a crash left `started`: looks, and never runs anything again.

        A step that demonstrably took effect is finished; any other is in doubt, for a human. What
        is only `intended` was never begun and is left for `run_step` to begin. Gives back the
        locks that nothing needs any more.

        Returns the rows it found. One that still is `started` runs in this very process: it is not
        settled, so come again later.
        """
        is_halted = (await self.store.incident(incident_id)).halt is not None
        rows = await self.store.executions_of(incident_id)
        found = []
        for row in (r for r in rows if r.state is StepState.STARTED):
            is_running = row.key in self._runner.running
            found.append(row if is_running else await self._recover(row, is_halted=is_halted))
        await self.store.unlock_idle(incident_id)
        return found

    async def settle(
        self, incident_id: IncidentId, key: str, *, took_effect: bool, by: str, reason: str
    ) -> Execution:
        """Record a person's finding on a step in doubt; raises `PolicyDenied`, `InputRejected`."""
        name = person_name(by)
        if name is None or not self.policy.roles_of(name):
            raise PolicyDenied(f"{by!r} has no role in the policy, so cannot settle a step")
        rows = await self.store.executions_of(incident_id)
        row = next((r for r in rows if r.key == key and r.state is StepState.IN_DOUBT), None)
        if row is None:
            raise InputRejected(f"incident {incident_id} has no step in doubt with key {key!r}")
        state = StepState.FINISHED if took_effect else StepState.FAILED
        done = row.model_copy(update={"state": state, "error": f"{name}: {reason[:REASON_MAX]}"})
        summary = f"{name} looked at step {row.step} and says it is {state}: {reason[:REASON_MAX]}"
        event = action_event(done, self.clock.now(), kind="settled", summary=summary)
        event = event.model_copy(update={"actor": as_actor(name)})
        await self.store.advance(done, StepState.IN_DOUBT, [event])
        # Whoever looked knows that nothing goes on there any more.
        await self.store.unlock_idle(incident_id)
        return done

    async def _admit(
        self, task: GateTask, context: PolicyContext | None, *, own_keys: Sequence[str]
    ) -> None:
        """Raise unless the incident, the policy and the approval allow the step now."""
        await require_standing(self.store, task.plan)
        facts = await self._judge.context(task.plan, excluding=own_keys)
        if context is not None:
            current = {"now": facts.now, "inventory": facts.inventory, "history": facts.history}
            facts = context.model_copy(update=current)
        ruling = self.policy.judge(task.step, facts)
        if ruling.effect is Effect.FORBID:
            raise await self._judge.refusal(task.step, ruling, facts, excluding=own_keys)
        is_asked = task.plan.needs_approval or ruling.effect is Effect.APPROVE
        if is_asked and self.flags.why_nothing_runs is None:
            undo = [self.policy.judge_lasting(task.step, facts)] if task.is_undo else []
            await self.approvals.granted_for(task.plan, since=task.ran_until, undo=undo)

    async def _same_commands(self, task: GateTask) -> Commands:
        """Return what would run now; raises `ApprovalRequired` if something else was approved."""
        task.action.require_known(self.inventory)
        preview = await self._executor(task.step.executor).preview(task.action)
        if not task.is_undo and preview.commands != task.step.commands:
            raise ApprovalRequired(
                f"step {task.step.number} would now run other commands than the plan shows",
                hint="the target or its settings changed: have the incident planned again",
            )
        return preview.commands

    async def _recover(self, row: Execution, *, is_halted: bool) -> Execution:
        try:
            action = self.parse(row.action)
            executor = self._executor(action.executor)
        except (InputRejected, ActionError) as error:
            probe = Probe(took_effect=None, detail=f"it cannot be looked at: {error.message}")
            return await self._runner.record_found(row, probe)
        return await self._runner.recover(row, action, executor, is_halted=is_halted)

    def _require_readable(self, action: Action, step: PlanStep) -> None:
        if action.risk is not Risk.READ_ONLY:
            raise PolicyDenied(
                f"{action.kind} changes something, so it needs a plan and its approval"
            )
        action.require_known(self.inventory)
        facts = PolicyContext(now=self.clock.now(), inventory=self.inventory)
        ruling = self.policy.judge(step, facts)
        if ruling.effect is not Effect.AUTO:
            raise PolicyDenied(f"policy does not let {action.kind} run by itself: {ruling}")

    def _executor(self, name: str) -> Executor:
        executor = self.executors.get(name)
        if executor is None:
            known = ", ".join(sorted(self.executors)) or "none"
            raise ActionError(
                f"no executor {name!r} is configured", hint=f"configured are: {known}"
            )
        return executor

    def _row_outside_plans(self, action: Action, incident_id: IncidentId) -> Execution:
        now = self.clock.now()
        row_id = new_id(now)
        return Execution(
            id=row_id,
            key=f"read-only/{row_id}",
            incident_id=incident_id,
            plan_id="",
            plan_digest="",
            step=0,
            action=action.record(),
            target=action.target,
            host=action.host,
            state=StepState.DRY_RUN,
            intended_at=now,
        )

    async def _note(self, row: Execution, kind: str, summary: str) -> None:
        event = action_event(row, self.clock.now(), kind=kind, summary=summary)
        await self.store.append([event])

    async def _note_wait(
        self, plan: Plan, step: PlanStep, wait: PolicyDelayed | TargetLocked, *, is_undo: bool
    ) -> None:
        """Audit that a step has to wait: once for as long as it waits for the same thing."""
        event = delay_event(plan, step, wait, self.clock.now(), is_undo=is_undo)
        if not is_same_wait(event, await self._last_of_gate(plan.incident_id)):
            await self.store.append([event])

    async def _last_of_gate(self, incident_id: IncidentId) -> AuditEvent | None:
        last: AuditEvent | None = None
        after = 0
        while events := await self.store.events(incident_id=incident_id, after=after):
            last = next((e for e in reversed(events) if e.actor == GATE), last)
            after = events[-1].sequence or 0
        return last

    async def _note_refusal(
        self, incident_id: IncidentId, step: PlanStep, refusal: IncidentResponseError
    ) -> None:
        await self.store.append([refusal_event(incident_id, step, refusal, self.clock.now())])
