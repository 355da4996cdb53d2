"""The stage judge: what the record says has to be done next."""

from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.domain.action import ActionRecord, Reversibility, Risk
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.diagnosis import (
    CauseKind,
    Diagnosis,
    Hypothesis,
    Suggestion,
    Verdict,
)
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.domain.severity import Severity
from it_incident_response.domain.verification import Verification, VerificationResult
from it_incident_response.workflow.stages import Record, Stage, next_stage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = IncidentId("incident")
ACTION = ActionRecord(kind="restart_service", parameters={"host": "web-1"})
TARGET = Entity(EntityKind.SERVICE, "shop")


def incident(status=IncidentStatus.IDENTIFIED, **more):
    return Incident(
        id=ID,
        key="INC-000001",
        title="t",
        severity=Severity.HIGH,
        status=status,
        opened_at=NOW,
        updated_at=NOW,
        **more,
    )


def alert(fingerprint="a", firing=True):
    return Alert(
        fingerprint=fingerprint,
        name="Down",
        status=AlertStatus.FIRING if firing else AlertStatus.RESOLVED,
        severity=Severity.HIGH,
        labels={},
        starts_at=NOW,
        received_at=NOW,
        source="test",
    )


def diagnosis(identifier="d1", made_at=NOW - timedelta(minutes=5), cause="service-down"):
    top = Hypothesis(
        cause_id=cause,
        cause="it is down",
        kind=CauseKind.PROCESS,
        entity=TARGET,
        confidence=0.9,
        suggestions=(Suggestion(text="restart", action="restart_service"),),
    )
    return Diagnosis(
        id=identifier,
        incident_id=ID,
        made_at=made_at,
        verdict=Verdict.LIKELY,
        hypotheses=(top,),
        summary="down",
    )


def plan(**more):
    step = PlanStep(
        number=1,
        action=ACTION,
        executor="ssh",
        target=TARGET,
        description="restart",
        risk=Risk.MEDIUM,
        reversibility=Reversibility.COMPENSABLE,
    )
    given = {"diagnosis_id": "d1", "steps": (step,), **more}
    return Plan(id="p1", incident_id=ID, made_at=NOW, reason="because", **given)


def approval(status):
    return Approval(
        id="ap1",
        incident_id=ID,
        plan_id="p1",
        plan_digest="x",
        requested_at=NOW,
        requested_by="agent:resolution",
        expires_at=NOW + timedelta(hours=1),
        status=status,
        decided_by="alice",
    )


def execution(state):
    return Execution(
        id="e1",
        key="k",
        incident_id=ID,
        plan_id="p1",
        plan_digest="x",
        step=1,
        action=ACTION,
        target=TARGET,
        state=state,
        intended_at=NOW,
        error="it broke" if state is StepState.FAILED else None,
    )


def verification(result):
    return Verification(
        id="v1",
        incident_id=ID,
        plan_id="p1",
        result=result,
        started_at=NOW,
        ended_at=NOW,
        soak_s=1,
        reason="as measured",
    )


def record(status=IncidentStatus.IDENTIFIED, **more):
    given = {
        "alerts": (alert(),),
        "diagnosis": diagnosis(),
        "diagnosed_alerts": frozenset({"a"}),
        **more,
    }
    return Record(incident=given.pop("incident", incident(status)), **given)


def judged(given):
    return next_stage(given, NOW, refresh_s=30)


def planned(*args, **more):
    return record(*args, **{"plan": plan(), "planned_for": diagnosis(), **more})


def resolving(**more):
    return planned(IncidentStatus.RESOLVING, **more)


