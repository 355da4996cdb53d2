"""The gate: what runs, what is refused, what the journal and the audit trail say of it."""

import asyncio
from typing import Any

import pytest

from it_incident_response.actions import DiagnosticCommand, RestartService, RunDiagnosticCommand
from it_incident_response.domain.action import Risk
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import (
    ActionError,
    ActionFailed,
    ActionInDoubt,
    ApprovalRequired,
    ConnectorUnavailable,
    InputRejected,
    PolicyDenied,
    TargetLocked,
    TargetUnknown,
)
from it_incident_response.ports import Outcome
from it_incident_response.safety import step_runner
from it_incident_response.safety.gate import ExecutionFlags
from it_incident_response.safety.gate_task import ATTEMPTS_MAX
from it_incident_response.safety.policy import (
    Conditions,
    Effect,
    Policy,
    PolicyContext,
    PolicyRule,
)
from it_incident_response.safety.step_runner import OUTPUT_MAX
from tests.unit.safety.world import T0, World, result

AUTO = Policy(roles={"operator": ("*",)}, rules=(PolicyRule(name="all", effect=Effect.AUTO),))


def edited(policy: Policy, **changes: Any) -> Policy:
    return Policy.model_validate(policy.model_dump(by_alias=True) | changes)


async def test_an_approved_step_runs_once_and_leaves_its_trace(world: World) -> None:
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert row.state is StepState.FINISHED
    assert row.before == ("1",)
    assert (row.plan_digest, row.target, row.host) == (plan.digest, plan.steps[0].target, "web-1")
    assert world.executor.executed == [f"{plan.incident_id}/{plan.digest}/1/1"]
    assert await world.events("action") == [
        "action.intended",
        "action.started",
        "action.finished",
    ]
    assert await world.store.locked_targets(world.clock.now()) == {}
    assert (await world.store.verify_chain()).is_intact


async def test_a_finished_step_is_returned_and_not_run_again(world: World) -> None:
    plan = await world.approved("web-1")
    first = await world.gate.run_step(plan, plan.steps[0])
    again = await world.gate.run_step(plan, plan.steps[0])
    assert again == first
    assert len(world.executor.executed) == 1


async def test_a_failed_step_is_final_for_its_plan(world: World) -> None:
    world.executor.outcome = Outcome(succeeded=False, error="unit not found")
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.error) == (StepState.FAILED, "unit not found")
    assert await world.gate.run_step(plan, plan.steps[0]) == row
    assert len(world.executor.executed) == 1


async def test_what_certainly_did_not_start_may_be_tried_again(world: World) -> None:
    async def unreachable(_: object) -> None:
        raise ConnectorUnavailable("ssh", "web-1 does not answer")

    plan = await world.approved("web-1")
    world.executor.on_execute = unreachable
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.started_at) == (StepState.FAILED, None)
    world.executor.on_execute = None
    again = await world.gate.run_step(plan, plan.steps[0])
    assert (again.state, again.attempt) == (StepState.FINISHED, 2)


async def test_a_target_that_cannot_be_looked_at_is_not_acted_on(world: World) -> None:
    plan = await world.approved("web-1")
    world.executor.probe_error = ConnectorUnavailable("ssh", "web-1 does not answer")
    with pytest.raises(ConnectorUnavailable):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []
    assert await world.rows(plan) == []
    assert await world.store.locked_targets(world.clock.now()) == {}


async def test_steps_run_in_order_and_not_after_a_failure(world: World) -> None:
    plan = await world.approved("web-1", "web-2")
    with pytest.raises(ActionError, match="step 2 has to wait for step 1: it is not run"):
        await world.gate.run_step(plan, plan.steps[1])
    world.executor.outcome = Outcome(succeeded=False, error="no")
    await world.gate.run_step(plan, plan.steps[0])
    with pytest.raises(ActionError, match="it is failed"):
        await world.gate.run_step(plan, plan.steps[1])
    assert len(world.executor.executed) == 1


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (ExecutionFlags(), "dry run"),
        (ExecutionFlags(execute_real=True, dry_run=True), "dry run"),
        (ExecutionFlags(execute_real=False, dry_run=False), "execute_real_commands is false"),
    ],
)
async def test_a_kill_switch_shows_the_exact_commands_and_runs_nothing(
    world: World, flags: ExecutionFlags, why: str
) -> None:
    world.flags = flags
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert row.state is StepState.DRY_RUN
    assert why in (row.error or "")
    assert [r.command for r in row.results] == list(plan.steps[0].commands)
    assert row.results[0].command[:2] == ("sudo", "-n")
    assert [r.exit_status for r in row.results] == [None]
    assert world.executor.executed == []
    assert await world.events("action") == ["action.dry_run"]


