"""Cancelled in the middle of an SSH run: the process is gone, and the journal says so."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from it_incident_response.actions import CleanDisk, RestartService, parse_action
from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import IncidentHalted
from it_incident_response.executors.ssh import SshExecutor, SshSettings
from it_incident_response.ports import Store, SystemClock
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.gate import ActionGate, ExecutionFlags
from it_incident_response.safety.gate_task import described_step
from it_incident_response.safety.policy import Policy
from it_incident_response.storage import open_store
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.waiting import Eventually

FOLDER = "/srv/data/cache"
SLOW = "sleep 7777"
RESTART = RestartService(host="web-1", unit="checkout.service")
CLEAN = CleanDisk(host="web-1", path=FOLDER)
HALT = "cancelled by alice: wrong host"
POLICY = Policy.model_validate(
    {"roles": {"operator": ["*"]}, "rules": [{"name": "all", "effect": "approve"}]}
)


@pytest.fixture(scope="module")
def web(boot_host: BootHost) -> Host:
    """A host whose user may clean by sudo."""
    return boot_host("web-1", sudo_commands=CLEAN.commands())


@pytest.fixture
def slow_find(web: Host) -> Iterator[Path]:
    """Old files that `find` takes long to come to: it sleeps first, and its child hangs on."""
    folder = web.path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    old = folder / "old"
    old.write_bytes(b"x" * 1000)
    web.run("touch", "-d", "3 days ago", f"{FOLDER}/old")
    web.run("chown", "-R", "deploy", FOLDER)
    program = web.path("/usr/local/bin/find")
    slow = f'case "$*" in *-delete) {SLOW};; esac'
    program.write_text(f'#!/bin/bash\n{slow}\nexec /usr/bin/find "$@"\n')
    program.chmod(0o755)
    yield old
    program.unlink()


@pytest.fixture
def slow_start(web: Host) -> Iterator[None]:
    """Make every start of the service take eight seconds."""
    drop_in = web.path("/etc/systemd/system/checkout.service.d/slow.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nExecStartPre=/bin/sleep 8\n")
    web.run("systemctl", "daemon-reload")
    yield
    drop_in.unlink()
    web.run("systemctl", "daemon-reload")
    web.restart_service()


def _is_running(host: Host, pattern: str) -> bool:
    return host.run("pgrep", "-f", "--", pattern).returncode == 0


@dataclass
class Bench:
    """A gate over a real store and the host."""

    store: Store
    gate: ActionGate
    clock: SystemClock

    async def approved(self, *actions: Action) -> Plan:
        """Return a stored plan of these actions that alice approved."""
        now = self.clock.now()
        incident = await self.store.create_incident(
            Incident(
                id=IncidentId(new_id(now)),
                key="",
                title="web is down",
                severity=Severity.HIGH,
                opened_at=now,
                updated_at=now,
            ),
            [],
        )
        steps = tuple(described_step(each, number=n) for n, each in enumerate(actions, 1))
        draft = Plan(
            id=new_id(now),
            incident_id=incident.id,
            diagnosis_id="",
            made_at=now,
            reason="web is down",
            steps=steps,
        )
        plan = await self.gate.prepare(draft)
        request = await self.gate.approvals.request(plan, by="agent:resolution")
        await self.gate.approvals.approve(request.id, "alice", "cli", plan_digest=plan.digest)
        return plan

    async def halt(self, plan: Plan) -> None:
        """Note that alice cancelled the incident."""
        incident = await self.store.incident(plan.incident_id)
        await self.store.save_incident(incident.model_copy(update={"halt": HALT}), [])

    async def row(self, plan: Plan) -> Execution:
        """Return the only row of the journal."""
        (row,) = await self.store.executions_of(plan.incident_id)
        return row

    async def events(self) -> list[str]:
        """Return the kinds of what the audit trail says of actions."""
        return [e.kind for e in await self.store.events() if e.kind.startswith("action.")]


async def _bench(web: Host, folder: Path, *, sudo: bool) -> AsyncIterator[Bench]:
    entry = HostEntry(
        name="web-1",
        address=web.address,
        port=web.port,
        services=(ServiceEntry(name="checkout", unit="checkout.service"),),
        cleanable_paths=(FOLDER,),
    )
    inventory = Inventory(hosts=(entry,))
    values = {"username": web.user, "private_key": web.key, "known_hosts": web.known_hosts}
    executor = SshExecutor(inventory, SshSettings.model_validate({**values, "sudo": sudo}))
    clock = SystemClock()
    store = open_store(f"sqlite:///{folder / 'iir.db'}", clock=clock)
    await store.open()
    approvals = ApprovalManager(store=store, clock=clock, policy=POLICY, inventory=inventory)
    gate = ActionGate(
        store=store,
        clock=clock,
        policy=POLICY,
        approvals=approvals,
        executors={"ssh": executor},
        inventory=inventory,
        parse=lambda record: parse_action(record, inventory),
        flags=ExecutionFlags(execute_real=True, dry_run=False),
    )
    yield Bench(store, gate, clock)
    await executor.close()
    await store.close()


@pytest.fixture(params=[True, False], ids=["by sudo", "by the user"])
async def bench(web: Host, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The gate, for changes made by sudo as root and for those made by the user."""
    async for bench in _bench(web, tmp_path, sudo=request.param):
        yield bench


