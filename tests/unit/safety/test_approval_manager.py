"""ApprovalManager: requests, decisions, expiry, and the guide's blocking question."""

import asyncio
import sys
from typing import Any

import pytest

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.plan import Plan
from it_incident_response.errors import (
    ActionError,
    ApprovalRequired,
    Conflict,
    InputRejected,
    NotFound,
    PolicyDenied,
)
from it_incident_response.safety.approval_manager import ApprovalManager, DryRunExecutor
from it_incident_response.safety.policy import Policy
from it_incident_response.safety.terminal_question import (
    ask_on_terminal,
    question_about,
    run_here,
)
from it_incident_response.storage import open_store
from tests.unit.safety.world import FakeClock, World


def with_policy(**changes: Any) -> Policy:
    return Policy.model_validate(Policy.default().model_dump(by_alias=True) | changes)


async def test_a_decision_is_recorded_with_who_when_why_and_through_what(world: World) -> None:
    plan = await world.plan("web-1")
    request = await world.approvals.request(plan, by="agent:resolution")
    world.clock.advance(minutes=5)
    decided = await world.approvals.approve(
        request.id[:13], "user:alice", "cli", reason="saw it", plan_digest=plan.digest
    )
    assert decided == await world.store.approval(request.id)
    assert (decided.status, decided.decided_by) == (ApprovalStatus.APPROVED, "alice")
    assert (decided.decided_via, decided.reason) == ("cli", "saw it")
    assert decided.decided_at == world.clock.now()
    event = (await world.store.events())[-1]
    assert (event.actor, event.kind) == ("user:alice", "approval.approved")
    assert event.details["via"] == "cli"
    assert event.details["digest"] == plan.digest
    assert (await world.approvals.granted_for(plan)) == decided


async def test_a_decision_wakes_the_incident(world: World) -> None:
    plan = await world.plan("web-1")
    request = await world.approvals.request(plan, by="agent:resolution")
    claim = {"worker": "w", "lease_s": 30, "limit": 5}
    for incident in await world.store.claim_due(world.clock.now(), **claim):
        await world.store.release(incident, worker="w", due_again_at=None)
    assert await world.store.claim_due(world.clock.now(), **claim) == []
    await world.approvals.approve(request.id, "alice", "cli")
    assert list(await world.store.claim_due(world.clock.now(), **claim)) == [plan.incident_id]


async def test_asking_twice_is_asking_once(world: World) -> None:
    plan = await world.plan("web-1")
    first = await world.approvals.request(plan, by="agent:resolution")
    assert await world.approvals.request(plan, by="agent:resolution") == first
    assert len(await world.store.approvals()) == 1
    other = (await world.plan("web-2")).model_copy(
        update={"id": plan.id, "incident_id": plan.incident_id}
    )
    with pytest.raises(Conflict, match="another plan is stored"):
        await world.approvals.request(other, by="agent:resolution")


async def test_a_plan_stored_without_a_request_is_not_asked_about(world: World) -> None:
    plan = await world.plan("web-1")
    await world.store.add_plan(plan, None, [])
    with pytest.raises(Conflict, match="stored without asking"):
        await world.approvals.request(plan, by="agent:resolution")


async def test_a_newer_plan_voids_the_request_for_the_older(world: World) -> None:
    incident = await world.incident()
    first = await world.approvals.request(
        await world.plan("web-1", incident=incident), by="agent:resolution"
    )
    await world.approvals.request(
        await world.plan("web-2", incident=incident), by="agent:resolution"
    )
    with pytest.raises(Conflict, match="voided already"):
        await world.approvals.approve(first.id, "alice", "cli")


async def test_a_forbidden_plan_is_not_asked_about(world: World) -> None:
    plan = await world.plan("web-1")
    world.policy = with_policy(forbidden_hosts=["web-1"])
    with pytest.raises(PolicyDenied, match="never touched"):
        await world.approvals.request(plan, by="agent:resolution")
    with pytest.raises(NotFound):
        await world.store.plan(plan.id)


async def test_a_plan_may_be_approved_during_a_freeze_for_later(world: World) -> None:
    world.policy = with_policy(
        freezes=[{"name": "now", "from": "2026-03-11T00:00:00Z", "until": "2026-03-11T12:20:00Z"}]
    )
    plan = await world.approved("web-1")
    with pytest.raises(PolicyDenied, match="freeze now"):
        await world.gate.run_step(plan, plan.steps[0])
    world.clock.advance(minutes=20)
    await world.gate.run_step(plan, plan.steps[0])
    assert len(world.executor.executed) == 1


async def test_where_no_approval_is_required_the_waiver_is_recorded(world: World) -> None:
    world.require_approval = False
    plan = await world.plan("web-1")
    request = await world.approvals.request(plan, by="agent:resolution")
    assert request.status is ApprovalStatus.APPROVED
    assert (request.decided_by, request.decided_via) == ("system", "configuration")
    assert await world.events("approval") == ["approval.requested", "approval.approved"]
    await world.approvals.granted_for(plan)
    world.require_approval = True
    with pytest.raises(ApprovalRequired, match="without a person, and one is needed now"):
        await world.approvals.granted_for(plan)