async def test_a_dry_run_rehearses_every_step_and_does_not_bar_the_real_one(world: World) -> None:
    real, world.flags = world.flags, ExecutionFlags()
    plan = await world.approved("web-1", "web-2")
    for step in plan.steps:
        assert (await world.gate.run_step(plan, step)).state is StepState.DRY_RUN
    world.flags = real
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.attempt) == (StepState.FINISHED, 2)


async def test_a_rehearsed_step_is_no_base_for_a_real_one(world: World) -> None:
    real, world.flags = world.flags, ExecutionFlags()
    plan = await world.approved("web-1", "web-2")
    await world.gate.run_step(plan, plan.steps[0])
    world.flags = real
    with pytest.raises(ActionError, match="wait for step 1: it is dry_run"):
        await world.gate.run_step(plan, plan.steps[1])


async def test_a_dry_run_needs_no_approval_but_what_policy_forbids_is_not_rehearsed(
    world: World,
) -> None:
    world.flags = ExecutionFlags()
    plan = await world.plan("web-1")
    await world.approvals.request(plan, by="agent:resolution")
    world.policy = edited(Policy.default(), forbidden_hosts=["web-1"])
    with pytest.raises(PolicyDenied, match="never touched"):
        await world.gate.run_step(plan, plan.steps[0])
    world.policy = Policy.default()
    assert (await world.gate.run_step(plan, plan.steps[0])).state is StepState.DRY_RUN


async def test_a_refusal_leaves_no_trace_in_the_journal(world: World) -> None:
    plan = await world.plan("web-1")
    await world.approvals.request(plan, by="agent:resolution")
    with pytest.raises(ApprovalRequired):
        await world.gate.run_step(plan, plan.steps[0])
    assert await world.rows(plan) == []
    assert await world.events("action") == ["action.refused"]


async def test_flags_default_to_changing_nothing() -> None:
    assert ExecutionFlags().why_nothing_runs is not None


async def test_commands_that_changed_since_the_approval_are_refused(world: World) -> None:
    plan = await world.approved("web-1")
    world.executor.prefix = ("doas",)
    with pytest.raises(ApprovalRequired, match="other commands"):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []
    assert await world.events("action") == ["action.refused"]


async def test_a_target_that_left_the_inventory_is_refused(world: World) -> None:
    plan = await world.approved("web-1")
    hosts = tuple(h for h in world.inventory.hosts if h.name != "web-1")
    world.inventory = world.inventory.model_copy(update={"hosts": hosts})
    with pytest.raises(TargetUnknown):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []


async def test_another_incident_on_the_same_target_waits(world: World) -> None:
    plan = await world.approved("web-1")
    target, now = plan.steps[0].target, world.clock.now()
    await world.store.lock_target(target, holder="incident x", now=now, until=now.replace(hour=13))
    with pytest.raises(TargetLocked, match="incident x"):
        await world.gate.run_step(plan, plan.steps[0])
    assert await world.rows(plan) == []
    world.clock.advance(minutes=59)
    with pytest.raises(TargetLocked):
        await world.gate.run_step(plan, plan.steps[0])


async def test_the_lock_outlasts_the_action(world: World) -> None:
    seen = {}

    async def look(action: Any) -> None:
        far = world.clock.now().replace(minute=2, second=30)
        seen.update(await world.store.locked_targets(far))

    world.executor.on_execute = look
    plan = await world.approved("web-1")
    await world.gate.run_step(plan, plan.steps[0])
    assert list(seen) == [str(plan.steps[0].target)]


async def test_a_closed_incident_is_not_acted_on(world: World) -> None:
    plan = await world.approved("web-1")
    incident = await world.store.incident(plan.incident_id)
    resolved = incident.moved_to(IncidentStatus.RESOLVED, world.clock.now())
    await world.store.save_incident(resolved, [])
    with pytest.raises(PolicyDenied, match="is resolved"):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []


async def test_output_and_errors_are_redacted_and_bounded(world: World) -> None:
    noise = "x" * (OUTPUT_MAX * 2)
    world.executor.outcome = Outcome(
        succeeded=False,
        results=(result(f"password=hunter2 {noise} token=abcdef123"),),
        error="login with https://bob:hunter2@host failed",
    )
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    text = row.model_dump_json() + "".join(
        e.model_dump_json() for e in await world.store.events(limit=1000)
    )
    assert "hunter2" not in text
    assert "abcdef123" not in text
    assert row.results[0].output.startswith("password=[redacted:password] xxx")
    assert row.results[0].output.endswith("token=[redacted:token]")
    assert len(row.results[0].output) < OUTPUT_MAX + 100
    assert row.results[0].is_truncated