@pytest.fixture
async def sudo_bench(web: Host, tmp_path: Path) -> AsyncIterator[Bench]:
    """The gate, for changes made by sudo as root."""
    async for bench in _bench(web, tmp_path, sudo=True):
        yield bench


async def _cancelled(task: "asyncio.Task[Execution]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cleaning_that_a_person_cancels_is_gone_and_deletes_nothing_more(
    web: Host, bench: Bench, slow_find: Path, eventually: Eventually
) -> None:
    plan = await bench.approved(CLEAN, RESTART)
    step = asyncio.ensure_future(bench.gate.run_step(plan, plan.steps[0]))
    await eventually(lambda: _is_running(web, SLOW), 15, "the cleaning to run")
    await bench.halt(plan)
    await _cancelled(step)
    assert not _is_running(web, SLOW)
    assert not _is_running(web, "find -P")
    assert not _is_running(web, "sudo -n")
    assert slow_find.exists()
    row = await bench.row(plan)
    assert row.state is StepState.IN_DOUBT
    assert f"stopped while it ran ({HALT}): on the host it " in str(row.error)
    assert "a look afterwards: it did not take effect: old files are left" in str(row.error)
    assert str(row.target) in await bench.store.locked_targets(bench.clock.now())
    assert await bench.events() == ["action.intended", "action.started", "action.in_doubt"]
    for each in plan.steps[1:]:
        with pytest.raises(IncidentHalted, match="wrong host"):
            await bench.gate._admit(  # the order alone would refuse it too
                await _task(bench, plan, each.number), None, own_keys=()
            )


async def _task(bench: Bench, plan: Plan, number: int):  # type: ignore[no-untyped-def]
    from it_incident_response.safety.gate_task import read_task

    return await read_task(
        bench.store, plan, plan.steps[number - 1], bench.gate.parse, is_undo=False
    )


@pytest.mark.usefixtures("slow_start")
async def test_a_restart_that_a_person_cancels_is_finished_by_systemd_and_the_journal_says_so(
    web: Host, sudo_bench: Bench, eventually: Eventually
) -> None:
    bench = sudo_bench
    plan = await bench.approved(RESTART)
    step = asyncio.ensure_future(bench.gate.run_step(plan, plan.steps[0]))
    await eventually(lambda: web.unit_state() == "activating", 15, "the restart to begin")
    await bench.halt(plan)
    await _cancelled(step)
    assert not _is_running(web, "systemctl restart")
    row = await bench.row(plan)
    assert row.state is StepState.IN_DOUBT
    assert "whether it took effect cannot be told" in str(row.error)
    assert "activating" in str(row.error)
    await eventually(lambda: web.unit_state() == "active", 20, "systemd to finish the job")


@pytest.mark.usefixtures("slow_start")
async def test_a_worker_that_is_shut_down_leaves_the_step_to_the_next(
    web: Host, sudo_bench: Bench, eventually: Eventually
) -> None:
    bench = sudo_bench
    plan = await bench.approved(RESTART)
    step = asyncio.ensure_future(bench.gate.run_step(plan, plan.steps[0]))
    await eventually(lambda: web.unit_state() == "activating", 15, "the restart to begin")
    await _cancelled(step)
    assert (await bench.row(plan)).state is StepState.STARTED
    assert (await bench.events())[-1] == "action.interrupted"
    (row,) = await bench.gate.recover(plan.incident_id)
    assert row.state is StepState.FINISHED
    assert web.unit_state() == "active"
    assert await bench.store.locked_targets(bench.clock.now()) == {}