async def test_policy_may_insist_on_a_person(world: World) -> None:
    world.require_approval = False
    world.policy = with_policy(rules=[{"name": "all", "effect": "approve", "waivable": False}])
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    assert request.status is ApprovalStatus.PENDING


async def test_what_nobody_decides_in_time_is_denied(world: World) -> None:
    early = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    world.clock.advance(minutes=30)
    late = await world.approvals.request(await world.plan("web-2"), by="agent:resolution")
    world.clock.advance(minutes=30)
    denied = await world.approvals.expire_due(world.clock.now())
    assert [(a.id, a.status) for a in denied] == [(early.id, ApprovalStatus.EXPIRED)]
    assert (await world.store.approval(late.id)).status is ApprovalStatus.PENDING
    assert await world.approvals.expire_due() == []
    assert (await world.events("approval"))[-1] == "approval.expired"


async def test_voiding_takes_back_what_nobody_acted_on(world: World) -> None:
    incident = await world.incident()
    ran = await world.approved("web-1", incident=incident)
    await world.gate.run_step(ran, ran.steps[0])
    waiting = await world.approvals.request(
        await world.plan("web-2", incident=incident), by="agent:resolution"
    )
    voided = await world.approvals.void(incident.id, "the incident is resolved")
    assert [a.id for a in voided] == [waiting.id]
    statuses = {a.plan_id: a.status for a in await world.store.approvals()}
    assert statuses[ran.id] is ApprovalStatus.APPROVED
    assert await world.approvals.void(incident.id, "again") == []


async def test_waiting_ends_with_the_decision_or_with_the_time(world: World) -> None:
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    sleep = world.clock.sleep

    async def approve_meanwhile(seconds: float) -> None:
        await sleep(seconds)
        await world.approvals.approve(request.id, "alice", "cli")

    world.clock.sleep = approve_meanwhile  # type: ignore[method-assign]
    assert (await world.approvals.wait_for(request.id)).status is ApprovalStatus.APPROVED
    world.clock.sleep = sleep  # type: ignore[method-assign]
    other = await world.approvals.request(await world.plan("web-2"), by="agent:resolution")
    assert (await world.approvals.wait_for(other.id, 60)).status is ApprovalStatus.EXPIRED


async def test_reasons_are_bounded(world: World) -> None:
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    decided = await world.approvals.reject(request.id, "alice", "cli", reason="x" * 100_000)
    assert len(decided.reason or "") == 2000


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_times_have_to_be_finite_and_more_than_zero(wrong: float) -> None:
    with pytest.raises(InputRejected):
        ApprovalManager(timeout_s=wrong)
    with pytest.raises(InputRejected):
        ApprovalManager(validity_s=wrong)


INCIDENT = {"id": "INC-000001", "title": "Disk full"}


def test_the_guides_question_is_answered_by_the_switch() -> None:
    assert ApprovalManager(require_approval=False).request_approval(INCIDENT, ["restart"]) is True


