"""ApprovalManager: a person's decision on exactly one plan; durable, audited, denied by default."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import (
    ActionError,
    ApprovalRequired,
    Conflict,
    IncidentResponseError,
    InputRejected,
    NotFound,
    PolicyDenied,
)
from it_incident_response.ports import Clock, SystemClock
from it_incident_response.safety.approver import (
    BY_CONFIGURATION,
    BY_POLICY,
    NOBODY,
    is_decision,
    may_approve,
    obstacle_of_decider,
    obstacle_of_trail,
    obstacle_to_acting,
    waiver,
)
from it_incident_response.safety.dry_run import DryRunExecutor
from it_incident_response.safety.events import approval_event
from it_incident_response.safety.judge import PolicyJudge, SafetyStore, strictest
from it_incident_response.safety.lateness import DenyingClock, is_misdated, read_trail
from it_incident_response.safety.people import person_name
from it_incident_response.safety.policy import Effect, Policy, Ruling
from it_incident_response.safety.terminal_question import (
    ask_on_terminal,
    checked_actions,
    plan_by_hand,
    question_about,
    run_here,
)

__all__ = ["ApprovalManager", "DryRunExecutor"]

TIMEOUT_S = 3600.0
"""Default time to decide in; afterwards the request is denied."""
VALIDITY_S = 3600.0
"""Default time to act in after an approval: what was true then may not be any more."""
POLL_S = 1.0
REASON_MAX = 2000
_RESERVED = (BY_POLICY, BY_CONFIGURATION, NOBODY)


class ApprovalManager:
    """Asks people, keeps what they decided, and says whether a plan may run.

    Without a store it can only answer `request_approval`, the synchronous question of the guide.
    """

    def __init__(  # noqa: PLR0913 - the composition root sets each by name
        self,
        require_approval: bool = True,
        *,
        store: SafetyStore | None = None,
        clock: Clock | None = None,
        policy: Policy | None = None,
        inventory: Inventory | None = None,
        timeout_s: float = TIMEOUT_S,
        validity_s: float = VALIDITY_S,
        ask: Callable[[str], bool] = ask_on_terminal,
        run: Callable[[Coroutine[Any, Any, bool]], bool] = run_here,
    ) -> None:
        """`run` runs a coroutine from synchronous code: the façade gives its own loop's."""
        if not (0 < timeout_s < float("inf") and 0 < validity_s < float("inf")):
            raise InputRejected("approval: timeout_s and validity_s must be more than 0 seconds")
        self.require_approval = require_approval
        self._store = store
        self._clock = clock if clock is not None else SystemClock()
        self._policy = policy if policy is not None else Policy.default()
        self._inventory = inventory if inventory is not None else Inventory()
        self._timeout = timedelta(seconds=timeout_s)
        self._validity = timedelta(seconds=validity_s)
        self._ask = ask
        self._run = run
        self._denying = DenyingClock(self._clock)

    def request_approval(self, incident: Mapping[str, Any], actions: Sequence[str]) -> bool:
        """Return whether a person approves these described actions; the guide's blocking question.

        True if no approval is required. With a store the request is recorded under the incident
        (`id` or `incident_id`, a key will do) and waited for; no decision in time means False.
        Without one it is asked on the terminal, and False where there is no terminal.
        """
        described = checked_actions(actions)
        if not self.require_approval:
            return True
        if self._store is None:
            return self._ask(question_about(incident, described))
        return self._run(self._ask_and_wait(incident, described))

    async def request(self, plan: Plan, by: str) -> Approval:
        """Store `plan` and ask for its approval; voids the incident's earlier pending requests.

        Approved at once, and recorded as such, if policy lets every step run by itself, or the
        configuration requires no approval and policy does not insist. Asking again for the same
        plan returns the request there is. Raises `PolicyDenied` if policy forbids the plan for
        good, `Conflict` if another plan, or one that nobody was asked about, has the same id.
        """
        rulings = await self._judge().lasting_rulings(plan)
        ruling = strictest(rulings)
        if ruling.effect is Effect.FORBID:
            raise PolicyDenied(f"policy forbids this plan: {ruling}", hint="see `iir policy show`")
        approval = await self._existing(plan) or await self._ask_anew(plan, by)
        through = waiver(rulings, require_approval=self.require_approval)
        if approval.status is not ApprovalStatus.PENDING or through is None:
            return approval
        why = "policy lets it run" if through == BY_POLICY else "no approval is required"
        return await self._decide(
            approval, ApprovalStatus.APPROVED, by=NOBODY, via=through, reason=why
        )

    async def approve(
        self,
        approval_id: str,
        by: str,
        via: str,
        reason: str | None = None,
        plan_digest: str | None = None,
    ) -> Approval:
        """Approve a pending request as `by`, and wake the incident.

        `plan_digest` is the digest of the plan that the person was shown. Raises `NotFound`,
        `Conflict` (decided already, expired, or another plan than was shown), `PolicyDenied` (this
        person may not, or policy forbids the plan). A refusal is audited too.
        """
        approval = await self._pending(approval_id, via)
        try:
            plan = await self._needed_store().plan(approval.plan_id)
            _require_same_plan(approval, plan, plan_digest)
            rulings = await self._judge().lasting_rulings(plan)
            may_approve(by, approval, rulings, self._policy)
        except (Conflict, PolicyDenied) as refusal:
            await self._audit_refusal(approval, by, via, refusal)
            raise
        return await self._decide(
            approval, ApprovalStatus.APPROVED, by=by, via=via, reason=_bounded(reason)
        )

    async def reject(
        self, approval_id: str, by: str, via: str, reason: str | None = None
    ) -> Approval:
        """Deny a pending request, and wake the incident; anyone with a role may.

        Raises `NotFound`, `Conflict` (decided already, expired) and `PolicyDenied`.
        """
        approval = await self._pending(approval_id, via)
        if not self._policy.roles_of(by):
            refusal = PolicyDenied(f"{by!r} has no role in the policy, so cannot decide")
            await self._audit_refusal(approval, by, via, refusal)
            raise refusal
        return await self._decide(
            approval, ApprovalStatus.REJECTED, by=by, via=via, reason=_bounded(reason)
        )

    async def expire_due(self, now: datetime | None = None) -> Sequence[Approval]:
        """Deny every pending request whose time is over; returns those it denied."""
        moment = self._denying.now() if now is None else max(now, self._denying.now())
        overdue = await self._needed_store().overdue_approvals(moment)
        denied = [await self._expire(approval) for approval in overdue]
        return [approval for approval in denied if approval is not None]

    async def void(self, incident_id: IncidentId, reason: str) -> Sequence[Approval]:
        """Take the effect from the incident's requests that nobody has acted on; returns those."""
        store = self._needed_store()
        rows = await store.executions_of(incident_id)
        acted_on = {row.plan_id for row in rows if row.started_at is not None}
        voided = []
        for approval in await store.approvals(incident_id=incident_id):
            if approval.status is ApprovalStatus.PENDING or (
                approval.status is ApprovalStatus.APPROVED and approval.plan_id not in acted_on
            ):
                voided.append(
                    await self._decide(
                        approval, ApprovalStatus.VOIDED, by=NOBODY, via=NOBODY, reason=reason
                    )
                )
        return voided

    async def granted_for(
        self, plan: Plan, *, since: datetime | None = None, undo: Sequence[Ruling] = ()
    ) -> Approval:
        """Return the approval under which `plan` may run now.

        For the undo of a step, which the approved plan showed: `since` is when that step ended,
        and the time to act counts from then; `undo` are the lasting rulings on the undo, which
        who approved must have been allowed to approve as well.

        Raises `ApprovalRequired` saying what is missing: nobody was asked or has decided, the
        decision was another or is too old, the plan is not the one approved or not the incident's
        newest, or who decided may not (any more).
        """
        stored = await self._newest_plan(plan)
        asked = await self._needed_store().approvals(incident_id=plan.incident_id)
        approval = next((a for a in asked if a.plan_id == plan.id), None)
        if approval is None:
            raise ApprovalRequired(f"nobody was asked to approve plan {plan.id}")
        rulings = (*await self._judge().lasting_rulings(stored), *undo)
        trail = await read_trail(self._needed_store(), approval.incident_id)
        obstacle = None
        for now in (self._clock.now(), self._denying.now_for(approval, trail)):
            obstacle = obstacle or obstacle_to_acting(
                approval, stored, now, self._validity, since=since
            )
        if obstacle is not None:
            await self._withdraw_if_undatable(approval, trail)
        obstacle = obstacle or obstacle_of_decider(
            approval, rulings, self._policy, require_approval=self.require_approval
        )
        decisions = [event for event in trail if is_decision(event, approval)]
        obstacle = obstacle or obstacle_of_trail(approval, decisions[-1] if decisions else None)
        if obstacle is not None:
            raise ApprovalRequired(
                f"plan {plan.id} may not run under approval {approval.id}: {obstacle}",
                hint=f"see `iir approvals show {approval.id}`",
            )
        return approval

    async def _withdraw_if_undatable(self, approval: Approval, trail: Sequence[AuditEvent]) -> None:
        """Write down that an approval is too old to begin with: no clock set back revives it."""
        decided = approval.decided_at
        if approval.status is not ApprovalStatus.APPROVED or decided is None:
            return
        rows = await self._needed_store().executions_of(approval.incident_id)
        if any(row.plan_id == approval.plan_id and row.started_at for row in rows):
            return
        if is_misdated(decided, self._clock.now()):
            await self._deny(approval, ApprovalStatus.VOIDED, "it was decided in the future")
        elif self._denying.now_for(approval, trail) >= decided + self._validity:
            await self._deny(approval, ApprovalStatus.VOIDED, "approved too long ago to act")

    async def wait_for(self, approval_id: str, poll_s: float = POLL_S) -> Approval:
        """Return the request once it is decided; denies it when its time is over."""
        while True:
            approval = await self._needed_store().approval(approval_id)
            if approval.status is not ApprovalStatus.PENDING:
                return approval
            if self._denying.now() >= approval.expires_at:
                await self._expire(approval)
            else:
                await self._clock.sleep(poll_s)

    async def _ask_and_wait(self, incident: Mapping[str, Any], actions: Sequence[str]) -> bool:
        named = str(incident.get("id", incident.get("incident_id", "")))
        known = await self._needed_store().incident(named)
        plan = plan_by_hand(known.id, actions, self._clock.now())
        approval = await self.request(plan, by="facade")
        decided = await self.wait_for(approval.id)
        return decided.status is ApprovalStatus.APPROVED

    async def _existing(self, plan: Plan) -> Approval | None:
        store = self._needed_store()
        try:
            stored = await store.plan(plan.id)
        except NotFound:
            return None
        if stored.digest != plan.digest:
            raise Conflict(f"another plan is stored as {plan.id}", hint="give the new one a new id")
        asked = await store.approvals(incident_id=plan.incident_id)
        approval = next((a for a in asked if a.plan_id == plan.id), None)
        if approval is None:
            raise Conflict(f"plan {plan.id} was stored without asking for approval")
        return approval

    async def _ask_anew(self, plan: Plan, by: str) -> Approval:
        now = self._clock.now()
        approval = Approval(
            id=new_id(now),
            incident_id=plan.incident_id,
            plan_id=plan.id,
            plan_digest=plan.digest,
            requested_at=now,
            requested_by=by,
            expires_at=now + self._timeout,
        )
        summary = f"approval requested: {plan.reason}"
        event = approval_event(approval, now, kind="requested", by=by, summary=summary)
        await self._needed_store().add_plan(plan, approval, [event])
        return approval

    async def _pending(self, approval_id: str, via: str) -> Approval:
        """Return a request that can still be decided; denies it first if its time is over."""
        if via in _RESERVED:
            raise InputRejected(f"{via!r} is not a way in which people decide")
        approval = await self._needed_store().approval(approval_id)
        if approval.status is not ApprovalStatus.PENDING:
            raise Conflict(
                f"approval {approval.id} is {approval.status} already, by {approval.decided_by}"
            )
        now = self._denying.now_for(
            approval, await read_trail(self._needed_store(), approval.incident_id)
        )
        if now >= approval.expires_at:
            await self._expire(approval)
            raise Conflict(
                f"approval {approval.id} expired at {approval.expires_at:%Y-%m-%d %H:%M:%SZ}",
                hint="have the incident planned again to be asked again",
            )
        if is_misdated(approval.requested_at, self._clock.now()):
            reason = "it was requested in the future: nobody can tell how old it is"
            await self._deny(approval, ApprovalStatus.EXPIRED, reason)
            raise Conflict(
                f"approval {approval.id} is denied: {reason}",
                hint="check the clocks, then have the incident planned again to be asked again",
            )
        return approval

    async def _expire(self, approval: Approval) -> Approval | None:
        return await self._deny(approval, ApprovalStatus.EXPIRED, "nobody decided in time")

    async def _deny(
        self, approval: Approval, status: ApprovalStatus, reason: str
    ) -> Approval | None:
        """Take a request's effect; None if somebody decided in the same moment."""
        try:
            return await self._decide(approval, status, by=NOBODY, via=NOBODY, reason=reason)
        except Conflict:
            return None

    async def _decide(
        self, approval: Approval, status: ApprovalStatus, *, by: str, via: str, reason: str | None
    ) -> Approval:
        now = self._clock.now()
        decided = approval.model_copy(
            update={
                "status": status,
                "decided_at": now,
                "decided_by": person_name(by) or by,
                "decided_via": via,
                "reason": reason,
            }
        )
        because = f": {reason}" if reason else ""
        summary = f"plan {status} by {decided.decided_by} through {via}{because}"
        event = approval_event(decided, now, kind=status.value, by=by, summary=summary)
        store = self._needed_store()
        if approval.status is ApprovalStatus.PENDING:
            await store.decide(decided, [event])
        else:
            await store.decide(decided, [event], expected=approval.status)
        return decided

    async def _audit_refusal(
        self, approval: Approval, by: str, via: str, refusal: IncidentResponseError
    ) -> None:
        attempt = approval.model_copy(update={"decided_via": via, "reason": refusal.message})
        event = approval_event(
            attempt, self._clock.now(), kind="refused", by=by[:200], summary=refusal.message
        )
        await self._needed_store().append([event])

    async def _newest_plan(self, plan: Plan) -> Plan:
        """Return the plan as stored, which must be the given one and the incident's newest."""
        plans = await self._needed_store().plans_of(plan.incident_id)
        stored = next((p for p in plans if p.id == plan.id), None)
        if stored is None or stored.digest != plan.digest:
            raise ApprovalRequired(f"plan {plan.id} is not the one in the record")
        if plans[-1].id != plan.id:
            raise ApprovalRequired(f"plan {plan.id} was replaced by plan {plans[-1].id}")
        return stored

    def _judge(self) -> PolicyJudge:
        return PolicyJudge(self._needed_store(), self._clock, self._policy, self._inventory)

    def _needed_store(self) -> SafetyStore:
        if self._store is None:
            raise ActionError("this ApprovalManager has no store, so it can only ask on a terminal")
        return self._store


def _bounded(reason: str | None) -> str | None:
    return reason[:REASON_MAX] if reason else None


def _require_same_plan(approval: Approval, plan: Plan, seen_digest: str | None) -> None:
    if approval.plan_digest != plan.digest:
        raise Conflict(f"plan {plan.id} is not the one that approval was asked for")
    if seen_digest is not None and seen_digest != plan.digest:
        raise Conflict(
            f"approval {approval.id} is for another plan than the one you were shown",
            hint=f"look again: iir approvals show {approval.id}",
        )