CASES = {
    "fresh": (record(IncidentStatus.INVESTIGATING, diagnosis=None), Stage.DIAGNOSE),
    "reopened": (record(IncidentStatus.INVESTIGATING), Stage.DIAGNOSE),
    "identified, no plan": (record(), Stage.PLAN),
    "plan for another cause": (
        record(plan=plan(), planned_for=diagnosis(cause="disk-full")),
        Stage.PLAN,
    ),
    "same cause, newer diagnosis": (
        record(
            diagnosis=diagnosis("d2"),
            plan=plan(),
            planned_for=diagnosis("d1"),
            approval=approval(ApprovalStatus.PENDING),
        ),
        Stage.AWAIT_APPROVAL,
    ),
    "pending": (planned(approval=approval(ApprovalStatus.PENDING)), Stage.AWAIT_APPROVAL),
    "approved": (planned(approval=approval(ApprovalStatus.APPROVED)), Stage.EXECUTE),
    "rejected": (planned(approval=approval(ApprovalStatus.REJECTED)), Stage.ESCALATE),
    "expired": (planned(approval=approval(ApprovalStatus.EXPIRED)), Stage.ESCALATE),
    "voided": (planned(approval=approval(ApprovalStatus.VOIDED)), Stage.PLAN),
    "approved but used": (
        planned(
            approval=approval(ApprovalStatus.APPROVED),
            executions=(execution(StepState.FINISHED),),
        ),
        Stage.ESCALATE,
    ),
    "forbidden": (
        record(plan=plan(is_forbidden="freeze"), planned_for=diagnosis()),
        Stage.ESCALATE,
    ),
    "automatic": (
        record(plan=plan(needs_approval=False), planned_for=diagnosis()),
        Stage.EXECUTE,
    ),
    "new alert while waiting": (
        planned(alerts=(alert(), alert("b")), approval=approval(ApprovalStatus.PENDING)),
        Stage.DIAGNOSE,
    ),
    "new alert after approval": (
        planned(alerts=(alert(), alert("b")), approval=approval(ApprovalStatus.APPROVED)),
        Stage.EXECUTE,
    ),
    "crashed in a step": (
        resolving(executions=(execution(StepState.STARTED),)),
        Stage.RECOVER,
    ),
    "steps left": (resolving(), Stage.EXECUTE),
    "in doubt": (resolving(executions=(execution(StepState.IN_DOUBT),)), Stage.ESCALATE),
    "failed": (resolving(executions=(execution(StepState.FAILED),)), Stage.ESCALATE),
    "dry run": (resolving(executions=(execution(StepState.DRY_RUN),)), Stage.ESCALATE),
    "all steps ran": (resolving(executions=(execution(StepState.FINISHED),)), Stage.VERIFY),
    "verified": (
        resolving(
            executions=(execution(StepState.FINISHED),),
            verification=verification(VerificationResult.VERIFIED),
        ),
        Stage.CONFIRM_RECOVERY,
    ),
    "not recovered": (
        resolving(
            executions=(execution(StepState.FINISHED),),
            verification=verification(VerificationResult.FAILED),
        ),
        Stage.ESCALATE,
    ),
    "nobody can tell": (
        resolving(
            executions=(execution(StepState.FINISHED),),
            verification=verification(VerificationResult.UNVERIFIABLE),
        ),
        Stage.ESCALATE,
    ),
    "healed by itself": (
        planned(alerts=(alert(firing=False),), approval=approval(ApprovalStatus.PENDING)),
        Stage.CONFIRM_RECOVERY,
    ),
    "escalated": (record(incident=incident(escalation="no rule fits")), Stage.REST),
    "escalated, new alert": (
        record(
            incident=incident(IncidentStatus.INVESTIGATING, escalation="no rule fits"),
            alerts=(alert(), alert("b")),
        ),
        Stage.DIAGNOSE,
    ),
    "resolved": (record(IncidentStatus.RESOLVED), Stage.WRITE_UP),
    "closed": (record(IncidentStatus.CLOSED), Stage.WRITE_UP),
    "written up": (
        record(incident=incident(IncidentStatus.CLOSED, written_up_at=NOW)),
        Stage.REST,
    ),
    "halted while diagnosed": (
        record(incident=incident(IncidentStatus.INVESTIGATING, halt="taken over by bob")),
        Stage.REST,
    ),
    "halted while approved": (
        planned(
            incident=incident(halt="taken over by bob"), approval=approval(ApprovalStatus.APPROVED)
        ),
        Stage.REST,
    ),
    "halted in the middle": (
        planned(
            incident=incident(IncidentStatus.RESOLVING, halt="cancelled by bob"),
            executions=(execution(StepState.FINISHED),),
        ),
        Stage.ESCALATE,
    ),
    "halted while a step hangs": (
        planned(
            incident=incident(IncidentStatus.RESOLVING, halt="cancelled by bob"),
            executions=(execution(StepState.STARTED),),
        ),
        Stage.RECOVER,
    ),
    "resolved but a step hangs": (
        record(IncidentStatus.RESOLVED, executions=(execution(StepState.STARTED),)),
        Stage.RECOVER,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_record_decides_the_stage(name):
    given, expected = CASES[name]
    assert judged(given).stage is expected


def test_a_storm_does_not_diagnose_for_every_alert():
    recent = diagnosis(made_at=NOW - timedelta(seconds=10))
    step = judged(record(IncidentStatus.INVESTIGATING, diagnosis=recent))
    assert step.stage is Stage.REST
    assert step.not_before == NOW + timedelta(seconds=20)


def test_waiting_ends_when_the_request_expires():
    step = judged(planned(approval=approval(ApprovalStatus.PENDING)))
    assert step.not_before == NOW + timedelta(hours=1)


def test_the_reason_names_the_failure():
    step = judged(resolving(executions=(execution(StepState.FAILED),)))
    assert "it broke" in step.reason


def two_steps():
    """A plan of two steps that can be undone, and a third that cannot."""
    (step,) = plan().steps
    numbered = [step.model_copy(update={"number": n, "undo": ACTION}) for n in (1, 2)]
    last = step.model_copy(update={"number": 3})
    return plan(steps=(*numbered, last))


def ran(step, state=StepState.FINISHED, **more):
    given = {"step": step, "id": f"e{step}", "key": f"k{step}{more}", "started_at": NOW, **more}
    return execution(state).model_copy(update=given)


def test_steps_run_in_order_each_when_the_one_before_has_finished():
    seen = []
    for done in range(3):
        executions = tuple(ran(n) for n in range(1, done + 1))
        step = judged(resolving(plan=two_steps(), executions=executions))
        seen.append((step.stage, step.step))
    assert seen == [(Stage.EXECUTE, n) for n in (1, 2, 3)]


def test_a_fix_that_did_not_help_is_taken_back_last_step_first():
    all_ran = tuple(ran(n) for n in (1, 2, 3))
    given = {"plan": two_steps(), "verification": verification(VerificationResult.FAILED)}
    first = judged(resolving(executions=all_ran, **given))
    assert (first.stage, first.step) == (Stage.ROLL_BACK, 2)
    undone = (*all_ran, ran(2, is_undo=True))
    second = judged(resolving(executions=undone, **given))
    assert (second.stage, second.step) == (Stage.ROLL_BACK, 1)
    end = judged(resolving(executions=(*undone, ran(1, is_undo=True)), **given))
    assert end.stage is Stage.ESCALATE
    assert "undone: steps 2, 1" in end.reason
    assert "step 3 (restart_service): has no undo" in end.reason


def test_what_ran_before_a_failed_step_is_taken_back():
    executions = (ran(1), ran(2, StepState.FAILED))
    step = judged(resolving(plan=two_steps(), executions=executions))
    assert (step.stage, step.step) == (Stage.ROLL_BACK, 1)


def test_a_failed_undo_goes_to_a_human_and_nothing_more_is_undone():
    executions = (ran(1), ran(2), ran(3, StepState.FAILED), ran(2, StepState.FAILED, is_undo=True))
    step = judged(resolving(plan=two_steps(), executions=executions))
    assert step.stage is Stage.ESCALATE
    assert "undo failed" in step.reason


def test_what_cannot_be_measured_is_not_taken_back():
    given = {"plan": two_steps(), "verification": verification(VerificationResult.UNVERIFIABLE)}
    step = judged(resolving(executions=tuple(ran(n) for n in (1, 2, 3)), **given))
    assert step.stage is Stage.ESCALATE


@pytest.mark.parametrize(("attempt", "pause_s"), [(1, 5), (2, 10), (4, 40)])
def test_a_step_that_could_not_begin_is_tried_again_later_and_later(attempt, pause_s):
    unreached = {"started_at": None, "ended_at": NOW, "attempt": attempt}
    step = judged(resolving(executions=(ran(1, StepState.FAILED, **unreached),)))
    assert (step.stage, step.step) == (Stage.EXECUTE, 1)
    assert step.not_before == NOW + timedelta(seconds=pause_s)


def test_a_step_that_never_could_begin_is_given_up():
    unreached = {"started_at": None, "ended_at": NOW, "attempt": 5}
    step = judged(resolving(executions=(ran(1, StepState.FAILED, **unreached),)))
    assert step.stage is Stage.ESCALATE


def test_a_failed_attempt_that_was_made_good_is_forgotten():
    executions = (
        ran(1, StepState.FAILED, started_at=None, ended_at=NOW),
        ran(1, attempt=2),
    )
    step = judged(resolving(plan=two_steps(), executions=executions))
    assert (step.stage, step.step) == (Stage.EXECUTE, 2)
