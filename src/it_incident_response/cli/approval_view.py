"""All that a person needs to decide on one plan, read from the record and printed."""

import shlex
from collections.abc import Sequence

from it_incident_response.cli.output import clean, console, when
from it_incident_response.domain.action import (
    AlertsCleared,
    Check,
    ProbeSucceeds,
    Reversibility,
    SignalWithin,
)
from it_incident_response.domain.approval import Approval
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import Evidence
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.model import Value
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.ports import Store

EVIDENCE_SHOWN = 8

_REVERSIBILITY = {
    Reversibility.NOTHING_TO_UNDO: "nothing to undo afterwards",
    Reversibility.REVERSIBLE: "can be undone",
    Reversibility.COMPENSABLE: "cannot be undone, but made good",
    Reversibility.IRREVERSIBLE: "CANNOT be undone",
}


class ApprovalView(Value):
    """A request for approval with what it is about."""

    approval: Approval
    incident: Incident
    plan: Plan
    diagnosis: Diagnosis | None = None
    evidence: tuple[Evidence, ...] = ()
    """What supports and what contradicts the likeliest cause."""


async def approval_view(store: Store, approval_id: str) -> ApprovalView:
    """Return the view of a request; raises `NotFound`."""
    approval = await store.approval(approval_id)
    plan = await store.plan(approval.plan_id)
    diagnoses = await store.diagnoses_of(approval.incident_id)
    diagnosis = next((d for d in diagnoses if d.id == plan.diagnosis_id), None)
    top = diagnosis.top if diagnosis else None
    cited = {*top.supporting, *top.contradicting} if top else set()
    evidence = [e for e in await store.evidence_of(approval.incident_id) if e.id in cited]
    return ApprovalView(
        approval=approval,
        incident=await store.incident(approval.incident_id),
        plan=plan,
        diagnosis=diagnosis,
        evidence=tuple(evidence),
    )


def show_approval(view: ApprovalView) -> None:
    """Print the request for a person."""
    out, approval, incident = console(), view.approval, view.incident
    out.print(f"Approval {approval.id}: {approval.status}", style="bold")
    out.print(f"incident: {incident.key} ({incident.severity})  {clean(incident.title)}")
    out.print(
        f"asked by {clean(approval.requested_by, 60)} at {when(approval.requested_at)}; "
        f"denied unless decided before {when(approval.expires_at)}"
    )
    for notice in approval.notices:
        whom = f"escalated to {clean(notice.to, 200)}" if notice.to else "people were reminded"
        out.print(f"{whom} at {when(notice.at)}")
    if approval.decided_at:
        why = f": {clean(approval.reason)}" if approval.reason else ""
        via = clean(approval.decided_via or "unknown", 60)
        who = clean(approval.decided_by or "unknown", 60)
        out.print(f"decided by {who} through {via} at {when(approval.decided_at)}{why}")
    _show_cause(view)
    out.print("\nPlan", style="bold")
    out.print(f"  {clean(view.plan.reason, 1000)}")
    if view.plan.is_forbidden:
        out.print(f"  forbidden: {clean(view.plan.is_forbidden)}", style="bold red")
    for step in view.plan.steps:
        show_step(step)
    out.print(f"\ndigest: {view.plan.digest}")
    if view.plan.digest != approval.plan_digest:
        out.print("THIS IS NOT THE PLAN THAT APPROVAL WAS ASKED FOR", style="bold red")


def _show_cause(view: ApprovalView) -> None:
    out = console()
    top = view.diagnosis.top if view.diagnosis else None
    if view.diagnosis is None or top is None:
        out.print("\nCause: unknown", style="bold")
        return
    where = f" ({top.entity})" if top.entity else ""
    out.print(f"\nCause ({view.diagnosis.verdict}, {top.confidence:.0%})", style="bold")
    out.print(f"  {clean(top.cause)}{clean(where)}")
    contradicting = set(top.contradicting)
    for item in view.evidence[:EVIDENCE_SHOWN]:
        sign = "against" if item.id in contradicting else "for"
        out.print(f"  {sign:<7} {clean(item.summary)}")
    if len(view.evidence) > EVIDENCE_SHOWN:
        out.print(f"  and {len(view.evidence) - EVIDENCE_SHOWN} more: iir incidents show")


def show_step(step: PlanStep) -> None:
    """Print all that a person needs to judge one step."""
    out = console()
    out.print(f"  {step.number}. {clean(step.description)}")
    out.print(f"     target: {clean(step.target)}   risk: {step.risk}")
    out.print(f"     {_REVERSIBILITY[step.reversibility]}; policy: {clean(step.policy or 'none')}")
    for note in step.notes:
        out.print(f"     note: {clean(note)}")
    for command in step.commands:
        where = clean(step.host or step.executor, 80)
        # Never shortened: what is approved must be seen whole.
        out.print(f"     {where}$ {clean(shlex.join(command), 1_000_000)}")
    out.print(f"     verified by: {'; '.join(describe_checks(step.checks)) or 'nothing'}")
    if step.undo:
        out.print(f"     undone by: {clean(step.undo.kind)} {clean(step.undo.parameters)}")


def describe_checks(checks: Sequence[Check]) -> tuple[str, ...]:
    """Return what each check looks at, in words."""
    return tuple(_describe(check) for check in checks)


def _describe(check: Check) -> str:
    if isinstance(check, AlertsCleared):
        return "the incident's alerts no longer hold"
    if isinstance(check, ProbeSucceeds):
        return "a look at the target shows that it took effect"
    assert isinstance(check, SignalWithin)  # noqa: S101 - the last kind of check there is
    lower = f" at least {check.at_least:g}" if check.at_least is not None else ""
    upper = f" at most {check.at_most:g}" if check.at_most is not None else ""
    return f"{check.signal.value} of {clean(check.entity)} is{lower}{upper}"
