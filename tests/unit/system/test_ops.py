"""What needs an operator: found in the record, each with the command that helps."""

from datetime import timedelta

import pytest

from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.safety.judge import PolicyJudge
from it_incident_response.safety.policy import Effect, Policy, Ruling
from it_incident_response.safety.reminders import ApprovalNotices, NoticeSettings
from it_incident_response.system.ops import OpsKind, OpsLimits, ops_report
from it_incident_response.system.views import approvers_in_words, incident_view
from it_incident_response.workflow.standing import EngineState, EngineStatus, PendingActivity
from tests.unit.workflow.test_desk import started

NOTICES = NoticeSettings(reminders_s=(900,))


async def report(world, **given):
    return await ops_report(world.store, world.clock.now(), notices=NOTICES, **given)


async def only(world, kind, **given):
    (issue,) = (await report(world, **given)).of([kind])
    return issue


async def test_nothing_is_said_where_nothing_is_wrong(world):
    found = await report(world)
    assert (found.issues, found.is_complete, found.open_incidents) == ((), True, 0)
    await world.incident()
    found = await report(world)
    assert (found.issues, found.open_incidents) == ((), 1)


async def test_what_no_worker_takes_is_stuck_after_a_while(world):
    incident = await world.incident()
    await world.store.wake(incident.id, world.clock.now())
    world.clock.advance(seconds=59)
    assert (await report(world)).issues == ()
    world.clock.advance(seconds=1)
    issue = await only(world, OpsKind.STUCK)
    assert (issue.incident, issue.since) == (incident.key, incident.opened_at)
    assert "iir serve" in issue.advice
    await world.store.claim_due(world.clock.now(), worker="w1", lease_s=30, limit=1)
    assert (await report(world)).issues == ()
    world.clock.advance(seconds=91)
    assert "w1 had it and is gone" in (await only(world, OpsKind.STUCK)).what


async def test_the_post_of_the_engine_is_missed_when_its_holder_is_gone(world):
    now = world.clock.now()
    until = now + timedelta(seconds=30)
    await world.store.hold_lease("engine", holder="host:1", now=now, until=until)
    assert (await report(world)).issues == ()
    assert (await report(world, machine_time=until)).issues[0].kind is OpsKind.STUCK
    world.clock.advance(seconds=30)
    assert "host:1 ran the engine and is gone" in (await only(world, OpsKind.STUCK)).what
    await world.store.drop_lease("engine", holder="host:1")
    assert (await report(world)).issues == ()


async def test_a_step_under_way_and_its_lock_then_in_doubt(world):
    incident, plan = await started(world)
    found = await report(world)
    unfinished = await only(world, OpsKind.UNFINISHED)
    assert unfinished.incident == incident.key
    assert f"iir incidents cancel {incident.key}" in unfinished.advice
    locked = await only(world, OpsKind.LOCKED)
    assert f"is locked by {incident.key} until" in locked.what
    assert not found.of([OpsKind.IN_DOUBT])
    (row,) = await world.rows(plan)
    doubt = row.model_copy(update={"state": StepState.IN_DOUBT, "error": "lost it"})
    await world.store.advance(doubt, StepState.STARTED, [])
    issue = await only(world, OpsKind.IN_DOUBT)
    assert "step 1 (restart_service)" in issue.what
    assert f"iir incidents settle {incident.key} 1 --took-effect" in issue.advice
    assert not (await report(world)).of([OpsKind.UNFINISHED])


async def test_a_decision_is_overdue_when_all_were_told_and_when_it_is_past(world):
    plan = await world.plan()
    request = await world.approvals.request(plan, by="agent:resolution")
    assert (await report(world)).waiting_for_approval == 1
    world.clock.advance(minutes=16)
    assert not (await report(world)).of([OpsKind.OVERDUE])
    await ApprovalNotices(world.store, NOTICES).send_due(request.incident_id, world.clock.now())
    issue = await only(world, OpsKind.OVERDUE)
    assert "reminded once" in issue.what
    assert f"iir approvals show {request.id}" in issue.advice
    world.clock.advance(minutes=44)
    assert "was to be denied" in (await only(world, OpsKind.OVERDUE)).what


async def test_what_was_handed_to_a_human_is_listed_until_one_has_it(world):
    incident = await world.incident()
    handed = incident.model_copy(update={"escalation": "inconclusive \x1b[2J" + "x" * 9_999})
    incident = await world.store.save_incident(handed, [])
    issue = await only(world, OpsKind.UNTAKEN)
    assert f"iir incidents take-over {incident.key}" in issue.advice
    assert len(issue.what) < 400
    taken = incident.model_copy(update={"assignee": "bob"})
    incident = await world.store.save_incident(taken, [])
    assert (await report(world)).issues == ()
    halted = {"assignee": None, "escalation": None, "halt": "cancelled by bob: no"}
    stopping = incident.model_copy(update={**halted, "status": IncidentStatus.RESOLVING})
    incident = await world.store.save_incident(stopping, [])
    assert (await report(world)).issues == (), "its worker is still stopping it"
    over = incident.model_copy(update={"status": IncidentStatus.IDENTIFIED})
    await world.store.save_incident(over, [])
    assert "cancelled by bob" in (await only(world, OpsKind.UNTAKEN)).what


