"""A small record with something in every table, and its dump for the migration tests.

`python -m tests.unit.storage.sample_record` writes the dump of the newest revision; the dump of a
released revision never changes again.
"""

import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.evidence import Change
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.severity import Severity
from it_incident_response.ports.store import IngestOutcome, Store
from it_incident_response.storage import open_store, schema
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, WEB, after

DUMPS = Path(__file__).parent / "dumps"


def numbered(kind: int) -> Callable[[int], str]:
    """Return ids that are the same in every run."""
    return lambda number: f"019ced39-0000-7000-8000-{kind:04d}{number:08d}"


INCIDENTS, OTHERS = numbered(1), numbered(2)
OPEN = make.incident(
    1,
    id=IncidentId(INCIDENTS(1)),
    title="Checkout is down\0 \u202e",
    affected_systems=("web-1", "checkout"),
    assignee="alice",
)
CLOSED = make.ended(make.incident(2, id=IncidentId(INCIDENTS(2))), after(300))
FIRING = Alert(
    fingerprint="01f72b4ed6c8805e",
    name="ServiceDown",
    status=AlertStatus.FIRING,
    severity=Severity.CRITICAL,
    labels={"alertname": "ServiceDown", "instance": "web-1:9100", "text": "\0 ' \N{SNOWMAN}"},
    annotations={"summary": "it is down"},
    starts_at=NOW,
    received_at=NOW,
    source="alertmanager",
    entities=(WEB,),
    component="node",
    tags=("node",),
)
RESOLVED = FIRING.model_copy(
    update={
        "fingerprint": "ab374e2cdb1f2d19",
        "status": AlertStatus.RESOLVED,
        "ends_at": after(60),
    }
)
SEEN = make.evidence(OPEN, id=OTHERS(1))
THOUGHT = make.diagnosis(OPEN, id=OTHERS(2), evidence_ids=(SEEN.id,))
PLAN = make.plan(OPEN, id=OTHERS(3), diagnosis_id=THOUGHT.id)
REQUEST = make.approval(PLAN, id=OTHERS(4))
DECISION = make.decided(REQUEST)
STEP = make.execution(PLAN, id=OTHERS(5))
DONE = STEP.model_copy(update={"state": StepState.FINISHED, "ended_at": after(20)})
CHECKED = make.verification(PLAN, id=OTHERS(6))
TOLD = Change(change_id="sample:1", what="deploy", at=NOW, summary="checkout 1.2\0\N{SNOWMAN}")
EVENTS = tuple(
    make.event(f"sample.n{n}", incident_id=OPEN.id, details={"n": n, "text": "\0\N{SNOWMAN}"})
    for n in range(5)
)


async def fill(store: Store) -> None:
    """Store the record."""
    await make.with_alert(store, OPEN, FIRING, events=EVENTS[:2], wake=(OPEN.id,))
    await make.with_alert(store, CLOSED, RESOLVED)
    await store.accept([("alerts", b"bad \x00\xff")], NOW)
    async with store.ingestion(1) as ingestion:
        rejected = tuple((item.id, "no JSON") for item in ingestion.items)
        await ingestion.commit(IngestOutcome(rejected=rejected))
    await store.accept([("alertmanager", b"waiting \x00\xff")], NOW)
    await store.add_evidence([SEEN], EVENTS[2:3])
    await store.add_diagnosis(THOUGHT, EVENTS[3:4])
    await store.add_plan(PLAN, REQUEST, EVENTS[4:])
    await store.decide(DECISION, [])
    await store.intend(STEP, [])
    await store.advance(DONE, StepState.INTENDED, [])
    await store.add_verification(CHECKED, [])
    await store.lock_target(WEB, holder=OPEN.key, now=NOW, until=after(60))
    await store.add_changes([TOLD], NOW)
    await store.hold_lease("engine", holder="one", now=NOW, until=after(30), detail="127.0.0.1:1")


async def require_complete(store: Store) -> None:
    """Fail unless every part of the record can be read, unchanged.

    Posts and changes are not looked at: databases of the first revisions have none.
    """
    assert await store.incident("INC-000001") == OPEN
    assert await store.incident(CLOSED.id) == CLOSED
    assert await store.alerts_of(OPEN.id) == [(make.link(OPEN, FIRING), FIRING)]
    assert [k.alert for k in await store.alerts(firing_only=False, limit=9)] == [FIRING, RESOLVED]
    assert [item.body for item in await store.rejected_items()] == [b"bad \x00\xff"]
    assert await store.evidence_of(OPEN.id) == [SEEN]
    assert await store.diagnoses_of(OPEN.id) == [THOUGHT]
    assert await store.plans_of(OPEN.id) == [PLAN]
    assert await store.approval(REQUEST.id) == DECISION
    assert await store.executions_of(OPEN.id) == [DONE]
    assert await store.verifications_of(OPEN.id) == [CHECKED]
    assert await store.locked_targets(NOW) == {"host web-1": OPEN.key}
    assert await store.claim_due(NOW, worker="w", lease_s=1, limit=9) == [OPEN.id]
    unset = {"sequence": None, "previous_hash": None, "hash": None}
    assert [e.model_copy(update=unset) for e in await store.events()] == list(EVENTS)
    assert (await store.verify_chain()).is_intact
    async with store.ingestion(9) as ingestion:
        assert [item.body for item in ingestion.items] == [b"waiting \x00\xff"]
        assert await ingestion.next_incident_number() == 3
    assert await store.lock_target(WEB, holder=OPEN.key, now=NOW, until=after(60)) == 2


async def _dump() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "iir.db"
        store = open_store(f"sqlite:///{path}", clock=make.FixedClock())
        await store.open()
        await fill(store)
        await store.close()
        connection = sqlite3.connect(path)
        try:
            return "\n".join(connection.iterdump()) + "\n"
        finally:
            connection.close()


if __name__ == "__main__":
    target = DUMPS / f"{schema.HEAD}.sql"
    if target.exists() and sys.argv[1:] != ["--replace"]:
        sys.exit(f"{target} exists: the dump of a released revision stays; else give --replace")
    target.write_text(asyncio.run(_dump()), encoding="utf-8")
