"""Which metrics must have recovered before a fix counts: those that the diagnosis rests on."""

from collections.abc import Sequence

from it_incident_response.domain.action import SignalWithin
from it_incident_response.domain.diagnosis import Hypothesis
from it_incident_response.domain.evidence import Evidence, MetricFinding, Shape, Signal
from it_incident_response.domain.plan import Plan

CHECKS_MAX = 2
"""The strongest findings: each further one is one more thing to wait for."""

NEVER_COME_BACK = frozenset(
    {
        Signal.OOM_KILLS,
        Signal.RESTARTS,
        Signal.REQUEST_RATE,
        Signal.SATURATION,
        Signal.CERTIFICATE_LIFETIME,
        Signal.OTHER,
    }
)
"""Counters of what has happened; load that is nobody's to restore, and how busy it keeps a service
that copes again; what alerts judge better; and panels, which nobody but their dashboard can read
again."""


def with_recovery_checks(plan: Plan, top: Hypothesis, evidence: Sequence[Evidence]) -> Plan:
    """Return the plan whose last step also demands that the cited metrics have recovered."""
    *before, last = plan.steps
    checks = (*last.checks, *recovery_checks(top, evidence))
    return plan.model_copy(update={"steps": (*before, last.model_copy(update={"checks": checks}))})


def recovery_checks(top: Hypothesis, evidence: Sequence[Evidence]) -> tuple[SignalWithin, ...]:
    """Return a check for each of the strongest cited findings about the blamed entity.

    Recovered means: nearer to the baseline than to the level of the incident.
    """
    cited = [
        item.finding
        for item in evidence
        if item.id in top.supporting and isinstance(item.finding, MetricFinding)
    ]
    strongest = sorted(
        (f for f in cited if _can_recover(f) and f.entity == top.entity),
        key=lambda finding: -abs(finding.effect),
    )
    return tuple(_nearer_to_baseline(finding) for finding in strongest[:CHECKS_MAX])


def _can_recover(finding: MetricFinding) -> bool:
    is_changed = finding.shape in (Shape.LEVEL_SHIFT, Shape.SATURATION, Shape.TREND)
    is_measured = finding.baseline is not None and finding.current is not None
    return is_changed and is_measured and finding.signal not in NEVER_COME_BACK


def _nearer_to_baseline(finding: MetricFinding) -> SignalWithin:
    baseline, current = finding.baseline or 0.0, finding.current or 0.0
    middle = round((baseline + current) / 2, 6)
    return SignalWithin(
        signal=finding.signal,
        entity=finding.entity,
        at_least=middle if current < baseline else None,
        at_most=middle if current >= baseline else None,
    )
