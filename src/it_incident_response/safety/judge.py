"""PolicyJudge: gathers what a ruling depends on from the record, and judges whole plans."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.errors import PolicyDelayed, PolicyDenied
from it_incident_response.ports import (
    ApprovalStore,
    AuditTrail,
    Clock,
    FleetHistory,
    IncidentStore,
    Journal,
    WorkQueue,
)
from it_incident_response.safety.delays import HOUR, delay_s
from it_incident_response.safety.policy import Effect, Policy, PolicyContext, Ruling
from it_incident_response.safety.site import Site

INTENT_LIFETIME = timedelta(hours=24)
"""How long an intended step may still be begun; so far back the journal is read for limits."""
_NEVER_RAN = (StepState.DRY_RUN,)


class SafetyStore(ApprovalStore, Journal, AuditTrail, IncidentStore, WorkQueue, Protocol):
    """The parts of the store that safety reads and writes."""


class PolicyJudge:
    """Applies one policy to plans, with the facts as the record has them now."""

    def __init__(
        self, store: SafetyStore, clock: Clock, policy: Policy, inventory: Inventory
    ) -> None:
        self._store = store
        self._clock = clock
        self.policy = policy
        self.inventory = inventory

    async def context(self, plan: Plan, *, excluding: Collection[str] = ()) -> PolicyContext:
        """Return the facts for a plan: severity, certainty of the cause, recent actions.

        `excluding` are keys of journal rows that do not count as recent actions.
        """
        incident = await self._store.incident(plan.incident_id)
        diagnoses = await self._store.diagnoses_of(plan.incident_id)
        diagnosis = next((d for d in diagnoses if d.id == plan.diagnosis_id), None)
        top = diagnosis.top if diagnosis is not None else None
        return PolicyContext(
            now=self._clock.now(),
            inventory=self.inventory,
            severity=incident.severity,
            verdict=diagnosis.verdict if diagnosis is not None else None,
            confidence=top.confidence if top is not None else None,
            history=await self.history(excluding=excluding),
        )

    async def history(self, *, excluding: Collection[str] = ()) -> FleetHistory:
        """Return the actions of the last hour, those about to begin included.

        A row dated in the future counts: a clock that was set back frees no budget.
        """
        now = self._clock.now()
        recent = await self.recent(excluding=excluding)
        hosts = [h for r in recent for h in _hosts_of(r, self.inventory)]
        return FleetHistory(
            started_last_hour=len(recent),
            targets_last_hour=tuple(str(row.target) for row in recent),
            hosts_last_hour=tuple(dict.fromkeys(hosts)),
            locked_targets=tuple(await self._store.locked_targets(now)),
        )

    async def recent(self, *, excluding: Collection[str] = ()) -> list[Execution]:
        """Return the journal rows that `history` counts."""
        now = self._clock.now()
        rows = await self._store.executions(since=now - INTENT_LIFETIME - HOUR)
        return [r for r in rows if r.key not in excluding and _counts(r, now)]

    async def refusal(
        self, step: PlanStep, ruling: Ruling, context: PolicyContext, *, excluding: Collection[str]
    ) -> PolicyDenied:
        """Return the error for a step that `ruling` forbids: `PolicyDelayed` if waiting helps."""
        said = f"policy forbids step {step.number}: {ruling}"
        if ruling.is_temporary:
            rows = await self.recent(excluding=excluding)
            wait_s = delay_s(self.policy, ruling, step, context, rows)
            if wait_s is not None:
                delayed = PolicyDelayed(said, hint="it is tried again by itself when it is allowed")
                delayed.retry_after_s, delayed.rule = wait_s, ruling.rule
                return delayed
        return PolicyDenied(said, hint="see `iir policy explain`")

    async def rulings(self, plan: Plan, context: PolicyContext | None = None) -> tuple[Ruling, ...]:
        """Return a ruling for each step now, each judged as if those before it had been run."""
        context = context if context is not None else await self.context(plan)
        rulings = []
        for step in plan.steps:
            rulings.append(self.policy.judge(step, context))
            context = context.model_copy(update={"history": self._after(step, context.history)})
        return tuple(rulings)

    async def lasting_rulings(self, plan: Plan) -> tuple[Ruling, ...]:
        """Return a ruling for each step, freezes and limits left aside: who has to approve."""
        context = await self.context(plan)
        return tuple(self.policy.judge_lasting(step, context) for step in plan.steps)

    async def annotate(self, plan: Plan) -> Plan:
        """Return the plan with policy's word on it: what it needs, or why it is forbidden.

        The digest stays the same. What is forbidden for now only (a freeze, a limit) is told in the
        steps and does not forbid the plan: the gate judges again when the plan is run.
        """
        context = await self.context(plan)
        lasting = [self.policy.judge_lasting(step, context) for step in plan.steps]
        rulings = await self.rulings(plan, context)
        steps = tuple(
            step.model_copy(update={"policy": str(ruling)})
            for step, ruling in zip(plan.steps, rulings, strict=True)
        )
        forbidden = [ruling for ruling in lasting if ruling.effect is Effect.FORBID]
        changes = {
            "steps": steps,
            "needs_approval": any(ruling.effect is not Effect.AUTO for ruling in lasting),
            "is_forbidden": str(forbidden[0]) if forbidden else None,
        }
        return plan.model_copy(update=changes)

    def _after(self, step: PlanStep, history: FleetHistory) -> FleetHistory:
        hosts = Site.of(step, self.inventory).host_names
        return history.model_copy(
            update={
                "started_last_hour": history.started_last_hour + 1,
                "targets_last_hour": (*history.targets_last_hour, str(step.target)),
                "hosts_last_hour": tuple(dict.fromkeys([*history.hosts_last_hour, *hosts])),
            }
        )


def strictest(rulings: Sequence[Ruling]) -> Ruling:
    """Return the ruling that decides for a plan: the first of the strictest effect."""
    return max(rulings, key=lambda ruling: ruling.effect.rank)


def _counts(row: Execution, now: datetime) -> bool:
    """True for what was begun, or is about to be, in the last hour.

    Or in the future, up to a day: the clock has been set back since. A clock that was further ahead
    than that was plainly wrong, and must not keep the limits full until its time has come.
    """
    if row.state in _NEVER_RAN or (row.state is StepState.FAILED and row.started_at is None):
        return False
    return now - HOUR < (row.started_at or row.intended_at) <= now + INTENT_LIFETIME


def _hosts_of(row: Execution, inventory: Inventory) -> list[str]:
    if row.host is not None:
        return [row.host]
    return [host.name for host, _ in inventory.locate(row.target.name)]
