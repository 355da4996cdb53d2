"""A small world for the gate: a clock, an inventory, an executor that counts, and a real store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from it_incident_response.actions import RestartService, ScaleService, parse_action
from it_incident_response.domain.action import Action
from it_incident_response.domain.diagnosis import CauseKind, Diagnosis, Hypothesis, Verdict
from it_incident_response.domain.execution import CommandResult, Execution, StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.domain.severity import Severity
from it_incident_response.ports import Outcome, Preview, Probe
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.gate import ActionGate, ExecutionFlags
from it_incident_response.safety.gate_task import described_step
from it_incident_response.safety.policy import Policy
from it_incident_response.storage.store import SqlStore

T0 = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
"""A Wednesday."""


class FakeClock:
    """Moves only when told, or when somebody sleeps on it."""

    def __init__(self) -> None:
        self.moment = T0

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


def nginx(name: str, environment: str = "production", **fields: Any) -> HostEntry:
    service = ServiceEntry(name="web", unit="nginx.service", aliases=("nginx",))
    return HostEntry(
        name=name, address="10.0.0.1", environment=environment, services=(service,), **fields
    )


INVENTORY = Inventory(
    hosts=(
        *(nginx(f"web-{n}") for n in range(1, 5)),
        nginx("stage-1", "staging", aliases=("stage.example.test:9100",)),
        HostEntry(
            name="db-1",
            address="10.0.0.9",
            services=(ServiceEntry(name="postgres", unit="postgresql.service"),),
        ),
    )
)


@dataclass
class CountingExecutor:
    """Restarts units of which each start is another invocation; what happens can be replaced."""

    name: str = "ssh"
    prefix: tuple[str, ...] = ("sudo", "-n")
    executed: list[str] = field(default_factory=list)
    invocations: dict[str, int] = field(default_factory=dict)
    outcome: Outcome = Outcome(succeeded=True)
    on_execute: Callable[[Action], Awaitable[None]] | None = None
    on_preview: Callable[[Action], Awaitable[None]] | None = None
    probe_error: Exception | None = None

    async def preview(self, action: Action) -> Preview:
        if self.on_preview is not None:
            await self.on_preview(action)
        commands = tuple((*self.prefix, *command) for command in action.commands())
        return Preview(commands=commands, where="deploy@web-1")

    async def execute(self, action: Action, *, key: str) -> Outcome:
        self.executed.append(key)
        if self.on_execute is not None:
            await self.on_execute(action)
        self.restart(action)
        return self.outcome

    def restart(self, action: Action) -> None:
        self.invocations[str(action.target)] = self.invocations.get(str(action.target), 1) + 1

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        if self.probe_error is not None:
            raise self.probe_error
        now = (str(self.invocations.get(str(action.target), 1)),)
        return Probe(
            took_effect=None if before is None else now != before, detail="looked", outputs=now
        )


def result(output: str, status: int = 0) -> CommandResult:
    return CommandResult(command=("systemctl",), exit_status=status, output=output)


def _step(number: int, action: Action) -> PlanStep:
    undo = action.undo()
    step = described_step(action, number=number)
    return step.model_copy(update={"undo": undo.record() if undo else None})


@dataclass
class World:
    """Everything the gate needs, and short ways to use it."""

    store: SqlStore
    clock: FakeClock
    executor: CountingExecutor = field(default_factory=CountingExecutor)
    policy: Policy = field(default_factory=Policy.default)
    inventory: Inventory = INVENTORY
    flags: ExecutionFlags = ExecutionFlags(execute_real=True, dry_run=False)
    require_approval: bool = True

    @property
    def approvals(self) -> ApprovalManager:
        """A manager without memory of an earlier one: as another process has it."""
        return ApprovalManager(
            self.require_approval,
            store=self.store,
            clock=self.clock,
            policy=self.policy,
            inventory=self.inventory,
        )

    @property
    def gate(self) -> ActionGate:
        """A gate without memory of an earlier one: as another process has it."""
        return ActionGate(
            store=self.store,
            clock=self.clock,
            policy=self.policy,
            approvals=self.approvals,
            executors={"ssh": self.executor, "deployment": self.executor},
            inventory=self.inventory,
            parse=lambda record: parse_action(record, self.inventory),
            flags=self.flags,
        )

    async def incident(self, severity: Severity = Severity.HIGH) -> Incident:
        now = self.clock.now()
        draft = Incident(
            id=IncidentId(new_id(now)),
            key="",
            title="web is down",
            severity=severity,
            opened_at=now,
            updated_at=now,
        )
        return await self.store.create_incident(draft, [])

    async def plan(self, *hosts: str, incident: Incident | None = None) -> Plan:
        """Return a prepared plan (not stored yet) that restarts nginx on each host."""
        incident = incident or await self.incident()
        now = self.clock.now()
        diagnosis = Diagnosis(
            id=new_id(now),
            incident_id=incident.id,
            made_at=now,
            verdict=Verdict.CONFIRMED,
            summary="web is down",
            hypotheses=(
                Hypothesis(
                    cause_id="service-down",
                    cause="web is down",
                    kind=CauseKind.PROCESS,
                    confidence=0.9,
                ),
            ),
        )
        await self.store.add_diagnosis(diagnosis, [])
        return await self._prepared(
            incident,
            diagnosis,
            *(RestartService(host=h, unit="nginx.service") for h in hosts or ("web-1",)),
        )

    async def scaling_plan(self) -> Plan:
        """Return a prepared plan that can be undone."""
        incident = await self.incident()
        action = ScaleService(service="web", replicas=4, previous=2)
        return await self._prepared(incident, None, action)

    async def _prepared(
        self, incident: Incident, diagnosis: Diagnosis | None, *actions: Action
    ) -> Plan:
        now = self.clock.now()
        draft = Plan(
            id=new_id(now),
            incident_id=incident.id,
            diagnosis_id=diagnosis.id if diagnosis else "",
            made_at=now,
            reason="web is down",
            steps=tuple(_step(n, action) for n, action in enumerate(actions, 1)),
        )
        return await self.gate.prepare(draft)

    async def approved(self, *hosts: str, incident: Incident | None = None) -> Plan:
        """Return a stored plan that alice approved."""
        plan = await self.plan(*hosts, incident=incident)
        request = await self.approvals.request(plan, by="agent:resolution")
        await self.approvals.approve(request.id, "alice", "cli", plan_digest=plan.digest)
        return plan

    async def rows(self, plan: Plan) -> list[Execution]:
        return list(await self.store.executions_of(plan.incident_id))

    async def states(self, plan: Plan) -> list[StepState]:
        return [row.state for row in await self.rows(plan)]

    async def events(self, kind: str = "") -> list[str]:
        return [e.kind for e in await self.store.events() if e.kind.startswith(kind)]