async def test_an_executor_in_doubt_leaves_the_step_in_doubt_and_the_target_locked(
    world: World,
) -> None:
    async def lost(_: object) -> None:
        raise ActionInDoubt("ssh: the connection broke")

    world.executor.on_execute = lost
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert row.state is StepState.IN_DOUBT
    assert str(row.target) in await world.store.locked_targets(world.clock.now())
    with pytest.raises(ActionInDoubt, match="nobody knows"):
        await world.gate.run_step(plan, plan.steps[0])
    assert len(world.executor.executed) == 1


async def test_a_person_settles_a_step_in_doubt(world: World) -> None:
    async def lost(_: object) -> None:
        raise ActionInDoubt("ssh: the connection broke")

    world.executor.on_execute = lost
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    gate, incident = world.gate, plan.incident_id
    with pytest.raises(PolicyDenied):
        await gate.settle(incident, row.key, took_effect=True, by="agent:x", reason="sure")
    done = await gate.settle(incident, row.key, took_effect=True, by="bob", reason="it runs")
    assert done.state is StepState.FINISHED
    # Whoever looked knows that nothing goes on there: the next action need not wait for the lease.
    assert not await world.store.locked_targets(world.clock.now())
    assert await world.gate.run_step(plan, plan.steps[0]) == done
    with pytest.raises(InputRejected, match="no step in doubt"):
        await gate.settle(incident, row.key, took_effect=False, by="bob", reason="again")
    events = await world.store.events(limit=1000)
    assert [e.actor for e in events if e.kind == "action.settled"] == ["user:bob"]


async def test_a_missing_executor_is_said(world: World) -> None:
    plan = await world.approved("web-1")
    gate = world.gate
    gate.executors = {}
    with pytest.raises(ActionError, match="no executor 'ssh'"):
        await gate.run_step(plan, plan.steps[0])


async def test_prepare_puts_policy_and_commands_into_the_plan(world: World) -> None:
    plan = await world.plan("web-1")
    assert plan.needs_approval
    assert plan.is_forbidden is None
    assert plan.steps[0].commands == (("sudo", "-n", *RESTART.commands()[0]),)
    assert plan.steps[0].policy.startswith("any-change: ")
    world.policy = edited(Policy.default(), forbidden_hosts=["web-*"])
    assert "never touched" in ((await world.plan("web-1")).is_forbidden or "")
    world.policy = AUTO
    assert not (await world.plan("web-1")).needs_approval


RESTART = RestartService(host="web-1", unit="nginx.service")


async def test_policy_may_let_a_step_run_by_itself(world: World) -> None:
    world.policy = AUTO
    plan = await world.plan("web-1")
    request = await world.approvals.request(plan, by="agent:resolution")
    assert (request.decided_by, request.decided_via) == ("system", "policy")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert row.state is StepState.FINISHED


def look(host: str = "web-1") -> RunDiagnosticCommand:
    return RunDiagnosticCommand(
        host=host, command=DiagnosticCommand.UNIT_STATUS, unit="nginx.service"
    )


async def test_reading_needs_no_approval_and_is_audited(world: World) -> None:
    world.executor.outcome = Outcome(succeeded=True, results=(result("api_key=12345678"),))
    incident = await world.incident()
    row = await world.gate.run_read_only(look(), incident_id=incident.id)
    assert row.state is StepState.FINISHED
    assert row.results[0].output == "api_key=[redacted:key]"
    assert await world.events("action") == ["action.read_started", "action.read_ended"]
    assert await world.store.executions_of(incident.id) == []


async def test_reading_goes_on_in_a_dry_run_but_not_without_real_commands(world: World) -> None:
    world.flags = ExecutionFlags(execute_real=True, dry_run=True)
    await world.gate.run_read_only(look())
    assert len(world.executor.executed) == 1
    world.flags = ExecutionFlags(execute_real=False, dry_run=False)
    row = await world.gate.run_read_only(look())
    assert row.state is StepState.DRY_RUN
    assert row.results
    assert len(world.executor.executed) == 1


async def test_a_change_does_not_pass_as_reading(world: World) -> None:
    with pytest.raises(PolicyDenied, match="changes something"):
        await world.gate.run_read_only(RESTART)
    with pytest.raises(TargetUnknown):
        await world.gate.run_read_only(look("web-99"))
    world.policy = edited(Policy.default(), forbidden_hosts=["web-1"])
    with pytest.raises(PolicyDenied, match="never touched"):
        await world.gate.run_read_only(look())
    assert world.executor.executed == []
    assert len(await world.events("action.refused")) == 3


