"""Which metrics must have recovered before a fix counts."""

from datetime import UTC, datetime

import pytest

from it_incident_response.agents.recovery_checks import CHECKS_MAX, recovery_checks
from it_incident_response.domain.action import SignalWithin
from it_incident_response.domain.diagnosis import CauseKind, Hypothesis
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Evidence, MetricFinding, Shape, Signal
from it_incident_response.domain.ids import IncidentId

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = Entity(EntityKind.SERVICE, "shop")
OTHER = Entity(EntityKind.SERVICE, "other")


def finding(signal=Signal.UP, *, baseline=1.0, current=0.0, effect=-20.0, **more):
    given = {"entity": SHOP, "shape": Shape.LEVEL_SHIFT, "peak": current, **more}
    return MetricFinding(signal=signal, baseline=baseline, current=current, effect=effect, **given)


def checks_for(*findings, cited=None):
    evidence = [
        Evidence(
            id=f"e{n}",
            incident_id=IncidentId("i"),
            source="t",
            summary="s",
            finding=each,
            observed_at=NOW,
        )
        for n, each in enumerate(findings)
    ]
    top = Hypothesis(
        cause_id="c",
        cause="c",
        kind=CauseKind.PROCESS,
        entity=SHOP,
        confidence=0.9,
        supporting=tuple(e.id for e in evidence) if cited is None else cited,
    )
    return recovery_checks(top, evidence)


def test_a_fallen_signal_must_rise_above_the_middle():
    assert checks_for(finding()) == (SignalWithin(signal=Signal.UP, entity=SHOP, at_least=0.5),)


def test_a_risen_signal_must_fall_below_the_middle():
    risen = finding(Signal.DISK_USE, baseline=0.4, current=1.0, effect=30.0)
    assert checks_for(risen) == (SignalWithin(signal=Signal.DISK_USE, entity=SHOP, at_most=0.7),)


@pytest.mark.parametrize(
    "left_out",
    [
        finding(shape=Shape.NORMAL),
        finding(shape=Shape.SPIKE),
        finding(baseline=None),
        finding(entity=OTHER),
        finding(Signal.OOM_KILLS, baseline=0.0, current=2.0),
        finding(Signal.REQUEST_RATE),
    ],
)
def test_what_says_nothing_about_recovery_is_left_out(left_out):
    assert checks_for(left_out) == ()


def test_only_cited_findings_count():
    assert checks_for(finding(), cited=()) == ()


def test_the_strongest_are_enough():
    many = [finding(signal, effect=-float(n)) for n, signal in enumerate(Signal) if n < 12]
    chosen = checks_for(*many)
    assert len(chosen) == CHECKS_MAX
