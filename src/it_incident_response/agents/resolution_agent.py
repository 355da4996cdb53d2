"""ResolutionAgent: from a diagnosis to a plan, and from an approved plan to a verified fix."""

from collections.abc import Mapping, Sequence

from it_incident_response.actions import parse_action
from it_incident_response.actions.planning import make_plan, manual_steps
from it_incident_response.agents.recovery_checks import with_recovery_checks
from it_incident_response.agents.verification import BoundCheck, Verifier, bind_checks
from it_incident_response.domain.action import Action, AlertsCleared
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.domain.verification import Verification
from it_incident_response.errors import PolicyDenied
from it_incident_response.ports import Clock, Executor, Store
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.gate import ActionGate

ACTOR = "agent:resolution"

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
            await self._store.add_plan(plan, None, [self._event(plan, "plan.forbidden", denied)])
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
        done = {
            e.step
            for e in await self._store.executions_of(plan.incident_id)
            if e.plan_id == plan.id and e.state is StepState.FINISHED
        }
        ran = []
        for step in plan.steps:
            if step.number in done:
                continue
            execution = await self._gate.run_step(plan, step)
            ran.append(execution)
            if execution.state is not StepState.FINISHED:
                break
        return ran

    async def verify(self, plan: Plan, executions: Sequence[Execution]) -> Verification:
        """Watch the plan's checks and store the result."""
        actions = {step.number: self._action(step) for step in plan.steps}
        checks = bind_checks(plan, executions, self._executors, actions)
        result = await self._verifier.watch(plan.incident_id, checks, plan_id=plan.id)
        event = AuditEvent(
            at=self._clock.now(),
            actor=ACTOR,
            kind=f"verification.{result.result}",
            incident_id=plan.incident_id,
            summary=result.reason[:2000],
            details={"plan": plan.id, "verification": result.id},
        )
        await self._store.add_verification(result, [event])
        return result

    async def confirm_cleared(self, incident: Incident) -> Verification:
        """Watch the incident's own alerts until they have stayed away for the soak time."""
        checks = [BoundCheck(AlertsCleared())]
        return await self._verifier.watch(incident.id, checks, plan_id=ALERTS_ONLY)

    async def recover(self, incident: Incident) -> None:
        """Find out how the steps ended whose worker died; none is run again."""
        await self._gate.recover(incident.id)

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

    def _event(self, plan: Plan, kind: str, why: PolicyDenied) -> AuditEvent:
        return AuditEvent(
            at=self._clock.now(),
            actor=ACTOR,
            kind=kind,
            incident_id=plan.incident_id,
            summary=why.message,
            details={"plan": plan.id, "digest": plan.digest},
        )
