"""ResolutionAgent: from a diagnosis to a plan, and from an approved plan to a verified fix."""

from collections.abc import Mapping, Sequence

from it_incident_response.actions import parse_action
from it_incident_response.actions.planning import make_plan, manual_steps
from it_incident_response.agents.recovery_checks import with_recovery_checks
from it_incident_response.agents.undoing import describe_taking_back, undoable
from it_incident_response.agents.verification import (
    BoundCheck,
    OnReading,
    Verifier,
    Watch,
    bind_checks,
)
from it_incident_response.domain.action import Action, AlertsCleared
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.domain.verification import Verification
from it_incident_response.errors import NotFound, PolicyDenied
from it_incident_response.ports import Clock, Executor, Store
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.gate import ActionGate

ACTOR = "agent:resolution"

SUMMARY_MAX = 2000

ALERTS_ONLY = "alerts"
"""Stands for the plan in a verification that no plan preceded."""


class ResolutionAgent:
    """Plans, carries out through the gate, verifies; nothing reaches a system any other way."""

    def __init__(  # noqa: PLR0913 - the composition root sets each by name
        self,
        store: Store,
        clock: Clock,
        gate: ActionGate,
        approvals: ApprovalManager,
        verifier: Verifier,
        *,
        inventory: Inventory,
        executors: Mapping[str, Executor],
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._approvals = approvals
        self._verifier = verifier
        self._inventory = inventory
        self._executors = executors

    async def make_plan(self, incident: Incident, diagnosis: Diagnosis) -> Plan | None:
        """Store a plan and ask for its approval; None if no action of ours fits.

        Every step shows the very commands that its executor would run now. A plan that policy
        forbids is stored as forbidden. Raises `ConnectorError` if a target cannot be looked at.
        """
        draft = make_plan(
            incident=incident,
            diagnosis=diagnosis,
            entities=await self._entities(incident),
            inventory=self._inventory,
            available_executors=self._executors,
            now=self._clock.now(),
        )
        if draft is None or diagnosis.top is None:
            return None
        evidence = await self._store.evidence_of(incident.id)
        draft = with_recovery_checks(draft, diagnosis.top, evidence)
        plan = await self._gate.prepare(draft.model_copy(update={"episode": incident.episode}))
        try:
            await self._approvals.request(plan, by=ACTOR)
        except PolicyDenied as denied:
            plan = plan.model_copy(update={"is_forbidden": denied.message})
            event = self._event(plan, "plan.forbidden", denied.message)
            await self._store.add_plan(plan, None, [event])
        return plan

    async def by_hand(self, incident: Incident, diagnosis: Diagnosis) -> tuple[str, ...]:
        """Return what only a person can do about this diagnosis, and why we cannot."""
        return manual_steps(
            diagnosis=diagnosis,
            entities=await self._entities(incident),
            inventory=self._inventory,
            available_executors=self._executors,
        )

    async def execute(self, plan: Plan) -> Sequence[Execution]:
        """Run the steps that have not run yet, in order; stops at the first that fails.

        Raises `ActionError` when a step may not run (now): nothing was started then.
        """
        rows = await self._store.executions_of(plan.incident_id)
        done = {
            row.step
            for row in rows
            if row.plan_id == plan.id and row.state is StepState.FINISHED and not row.is_undo
        }
        ran = []
        for number in (step.number for step in plan.steps if step.number not in done):
            ran.append(await self.execute_step(plan, number))
            if ran[-1].state is not StepState.FINISHED:
                break
        return ran

    async def execute_step(self, plan: Plan, number: int) -> Execution:
        """Run one step and return its row; the row there is if the step has ended.

        Raises what `ActionGate.run_step` raises, and `NotFound` if the plan has no such step.
        """
        return await self._gate.run_step(plan, _step(plan, number))

    async def undo_step(self, plan: Plan, number: int) -> Execution:
        """Undo one step and return the undo's row; the row there is if the undo has ended."""
        return await self._gate.run_step(plan, _step(plan, number), is_undo=True)

    def undoable(self, plan: Plan, executions: Sequence[Execution]) -> tuple[int, ...]:
        """Return the numbers of the steps still to be undone, in the order in which to do it."""
        return undoable(plan, executions)

    async def roll_back(self, plan: Plan) -> Sequence[Execution]:
        """Undo the plan's finished steps, the last one first; stops at the first that fails.

        Goes on where it was interrupted. What has no undo is left and told in the audit trail: no
        error. Raises `ActionError` when an undo may not run (now): nothing was started then.
        """
        ran: list[Execution] = []
        for number in undoable(plan, await self._store.executions_of(plan.incident_id)):
            ran.append(await self.undo_step(plan, number))
            if ran[-1].state is not StepState.FINISHED:
                break
        rows = await self._store.executions_of(plan.incident_id)
        await self._store.append(
            [self._event(plan, "plan.taken_back", describe_taking_back(plan, rows))]
        )
        return ran

    async def verify(
        self,
        plan: Plan,
        executions: Sequence[Execution],
        *,
        watch: Watch | None = None,
        on_reading: OnReading | None = None,
    ) -> Verification:
        """Watch the plan's checks and store the result; see `Verifier.watch`."""
        actions = {step.number: self._action(step) for step in plan.steps}
        checks = bind_checks(plan, executions, self._executors, actions)
        result = await self._verifier.watch(
            plan.incident_id, checks, plan_id=plan.id, watch=watch, on_reading=on_reading
        )
        event = AuditEvent(
            at=self._clock.now(),
            actor=ACTOR,
            kind=f"verification.{result.result}",
            incident_id=plan.incident_id,
            summary=result.reason[:SUMMARY_MAX],
            details={"plan": plan.id, "verification": result.id},
        )
        await self._store.add_verification(result, [event])
        return result

    async def confirm_cleared(
        self,
        incident: Incident,
        *,
        watch: Watch | None = None,
        on_reading: OnReading | None = None,
    ) -> Verification:
        """Watch the incident's own alerts until they have stayed away for the soak time."""
        checks = [BoundCheck(AlertsCleared())]
        return await self._verifier.watch(
            incident.id, checks, plan_id=ALERTS_ONLY, watch=watch, on_reading=on_reading
        )

    async def recover(self, incident: Incident) -> Sequence[Execution]:
        """Find out how the steps ended whose worker died; none is run again.

        Returns the rows it found; one that still is `started` runs in this very process.
        """
        return await self._gate.recover(incident.id)

    async def expire_requests(self) -> bool:
        """Deny the requests that nobody decided in time; True if there were any."""
        return bool(await self._approvals.expire_due())

    async def void_requests(self, incident: Incident, reason: str) -> None:
        """Take back the requests for approval that nobody has to decide any more."""
        await self._approvals.void(incident.id, reason)

    async def _entities(self, incident: Incident) -> tuple[Entity, ...]:
        alerts = [alert for _, alert in await self._store.alerts_of(incident.id)]
        named = [e for name in incident.affected_systems for e in self._inventory.named(name)]
        return tuple(dict.fromkeys([*(e for a in alerts for e in a.entities), *named]))

    def _action(self, step: PlanStep) -> Action:
        return parse_action(step.action, self._inventory)

    def _event(self, plan: Plan, kind: str, summary: str) -> AuditEvent:
        return AuditEvent(
            at=self._clock.now(),
            actor=ACTOR,
            kind=kind,
            incident_id=plan.incident_id,
            summary=summary[:SUMMARY_MAX],
            details={"plan": plan.id, "digest": plan.digest},
        )


def _step(plan: Plan, number: int) -> PlanStep:
    step = next((step for step in plan.steps if step.number == number), None)
    if step is None:
        raise NotFound(f"plan {plan.id} has no step {number}")
    return step
