"""Who may approve what, and when an approval counts; pure checks used when deciding and acting."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import PolicyDenied
from it_incident_response.safety.lateness import is_misdated
from it_incident_response.safety.people import as_actor, person_name
from it_incident_response.safety.policy import Effect, Policy, Ruling

BY_POLICY = "policy"
"""`decided_via` of a plan that policy lets run by itself."""
BY_CONFIGURATION = "configuration"
"""`decided_via` where the configuration requires no approval."""
NOBODY = "system"
"""`decided_by` of decisions that no person took."""


def may_approve(by: str, approval: Approval, rulings: Sequence[Ruling], policy: Policy) -> None:
    """Raise `PolicyDenied`, with the reason, unless `by` may approve this request.

    `rulings` are the lasting ones of the plan's steps.
    """
    name = person_name(by)
    if name is None:
        raise PolicyDenied(
            f"{by!r} is not a person: only people approve",
            hint="a name has letters, digits and . _ @ + - only",
        )
    roles = policy.roles_of(name)
    if not roles:
        raise PolicyDenied(f"{name} has no role in the policy", hint="add them under `roles`")
    asked_by = person_name(approval.requested_by) or ""
    if asked_by.casefold() == name.casefold() and not policy.self_approval:
        raise PolicyDenied(f"{name} asked for this plan, so somebody else has to approve it")
    for ruling in rulings:
        _check_ruling(name, roles, ruling, policy)


def _check_ruling(name: str, roles: Sequence[str], ruling: Ruling, policy: Policy) -> None:
    if ruling.effect is Effect.FORBID:
        raise PolicyDenied(f"policy forbids this plan, whoever approves: {ruling}")
    if ruling.approver_roles and not set(roles) & set(ruling.approver_roles):
        wanted = " or ".join(ruling.approver_roles)
        members = sorted({m for role in ruling.approver_roles for m in policy.roles[role]})
        raise PolicyDenied(
            f"{name} may not approve this: rule {ruling.rule!r} asks for the role {wanted}",
            hint=f"ask one of: {', '.join(members)}"
            if members
            else "nobody has that role: name people under `roles` in the policy file",
        )


def waiver(rulings: Sequence[Ruling], *, require_approval: bool) -> str | None:
    """Return through what a plan needs no person: policy or configuration; None if it needs one."""
    if all(ruling.effect is Effect.AUTO for ruling in rulings):
        return BY_POLICY
    asked = [ruling for ruling in rulings if ruling.effect is not Effect.AUTO]
    if not require_approval and all(ruling.is_waivable for ruling in asked):
        return BY_CONFIGURATION
    return None


def obstacle_to_acting(
    approval: Approval,
    plan: Plan,
    now: datetime,
    validity: timedelta,
    *,
    since: datetime | None = None,
) -> str | None:
    """Return why this approval does not let `plan` run at `now`, or None if it does.

    `since` is when a step of it ended that is to be undone: the time to act counts from then.
    """
    if approval.plan_digest != plan.digest:
        return "it is for another plan than this one: the plan has changed since"
    if approval.status is not ApprovalStatus.APPROVED:
        return _undecided(approval, now)
    if approval.decided_at is None or approval.decided_by is None:
        return "it does not say who approved it and when"
    if approval.decided_at >= approval.expires_at:
        return "it was decided after it had expired"
    if is_misdated(approval.decided_at, now):
        return "it was decided in the future: the clock has been set back"
    fresh_from = max(approval.decided_at, min(since, now)) if since else approval.decided_at
    if now >= fresh_from + validity:
        return f"it was approved at {approval.decided_at:%Y-%m-%d %H:%M:%SZ}: too long ago to act"
    return None


def _undecided(approval: Approval, now: datetime) -> str:
    why = f": {approval.reason}" if approval.reason else ""
    if approval.status is ApprovalStatus.PENDING:
        if now >= approval.expires_at:
            return f"nobody decided before {approval.expires_at:%Y-%m-%d %H:%M:%SZ}: it is denied"
        return f"nobody has decided yet; it expires at {approval.expires_at:%Y-%m-%d %H:%M:%SZ}"
    if approval.status is ApprovalStatus.REJECTED:
        return f"{approval.decided_by} rejected it{why}"
    return f"it is {approval.status}{why}"


def obstacle_of_decider(
    approval: Approval, rulings: Sequence[Ruling], policy: Policy, *, require_approval: bool
) -> str | None:
    """Return why who decided may not have, by the policy as it is now; None if they may."""
    decider = approval.decided_by or ""
    if decider == NOBODY:
        needed_nobody = waiver(rulings, require_approval=require_approval)
        if needed_nobody is None:
            return "it was given without a person, and one is needed now"
        return None
    try:
        may_approve(decider, approval, rulings, policy)
    except PolicyDenied as refusal:
        return f"by the policy as it is now, {refusal.message}"
    return None


_DECISIONS = tuple(f"approval.{status}" for status in ApprovalStatus)


def is_decision(event: AuditEvent, approval: Approval) -> bool:
    """Tell whether an event of the audit trail is a decision on this very request."""
    return event.kind in _DECISIONS and event.details.get("approval") == approval.id


def obstacle_of_trail(approval: Approval, last: AuditEvent | None) -> str | None:
    """Return why the last decision in the audit trail is not this approval; None if it is.

    Both are written in one transaction: a row without its event was changed by other hands.
    """
    if (
        last is not None
        and last.kind == f"approval.{ApprovalStatus.APPROVED}"
        and last.actor == as_actor(approval.decided_by or "")
        and last.details.get("digest") == approval.plan_digest
    ):
        return None
    return "the audit trail does not say so: the record was changed by other hands than ours"