def test_without_store_and_terminal_the_answer_is_no(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Pipe:
        def isatty(self) -> bool:
            return False

        def readline(self) -> str:
            raise AssertionError("nobody is asked on a pipe")

    monkeypatch.setattr(sys, "stdin", Pipe())
    assert ApprovalManager().request_approval(INCIDENT, ["restart"]) is False
    assert "no terminal" in caplog.text


@pytest.mark.parametrize(("typed", "answer"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_a_person_is_asked(
    monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal(typed))
    monkeypatch.setattr("sys.stderr", _Terminal(""))
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: typed.strip())
    assert ask_on_terminal("Sure?") is answer


class _Terminal:
    def __init__(self, text: str) -> None:
        self._text = text

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return None


def test_the_question_shows_no_control_characters() -> None:
    asked: list[str] = []
    manager = ApprovalManager(ask=lambda question: bool(asked.append(question)))
    incident = {"title": "x\x1b[2Jy\u202ez"}
    assert manager.request_approval(incident, ["rm\r\nApprove? y", "z" * 900]) is False
    assert asked == [question_about(incident, ["rm\r\nApprove? y", "z" * 900])]
    assert not set("\x1b\r\u202e") & set(asked[0])
    assert len(asked[0].splitlines()) == 4


@pytest.mark.parametrize("actions", [[], [""], ["x" * 1001], ["a"] * 51, [5]])
def test_senseless_questions_are_refused(actions: list[Any]) -> None:
    with pytest.raises(InputRejected):
        ApprovalManager(require_approval=False).request_approval(INCIDENT, actions)


@pytest.mark.parametrize(
    ("decision", "answer"), [("approve", True), ("reject", False), (None, False)]
)
def test_with_a_store_the_question_is_recorded_and_waited_for(
    database_url: str, decision: str | None, answer: bool
) -> None:
    """As the façade uses it: from synchronous code, on one event loop."""
    clock = FakeClock()
    store = open_store(database_url, clock=clock)
    world = World(store, clock)
    sleep = clock.sleep

    async def decide(seconds: float) -> None:
        await sleep(600)
        if decision is not None:
            [request] = await store.approvals(status=ApprovalStatus.PENDING)
            await getattr(world.approvals, decision)(request.id, "alice", "cli")

    clock.sleep = decide  # type: ignore[method-assign]
    with asyncio.Runner() as runner:
        runner.run(store.open())
        incident = runner.run(world.incident())
        manager = ApprovalManager(
            store=store, clock=clock, inventory=world.inventory, run=runner.run
        )
        given = {"id": incident.key, "title": incident.title}
        assert manager.request_approval(given, ["restart nginx", "look"]) is answer
        [plan] = runner.run(store.plans_of(incident.id))
        assert [step.description for step in plan.steps] == ["restart nginx", "look"]
        if answer:
            with pytest.raises(ActionError, match="carried out by a person"):
                runner.run(world.gate.run_step(plan, plan.steps[0]))
        assert world.executor.executed == []
        runner.run(store.close())


async def test_the_blocking_question_refuses_to_block_an_event_loop(world: World) -> None:
    with pytest.raises(ActionError, match="synchronous form"):
        world.approvals.request_approval(INCIDENT, ["restart"])


async def test_without_a_store_nothing_is_granted(world: World) -> None:
    with pytest.raises(ActionError, match="no store"):
        await ApprovalManager().granted_for(await world.plan("web-1"))


def test_the_guides_dry_run() -> None:
    shown = DryRunExecutor(dry_run=True).execute("systemctl restart nginx", host="web-1")
    assert shown == {
        "status": "dry_run",
        "command": "systemctl restart nginx",
        "args": {"host": "web-1"},
    }
    assert DryRunExecutor().execute("x")["status"] == "dry_run"
    for real in (DryRunExecutor(dry_run=False), DryRunExecutor(False)):
        with pytest.raises(PolicyDenied, match="text is never run") as caught:
            real.execute("systemctl restart nginx; rm -rf /")
        assert "typed action" in str(caught.value)
    with pytest.raises(InputRejected):
        DryRunExecutor().execute(["rm"])  # type: ignore[call-overload]


async def test_a_dry_run_before_an_executor_previews(world: World) -> None:
    plan = await world.plan("web-1")
    action = world.gate.parse(plan.steps[0].action)
    dry = DryRunExecutor(world.executor)
    outcome = await dry.execute(action, key="k")
    assert outcome.succeeded
    assert [r.command for r in outcome.results] == list(plan.steps[0].commands)
    assert [r.exit_status for r in outcome.results] == [None]
    assert dry.name == "ssh"
    assert (await dry.probe(action)).outputs == ("1",)
    assert world.executor.executed == []
    assert (await DryRunExecutor().probe(action)).took_effect is None
    bare = await DryRunExecutor().execute(action, key="k")
    assert [r.command for r in bare.results] == list(action.commands())
    await DryRunExecutor(world.executor, dry_run=False).execute(action, key="k")
    assert world.executor.executed == ["k"]


async def test_a_request_that_became_forbidden_cannot_be_approved(world: World) -> None:
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    world.policy = with_policy(forbidden_hosts=["web-1"])
    with pytest.raises(PolicyDenied, match="whoever approves"):
        await world.approvals.approve(request.id, "alice", "cli")


async def test_a_request_from_the_future_is_not_decided(world: World) -> None:
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    world.clock.advance(minutes=-20)
    with pytest.raises(Conflict, match="requested in the future"):
        await world.approvals.approve(request.id, "alice", "cli")


async def test_a_plan_that_was_swapped_under_its_request_cannot_be_approved(world: World) -> None:
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    other = await world.plan("web-2")

    async def swapped(_: str) -> Plan:
        return other

    world.store.plan = swapped  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict, match="not the one that approval was asked for"):
        await world.approvals.approve(request.id, "alice", "cli")


async def test_expiring_gives_way_to_a_decision_in_the_same_moment(world: World) -> None:
    request = await world.approvals.request(await world.plan("web-1"), by="agent:resolution")
    await world.approvals.reject(request.id, "alice", "cli")

    async def stale(**_: Any) -> list[Approval]:
        return [request]

    world.store.approvals = stale  # type: ignore[method-assign, assignment]
    world.clock.advance(hours=2)
    assert await world.approvals.expire_due() == []
    assert (await world.store.approval(request.id)).status is ApprovalStatus.REJECTED


def test_without_an_event_loop_the_question_makes_its_own() -> None:
    async def answer() -> str:
        return "yes"

    assert run_here(answer()) == "yes"


def test_leaving_the_terminal_is_no_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", _Terminal(""))
    monkeypatch.setattr("sys.stderr", _Terminal(""))
    monkeypatch.setattr("click.termui.visible_prompt_func", leave)
    assert ask_on_terminal("Sure?") is False


async def test_only_the_plan_in_the_record_is_granted(world: World) -> None:
    plan = await world.approved("web-1")
    altered = plan.model_copy(update={"steps": (await world.plan("web-2")).steps})
    with pytest.raises(ApprovalRequired, match="not the one in the record"):
        await world.approvals.granted_for(altered)