async def test_bodies_that_wait_or_could_not_be_read(world):
    await world.store.accept([("alerts", b"[]"), ("alerts", b"\xff")], world.clock.now())
    assert (await report(world)).inbox_depth == 2
    assert (await report(world)).issues == ()
    world.clock.advance(seconds=60)
    assert "2 accepted bodies" in (await only(world, OpsKind.INBOX)).what
    async with world.store.ingestion(10) as ingestion:
        from it_incident_response.ports import IngestOutcome

        bad = tuple((item.id, "no JSON") for item in ingestion.items)
        await ingestion.commit(IngestOutcome(rejected=bad))
    issue = await only(world, OpsKind.REJECTED)
    assert (issue.what, issue.advice) == (
        "2 bodies could not be read; the last: no JSON",
        "iir alerts rejected",
    )


def engine(**given):
    asked = []

    async def look(ids):
        asked.append(list(ids))
        return {each: EngineState(**given) for each in ids}

    look.asked = asked
    return look


async def test_the_engine_is_asked_only_about_what_ought_to_move(world):
    moving = await world.incident()
    await world.approvals.request(await world.plan(), by="agent:resolution")
    human = await world.incident()
    await world.store.save_incident(human.model_copy(update={"escalation": "x"}), [])
    look = engine(status=EngineStatus.RUNNING)
    found = await report(world, engine=look)
    assert look.asked == [[moving.id]]
    assert not found.of([OpsKind.STUCK])


@pytest.mark.parametrize("status", [EngineStatus.ABSENT, EngineStatus.ENDED])
async def test_an_open_incident_that_no_workflow_carries_is_stuck(world, status):
    incident = await world.incident()
    issue = await only(world, OpsKind.STUCK, engine=engine(status=status))
    assert issue.advice == f"iir incidents wake {incident.key}"


async def test_an_engine_that_is_away_is_said_once(world):
    for _ in range(3):
        await world.incident()
    look = engine(status=EngineStatus.UNREACHABLE)
    assert "cannot be reached" in (await only(world, OpsKind.STUCK, engine=look)).what


async def test_what_fails_again_and_again_says_with_what(world):
    await world.incident()

    def failing(attempt):
        activity = PendingActivity(activity="diagnose", attempt=attempt, last_failure="no route")
        return engine(status=EngineStatus.RUNNING, pending=(activity,))

    assert (await report(world, engine=failing(4))).issues == ()
    issue = await only(world, OpsKind.STUCK, engine=failing(5))
    assert "diagnose failed 4 times: no route" in issue.what


async def test_what_is_left_out_is_said(world):
    for _ in range(3):
        incident = await world.incident()
        await world.store.save_incident(incident.model_copy(update={"escalation": "x"}), [])
    found = await report(world, limits=OpsLimits(listed=2))
    assert (len(found.issues), found.is_complete, found.open_incidents) == (2, False, 3)


def ruling(*roles, effect=Effect.APPROVE):
    return Ruling(effect=effect, rule="r", reason="", approver_roles=roles)


def test_who_may_approve_is_named():
    policy = Policy(roles={"a": ("bob", "carol"), "b": ("carol", "dan"), "all": ("*",), "no": ()})
    assert approvers_in_words([ruling()], policy) == "anybody with a role"
    assert approvers_in_words([ruling("a"), ruling("b")], policy) == "carol (a, b)"
    assert approvers_in_words([ruling("a", "b")], policy) == "bob, carol, dan (a, b)"
    assert approvers_in_words([ruling("all")], policy) == "anybody (all)"
    assert approvers_in_words([ruling("all"), ruling("b")], policy) == "carol, dan (all, b)"
    assert "nobody" in approvers_in_words([ruling("no")], policy)
    crowd = Policy(roles={"a": tuple(f"p{n}" for n in range(9))})
    assert approvers_in_words([ruling("a")], crowd) == "p0, p1, p2, p3, p4 and 4 more (a)"


async def test_the_view_says_why_the_gate_refused_last(world):
    incident = await world.incident()
    found = await incident_view(
        world.store,
        world.clock,
        incident.key,
        judge=PolicyJudge(world.store, world.clock, world.policy, world.inventory),
        engine=engine(status=EngineStatus.ABSENT),
    )
    assert found.engine.status is EngineStatus.ABSENT
    assert found.now == "being diagnosed: nobody has looked at it yet"
    assert found.now_details == (
        "it has no workflow; a worker starts one when the incident is due",
    )
    assert IncidentId(found.incident.id) == incident.id