async def test_a_plan_that_calls_a_risk_harmless_is_refused(world: World) -> None:
    plan = await world.plan("web-1")
    lie = plan.steps[0].model_copy(update={"risk": Risk.READ_ONLY})
    plan = plan.model_copy(update={"steps": (lie,), "needs_approval": False})
    await world.approvals.request(plan, by="agent:resolution")
    with pytest.raises(ApprovalRequired, match="described wrongly"):
        await world.gate.run_step(plan, plan.steps[0])
    assert world.executor.executed == []


async def test_a_step_is_undone_once_and_only_if_it_ran(world: World) -> None:
    plan = await world.scaling_plan()
    request = await world.approvals.request(plan, by="agent:resolution")
    await world.approvals.approve(request.id, "alice", "cli")
    with pytest.raises(ActionError, match="never run: nothing to undo"):
        await world.gate.run_step(plan, plan.steps[0], is_undo=True)
    await world.gate.run_step(plan, plan.steps[0])
    undone = await world.gate.run_step(plan, plan.steps[0], is_undo=True)
    assert (undone.state, undone.is_undo) == (StepState.FINISHED, True)
    assert undone.action == plan.steps[0].undo
    assert await world.gate.run_step(plan, plan.steps[0], is_undo=True) == undone
    key = f"{plan.incident_id}/{plan.digest}/1/1"
    assert world.executor.executed == [key, f"{key}/undo"]
    history = await world.gate._judge.history()
    assert history.started_last_hour == 2
    assert history.hosts_last_hour == ("web-1", "web-2", "web-3", "web-4", "stage-1")


async def test_what_cannot_be_undone_is_not(world: World) -> None:
    plan = await world.approved("web-1")
    await world.gate.run_step(plan, plan.steps[0])
    with pytest.raises(ActionError, match="cannot be undone"):
        await world.gate.run_step(plan, plan.steps[0], is_undo=True)


async def test_an_undo_passes_the_policy_too(world: World) -> None:
    plan = await world.scaling_plan()
    request = await world.approvals.request(plan, by="agent:resolution")
    await world.approvals.approve(request.id, "alice", "cli")
    await world.gate.run_step(plan, plan.steps[0])
    await world.approvals.void(plan.incident_id, "has no effect on what was acted on")
    world.clock.advance(hours=2)
    with pytest.raises(ApprovalRequired, match="too long ago"):
        await world.gate.run_step(plan, plan.steps[0], is_undo=True)


async def test_an_executor_that_does_not_come_back_leaves_the_step_in_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(step_runner, "patience_s", lambda _: 0.01)
    world.executor.on_execute = hang
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.error) == (
        StepState.IN_DOUBT,
        "the executor did not come back in time",
    )


async def test_an_executor_that_reports_failure_as_an_error_has_failed(world: World) -> None:
    async def fail(_: object) -> None:
        raise ActionFailed("ssh: password=hunter2 was wrong")

    world.executor.on_execute = fail
    plan = await world.approved("web-1")
    row = await world.gate.run_step(plan, plan.steps[0])
    assert (row.state, row.error) == (
        StepState.FAILED,
        "ssh: password=[redacted:password] was wrong",
    )
    assert row.started_at is not None


async def test_after_enough_attempts_that_did_not_begin_the_failure_is_final(world: World) -> None:
    async def unreachable(_: object) -> None:
        raise ConnectorUnavailable("ssh", "web-1 does not answer")

    plan = await world.approved("web-1")
    world.executor.on_execute = unreachable
    for _ in range(ATTEMPTS_MAX + 3):
        await world.gate.run_step(plan, plan.steps[0])
    assert len(world.executor.executed) == ATTEMPTS_MAX
    assert (await world.gate._judge.history()).started_last_hour == 0


async def test_facts_of_the_caller_count_but_not_its_time_or_history(world: World) -> None:
    only_low = PolicyRule(
        name="low", when=Conditions(severities=(Severity.LOW,)), effect=Effect.APPROVE
    )
    plan = await world.approved("web-1")
    world.policy = Policy(roles={"operator": ("*",)}, rules=(only_low,))
    with pytest.raises(PolicyDenied, match="No rule allows"):
        await world.gate.run_step(plan, plan.steps[0])
    context = PolicyContext(now=T0, severity=Severity.LOW)
    world.policy = edited(world.policy, limits={"max_actions_per_hour": 0})
    with pytest.raises(PolicyDenied, match="max_actions_per_hour"):
        await world.gate.run_step(plan, plan.steps[0], context=context)
    assert world.executor.executed == []
