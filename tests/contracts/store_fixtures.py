"""The stores under contract, a fixed clock, and values to put into them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from it_incident_response.domain.action import ActionRecord, Reversibility, Risk
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import CauseKind, Diagnosis, Hypothesis, Verdict
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Evidence, MetricFinding, Shape, Signal
from it_incident_response.domain.execution import CommandResult, Execution, StepState
from it_incident_response.domain.ids import IncidentId, incident_key, new_id
from it_incident_response.domain.incident import AlertLink, Incident, IncidentStatus
from it_incident_response.domain.labels import make_alert
from it_incident_response.domain.plan import Plan, PlanStep
from it_incident_response.domain.severity import Severity
from it_incident_response.domain.verification import Verification, VerificationResult
from it_incident_response.ports.store import IngestOutcome, KnownAlert, Store
from it_incident_response.storage import open_store
from it_incident_response.storage.store import SqlStore

NOW = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
WEB = Entity(EntityKind.HOST, "web-1")


class FixedClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with all tables: copying it is faster than migrating anew."""
    path = tmp_path_factory.mktemp("template") / "iir.db"

    async def migrate() -> None:
        store = open_store(f"sqlite:///{path}", clock=FixedClock())
        await store.open()
        await store.close()

    asyncio.run(migrate())
    return path


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)],
)
def store_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> Iterator[str]:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        shutil.copy(migrated_file, tmp_path / "iir.db")
        yield f"sqlite:///{tmp_path}/iir.db"
    else:
        yield request.getfixturevalue("postgres_url")


@pytest.fixture
def clock() -> FixedClock:
    """The store's clock."""
    return FixedClock()


@pytest.fixture
async def store(store_url: str, clock: FixedClock) -> AsyncIterator[SqlStore]:
    """An open, empty store."""
    opened = open_store(store_url, clock=clock)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def second_store(
    store: SqlStore, store_url: str, clock: FixedClock
) -> AsyncIterator[SqlStore]:
    """Another process' view of the same database: connections and locks of its own."""
    opened = open_store(store_url, clock=clock)
    await opened.open()
    yield opened
    await opened.close()


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def event(kind: str = "test.happened", **fields: Any) -> AuditEvent:
    return AuditEvent(**{"at": NOW, "actor": "user:alice", "kind": kind, "summary": kind} | fields)


def incident(number: int = 1, **fields: Any) -> Incident:
    opened = fields.get("opened_at", after(number))
    given = {
        "id": IncidentId(new_id(opened)),
        "key": incident_key(number),
        "title": f"Incident {number}",
        "severity": Severity.HIGH,
        "opened_at": opened,
        "updated_at": opened,
    }
    return Incident(**given | fields)


def alert(name: str = "HighLatency", **fields: Any) -> Alert:
    given = {
        "labels": {"alertname": name, "instance": "web-1:9100"},
        "annotations": {"summary": f"{name} on web-1"},
        "status": AlertStatus.FIRING,
        "starts_at": NOW,
        "ends_at": None,
        "received_at": NOW,
        "source": "alertmanager",
    }
    return make_alert(**given | fields)


def link(of: Incident, what: Alert, **fields: Any) -> AlertLink:
    given = {"joined_at": what.received_at, "reason": "the first alert"}
    return AlertLink(**{"incident_id": of.id, "fingerprint": what.fingerprint} | given | fields)


def evidence(of: Incident, **fields: Any) -> Evidence:
    finding = MetricFinding(
        signal=Signal.CPU_USE,
        entity=WEB,
        shape=Shape.LEVEL_SHIFT,
        baseline=0.2,
        current=0.97,
        peak=0.99,
        effect=float("inf"),
        samples=((1.0, 0.2), (2.0, 0.97)),
    )
    given = {
        "id": new_id(NOW),
        "incident_id": of.id,
        "source": "prometheus",
        "summary": "CPU use rose",
        "finding": finding,
        "observed_at": NOW,
    }
    return Evidence(**given | fields)


def diagnosis(of: Incident, **fields: Any) -> Diagnosis:
    hypothesis = Hypothesis(
        cause_id="cpu", cause="CPU is saturated", kind=CauseKind.RESOURCE, confidence=0.8
    )
    given = {
        "id": new_id(NOW),
        "incident_id": of.id,
        "made_at": NOW,
        "verdict": Verdict.LIKELY,
        "hypotheses": (hypothesis,),
        "summary": "CPU is saturated",
    }
    return Diagnosis(**given | fields)


def plan(of: Incident, **fields: Any) -> Plan:
    step = PlanStep(
        number=1,
        action=ActionRecord(kind="restart_service", parameters={"service": "checkout"}),
        executor="ssh",
        target=Entity(EntityKind.SERVICE, "checkout"),
        host="web-1",
        commands=(("sudo", "systemctl", "restart", "checkout"),),
        description="Restart checkout on web-1",
        risk=Risk.MEDIUM,
        reversibility=Reversibility.NOTHING_TO_UNDO,
    )
    given = {
        "id": new_id(NOW),
        "incident_id": of.id,
        "diagnosis_id": new_id(NOW),
        "made_at": NOW,
        "reason": "service down",
        "steps": (step,),
    }
    return Plan(**given | fields)


def approval(of: Plan, **fields: Any) -> Approval:
    given = {
        "id": new_id(NOW),
        "incident_id": of.incident_id,
        "plan_id": of.id,
        "plan_digest": of.digest,
        "requested_at": NOW,
        "requested_by": "agent:resolution",
        "expires_at": after(600),
    }
    return Approval(**given | fields)


def decided(request: Approval, by: str = "alice", **fields: Any) -> Approval:
    given = {
        "status": ApprovalStatus.APPROVED,
        "decided_at": after(5),
        "decided_by": by,
        "decided_via": "cli",
        "reason": "looks right",
    }
    return request.model_copy(update=given | fields)


def execution(of: Plan, *, attempt: int = 1, **fields: Any) -> Execution:
    step = of.steps[0]
    given = {
        "id": new_id(NOW),
        "key": f"{of.incident_id}/{of.digest}/1/{attempt}",
        "incident_id": of.incident_id,
        "plan_id": of.id,
        "plan_digest": of.digest,
        "step": 1,
        "attempt": attempt,
        "action": step.action,
        "target": step.target,
        "state": StepState.INTENDED,
        "intended_at": NOW,
        "results": (CommandResult(command=("true",), exit_status=0),),
    }
    return Execution(**given | fields)


def verification(of: Plan, **fields: Any) -> Verification:
    given = {
        "id": new_id(NOW),
        "incident_id": of.incident_id,
        "plan_id": of.id,
        "result": VerificationResult.VERIFIED,
        "started_at": NOW,
        "ended_at": after(60),
        "soak_s": 60.0,
        "reason": "all checks held",
    }
    return Verification(**given | fields)


async def with_alert(
    store: Store, of: Incident, what: Alert, **outcome: Any
) -> tuple[Incident, Alert]:
    """Store an incident with one alert, as an ingestion does."""
    async with store.ingestion(0) as ingestion:
        number = await ingestion.next_incident_number()
        stored = of.model_copy(update={"key": incident_key(number)})
        await ingestion.commit(
            IngestOutcome(
                alerts=(KnownAlert(alert=what, incident_id=stored.id, changes=(NOW,)),),
                incidents=(stored,),
                links=(link(stored, what),),
                **outcome,
            )
        )
    return stored, what


def ended(of: Incident, at: datetime) -> Incident:
    return of.model_copy(
        update={"status": IncidentStatus.CLOSED, "closed_at": at, "updated_at": at}
    )
