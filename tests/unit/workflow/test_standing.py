"""Where an incident stands, told in words a person on call understands."""

from datetime import timedelta

import pytest

from it_incident_response.domain.approval import Notice, NoticeKind
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.workflow.stages import Next, Record, Stage, next_stage
from it_incident_response.workflow.standing import (
    EngineState,
    EngineStatus,
    PendingActivity,
    Refusal,
    clock_time,
    situation,
    told_so_far,
)
from tests.contracts import store_fixtures as make

NOW = make.after(600)
ANY = "anybody with a role"
STEP = Next(stage=Stage.REST, reason="nothing to do")


def incident(status=IncidentStatus.IDENTIFIED, **more):
    return make.incident(1, status=status, **more)


def record(of=None, **more):
    return Record(incident=of or incident(), **more)


def words(rec, step=STEP, **more):
    return situation(rec, step, NOW, **more)


def waiting(*notices):
    of = incident()
    plan = make.plan(of)
    request = make.approval(plan, expires_at=make.after(3600), notices=notices)
    return record(of, plan=plan, approval=request)


def notice(kind, number, to=None):
    return Notice(kind=kind, number=number, at=NOW, to=to)


def test_who_is_waited_for_since_when_and_until_when():
    rec = waiting(
        notice(NoticeKind.REMINDED, 1),
        notice(NoticeKind.ESCALATED, 1, "sre-lead"),
        notice(NoticeKind.REMINDED, 2),
    )
    step = Next(stage=Stage.AWAIT_APPROVAL, reason="waiting")
    said = words(rec, step, approvers="bob (approver)")
    assert said.headline == (
        f"waiting for bob (approver) to approve plan {rec.plan.digest[:12]}, since 15:09:26Z, "
        "denied at 16:09:26Z; reminded twice, escalated to sre-lead"
    )
    assert said.details[0] == f"decide: iir approvals show {rec.approval.id}"


def test_reminders_are_counted_in_words():
    assert told_so_far(()) == ""
    assert told_so_far([notice(NoticeKind.REMINDED, 1)]) == "reminded once"
    assert told_so_far([notice(NoticeKind.REMINDED, n) for n in range(3)]) == "reminded 3 times"
    names = [notice(NoticeKind.ESCALATED, n, f"p{n}") for n in range(2)]
    assert told_so_far(names) == "escalated to p0, p1"


@pytest.mark.parametrize("is_undo", [False, True])
def test_what_runs_where_since_when(is_undo):
    of = incident(IncidentStatus.RESOLVING)
    plan = make.plan(of)
    row = make.execution(
        plan,
        state=StepState.STARTED,
        started_at=make.after(60),
        host="web-1",
        is_undo=is_undo,
    )
    what = "the undo of step" if is_undo else "step"
    running = f"{what} 1 of 1 is running on web-1 since 15:10:26Z"
    step = Next(stage=Stage.RECOVER, reason="started")
    assert words(record(of, plan=plan, executions=(row,)), step).headline == running
    stopped = of.model_copy(update={"halt": "cancelled by alice: enough"})
    said = words(record(stopped, plan=plan, executions=(row,)), step).headline
    assert said == f"being stopped, cancelled by alice: enough; {running}"


def test_what_a_person_stopped_says_who_and_how_to_go_on():
    of = incident(halt="taken over by alice", escalation="a step failed", assignee="alice")
    said = words(record(of), next_stage(record(of), NOW, refresh_s=0))
    assert said.headline == "stopped, taken over by alice"
    assert said.details == (
        "alice has it",
        "it was handed to a human: a step failed",
        f"to have it diagnosed afresh: iir incidents rediagnose {of.key}",
    )


def test_what_nobody_has_taken_says_how_to_take_it():
    of = incident(escalation="inconclusive")
    said = words(record(of), next_stage(record(of), NOW, refresh_s=0))
    assert said.headline == "a human has it: inconclusive"
    assert said.details[0] == f"nobody has taken it: iir incidents take-over {of.key}"


def test_a_passing_obstacle_says_when_it_is_tried_again():
    of = incident()
    plan = make.plan(of)
    step = Next(stage=Stage.EXECUTE, reason="the plan is approved", step=1)
    engine = EngineState(status=EngineStatus.RUNNING, looks_again_at=NOW + timedelta(minutes=5))
    refusal = Refusal(at=make.after(590), reason="limits.fleet: 3 actions in the last hour")
    said = words(record(of, plan=plan), step, refusal=refusal, engine=engine).headline
    assert said == (
        "step 1 of 1 is next: the plan is approved; refused at 15:19:16Z, limits.fleet: "
        "3 actions in the last hour; tries again at 15:24:26Z"
    )
    waits = step.model_copy(update={"not_before": NOW + timedelta(seconds=10)})
    assert words(record(of, plan=plan), waits).headline.endswith("; tries again at 15:19:36Z")
    past = step.model_copy(update={"not_before": NOW})
    assert "again" not in words(record(of, plan=plan), past).headline


def test_doubt_names_the_command_that_settles_it():
    of = incident(escalation="nobody knows")
    plan = make.plan(of)
    row = make.execution(plan, state=StepState.IN_DOUBT, host="web-1")
    details = words(record(of, plan=plan, executions=(row,))).details
    assert any(f"iir incidents settle {of.key} 1 --took-effect" in line for line in details)


@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_has_words_and_braces_in_a_reason_are_text(stage):
    step = Next(stage=stage, reason="{step} %s {0}", step=1)
    assert "{step} %s {0}" in words(record(), step).headline


def test_what_the_engine_knows_is_told():
    def lines(**given):
        return words(record(), engine=EngineState(**given)).details

    failing = PendingActivity(
        activity="diagnose",
        attempt=4,
        last_failure="prometheus: unreachable" + "x" * 9_999,
        next_attempt_at=NOW + timedelta(seconds=30),
        queue="iir",
    )
    told = lines(
        status=EngineStatus.RUNNING,
        run_id="r1",
        started_at=make.after(-86_400),
        history_length=42,
        waits_for="an approval",
        pending=(failing, PendingActivity(activity="execute", queue="iir.site.a")),
    )
    assert told[0] == (
        "its workflow is running since 2026-03-13 15:09:26Z (run r1, 42 events of history)"
    )
    assert told[1] == "it waits: an approval"
    assert told[2].startswith("diagnose on queue iir failed: prometheus: unreachable")
    assert told[2].endswith("; tries again at 15:19:56Z")
    assert len(told[2]) < 500
    assert told[3] == "execute is under way on queue iir.site.a, attempt 1"
    assert "cannot be reached" in lines(status=EngineStatus.UNREACHABLE)[0]
    assert "has ended" in lines(status=EngineStatus.ENDED)[0]
    assert "no workflow" in lines(status=EngineStatus.ABSENT)[0]


def test_a_time_of_another_day_has_its_date():
    assert clock_time(make.after(0), NOW) == "15:09:26Z"
    assert clock_time(make.after(86_400), NOW) == "2026-03-15 15:09:26Z"
