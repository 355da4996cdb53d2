"""How one incident looks in a terminal: what is broken, why, what we want to do, how it ended."""

import shlex
from collections.abc import Sequence

from it_incident_response.cli.approval_view import show_step
from it_incident_response.cli.output import clean, console, when
from it_incident_response.domain.approval import ApprovalStatus
from it_incident_response.domain.diagnosis import Diagnosis, Hypothesis
from it_incident_response.domain.evidence import Evidence, MetricFinding
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.plan import Plan
from it_incident_response.system import IncidentView
from it_incident_response.workflow.standing import told_so_far

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
SUSPECTS_SHOWN = 3
"""Of each kind; `--json` has all."""
QUERY_SHOWN = 150
"""Characters of a query; `--json` has all of it."""


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """Return values as one line of bars, averaged into at most `width` of them."""
    if not values:
        return ""
    buckets = min(width, len(values))
    edges = [round(i * len(values) / buckets) for i in range(buckets + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def show_incident(view: IncidentView) -> None:
    """Print one incident for a person."""
    out, incident = console(), view.incident
    out.print(f"{incident.key}  {clean(incident.title)}", style="bold")
    out.print(
        f"{incident.severity}, {incident.status}; opened {when(incident.opened_at)}"
        f"; {incident.firing_alerts} of {incident.total_alerts} alerts firing"
        + ("; flapping" if incident.is_flapping else "")
        + (f"; reopened {incident.reopened_count}x" if incident.reopened_count else "")
    )
    out.print(f"affected: {clean(', '.join(incident.affected_systems) or 'unknown')}")
    out.print(f"id: {incident.id}   assignee: {clean(incident.assignee or 'nobody')}")
    if incident.escalation:
        out.print(f"needs a human: {clean(incident.escalation, 1000)}", style="bold yellow")
    if incident.halt and incident.halt != incident.escalation:
        out.print(f"stopped: {clean(incident.halt, 1000)}", style="bold yellow")
    show_now(view)
    _show_alerts(view)
    if view.diagnosis:
        show_diagnosis(view.diagnosis, view.evidence)
    if view.plan:
        show_plan(view.plan)
    _show_ending(view)


def show_now(view: IncidentView) -> None:
    """Print where it stands and why, and what one can do about it."""
    console().print(f"now: {clean(view.now, 1000)}")
    for line in view.now_details:
        console().print(f"     {clean(line, 1000)}")


def _show_alerts(view: IncidentView) -> None:
    out = console()
    out.print("\nAlerts", style="bold")
    for link, alert in view.alerts[:20]:
        out.print(f"  {alert.status:<8} {clean(alert.name, 48):<48} {clean(link.reason, 160)}")
    if len(view.alerts) > 20:
        out.print(f"  ... and {len(view.alerts) - 20} more (--json shows all)")


def show_diagnosis(diagnosis: Diagnosis, evidence: Sequence[Evidence]) -> None:
    """Print the best hypotheses with the evidence for and against each."""
    out = console()
    out.print(f"\nDiagnosis: {diagnosis.verdict}", style="bold")
    out.print(f"  {clean(diagnosis.summary, 1000)}")
    by_id = {item.id: item for item in evidence}
    for number, hypothesis in enumerate(diagnosis.hypotheses[:3], start=1):
        _show_hypothesis(number, hypothesis)
        for evidence_id in hypothesis.supporting[:6]:
            _show_evidence("+", by_id.get(evidence_id))
        for evidence_id in hypothesis.contradicting[:4]:
            _show_evidence("-", by_id.get(evidence_id))
    _show_suspects(diagnosis)
    for text in diagnosis.missing:
        out.print(f"  missing: {clean(text)}")


def _show_suspects(diagnosis: Diagnosis) -> None:
    out, shown = console(), diagnosis.suspects
    for kind in dict.fromkeys(suspect.kind for suspect in shown):
        ranked = [suspect for suspect in shown if suspect.kind is kind][:SUSPECTS_SHOWN]
        out.print(f"  suspected {kind}s:")
        for place, suspect in enumerate(ranked, start=1):
            why = "; ".join(suspect.reasons[:2])
            named = why if why.startswith(suspect.name) else f"{suspect.name}: {why}"
            out.print(f"    {place}. {suspect.score:.2f}  {clean(named, 300)}")


def _show_hypothesis(number: int, hypothesis: Hypothesis) -> None:
    where = f" ({hypothesis.entity})" if hypothesis.entity else ""
    console().print(
        f"  {number}. {hypothesis.confidence:>4.0%}  {clean(hypothesis.cause)}{clean(where)}"
    )


def _show_evidence(sign: str, item: Evidence | None) -> None:
    if item is None:
        return
    out = console()
    out.print(f"       {sign} {clean(item.summary)}")
    if isinstance(item.finding, MetricFinding) and item.finding.samples:
        out.print(f"         {sparkline([value for _, value in item.finding.samples])}")
    if item.query:
        out.print(f"         query: {clean(item.query, QUERY_SHOWN)}", style="dim")


def show_plan(plan: Plan) -> None:
    """Print a plan's steps: what runs where, the risk, and how it is checked and undone."""
    out = console()
    out.print(f"\nPlan {plan.digest[:12]}", style="bold")
    if plan.is_forbidden:
        out.print(f"  forbidden: {clean(plan.is_forbidden)}", style="bold red")
    for step in plan.steps:
        show_step(step)


def _show_ending(view: IncidentView) -> None:
    out = console()
    if view.approval:
        approval = view.approval
        decided = f" by {clean(approval.decided_by)}" if approval.decided_by else ""
        out.print(f"\nApproval {approval.id}: {approval.status}{decided}", style="bold")
        if told := told_so_far(approval.notices):
            out.print(f"  {clean(told, 1000)}")
        if approval.status is ApprovalStatus.PENDING:
            out.print(f"  decide before {when(approval.expires_at)}:")
            out.print(f"  iir approvals show {approval.id}")
    for execution in view.executions:
        _show_execution(execution)
    if view.verification:
        out.print(f"\nVerification: {view.verification.result}", style="bold")
        out.print(f"  {clean(view.verification.reason, 1000)}")
        for reading in view.verification.readings:
            mark = {True: "ok", False: "no", None: "??"}[reading.holds]
            out.print(f"  [{mark}] {clean(reading.detail)}")


def _show_execution(execution: Execution) -> None:
    out = console()
    out.print(f"\nStep {execution.step}: {execution.state}", style="bold")
    for result in execution.results:
        status = "would run" if result.exit_status is None else f"exit {result.exit_status}"
        out.print(f"  {status}: {clean(shlex.join(result.command))}")
        for line in result.output.splitlines()[:10]:
            out.print(f"    {clean(line)}")
    if execution.error:
        out.print(f"  {clean(execution.error)}", style="red")
