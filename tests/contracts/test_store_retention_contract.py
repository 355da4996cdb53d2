"""What every store promises of retention: bounded growth, and nothing lost that is needed."""

import asyncio
import random
from datetime import datetime

import pytest

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.diagnosis import Hypothesis
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.errors import NotFound
from it_incident_response.ports.store import (
    IncidentFilter,
    IngestOutcome,
    KnownAlert,
    PruneReport,
    Store,
)
from it_incident_response.storage import retention
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import after

LIMIT = after(1_000)
"""The age limit in these tests."""


async def _prune(
    store: Store, *, max_bytes: int | None = None, dry_run: bool = False
) -> PruneReport:
    return await store.prune(
        older_than=LIMIT, max_bytes=max_bytes, now=after(2_000), dry_run=dry_run
    )


async def _ended(
    store: Store, number: int, at: datetime, *, alerts: int = 1, size: int = 100
) -> Incident:
    """Store an ended incident with resolved alerts and one piece of evidence of about `size`."""
    of = make.incident(number)
    resolved = [
        make.alert(
            labels={"alertname": "A", "number": f"{number}.{n}"}, status=AlertStatus.RESOLVED
        )
        for n in range(alerts)
    ]
    async with store.ingestion(0) as ingestion:
        await ingestion.commit(
            IngestOutcome(
                incidents=(of,),
                alerts=tuple(KnownAlert(alert=a, incident_id=of.id) for a in resolved),
                links=tuple(make.link(of, a) for a in resolved),
                wake=(of.id,),
            )
        )
    # No database can compress it, so that its size is the same everywhere.
    seen = make.evidence(of, summary=random.Random(number).randbytes(size // 2).hex())
    await store.add_evidence([seen], [])
    plan = make.plan(of)
    await store.add_diagnosis(make.diagnosis(of, evidence_ids=(seen.id,)), [])
    await store.add_plan(plan, make.approval(plan), [])
    await store.intend(make.execution(plan), [])
    await store.add_verification(make.verification(plan), [])
    return await store.save_incident(make.ended(of, at), [])


async def _keys(store: Store) -> list[str]:
    return [one.key for one in await store.incidents(IncidentFilter(limit=10_000))]


async def test_what_ended_long_ago_goes_with_all_that_is_its(store: Store) -> None:
    old = await _ended(store, 1, after(999), alerts=3)
    young = await _ended(store, 2, after(1_001))
    report = await _prune(store)

    assert (report.incidents, report.alerts, report.evidence) == (1, 3, 1)
    assert await _keys(store) == [young.key]
    with pytest.raises(NotFound):
        await store.incident(old.id)
    of_old = [store.alerts_of, store.evidence_of, store.diagnoses_of, store.plans_of]
    of_old += [store.executions_of, store.verifications_of]
    for read in of_old:
        assert await read(old.id) == [], read
        assert len(await read(young.id)) == 1, read
    assert len(await store.alerts(firing_only=False, limit=10)) == 1
    assert len(await store.approvals()) == 1
    assert await store.claim_due(after(9_999), worker="w", lease_s=1, limit=9) == [young.id]


async def test_what_was_removed_is_one_audit_event_and_events_stay(store: Store) -> None:
    old = await _ended(store, 1, after(10))
    await store.append([make.event("incident.opened", incident_id=old.id)])
    await _prune(store)
    opened, pruned = await store.events()
    assert opened.incident_id == old.id
    assert (pruned.kind, pruned.details["keys"]) == ("retention.pruned", [old.key])
    assert (pruned.details["incidents"], pruned.details["alerts"]) == (1, 1)
    assert (await store.verify_chain()).is_intact

    again = await _prune(store)
    assert (again.incidents, len(await store.events())) == (0, 2), "nothing done, nothing said"


async def test_a_dry_run_counts_the_same_and_removes_nothing(store: Store) -> None:
    for number in range(1, 6):
        await _ended(store, number, after(number))
    before = await store.stats()
    dry = await _prune(store, dry_run=True)
    after_dry = await store.stats()
    assert {name: after_dry[name] for name in before if not name.endswith("_bytes")} == {
        name: before[name] for name in before if not name.endswith("_bytes")
    }
    real = await _prune(store)
    assert (dry.incidents, dry.alerts, dry.evidence) == (5, 5, 5)
    assert (real.incidents, real.alerts, real.evidence) == (5, 5, 5)
    assert dry.bytes_after < dry.bytes_before


async def test_open_incidents_stay_however_old_or_large(store: Store) -> None:
    of = await store.create_incident(make.incident(1), [])
    await store.add_evidence([make.evidence(of, observed_at=LIMIT, summary="x" * 9_999)], [])
    report = await _prune(store, max_bytes=1)
    assert report.incidents == 0
    assert len(await store.evidence_of(of.id)) == 1


@pytest.mark.parametrize(("received_at", "stays"), [(after(1_500), True), (after(500), False)])
async def test_an_incident_whose_alert_still_fires_stays(
    store: Store, received_at: datetime, stays: bool
) -> None:
    """It was closed by hand; without it the alert's next repetition would open a new one."""
    of, _ = await make.with_alert(store, make.incident(1), make.alert(received_at=received_at))
    await store.save_incident(make.ended(of, after(100)), [])
    report = await _prune(store, max_bytes=1)
    assert report.incidents == (0 if stays else 1)


async def test_an_alert_of_two_incidents_stays_with_the_other(store: Store) -> None:
    fired = make.alert()
    kept, _ = await make.with_alert(store, make.incident(1), fired)
    old, _ = await make.with_alert(
        store, make.incident(2), fired.model_copy(update={"status": AlertStatus.RESOLVED})
    )
    await store.save_incident(make.ended(old, after(10)), [])
    assert (await _prune(store)).incidents == 1
    async with store.ingestion(0) as ingestion:
        known = await ingestion.known_alerts([fired.fingerprint])
    assert known[fired.fingerprint].incident_id == kept.id
    assert len(await store.alerts_of(kept.id)) == 1


async def test_the_oldest_go_until_the_size_fits(store: Store) -> None:
    for number in range(1, 9):
        await _ended(store, number, after(1_000 + number), size=200_000)
    size = await store.database_size()
    report = await _prune(store, max_bytes=size - 500_000)
    assert report.bytes_before == size
    assert report.bytes_after == await store.database_size() <= size - 500_000
    assert 2 <= report.incidents <= 4, "no more than needed"
    assert await _keys(store) == [f"INC-{n:06d}" for n in range(8, report.incidents, -1)]
    assert (await _prune(store, max_bytes=size - 500_000)).incidents == 0, "and only once"


async def test_old_rejected_bodies_go(store: Store, clock: make.FixedClock) -> None:
    for moment in (500, 1_500):
        clock.moment = after(moment)
        await store.accept([("alerts", b"bad")] * 3, after(moment))
        async with store.ingestion(9) as ingestion:
            rejected = tuple((item.id, "bad") for item in ingestion.items)
            await ingestion.commit(IngestOutcome(rejected=rejected))
    assert (await _prune(store, dry_run=True)).inbox_rejected == 3
    assert (await _prune(store)).inbox_rejected == 3
    assert {item.rejected_at for item in await store.rejected_items()} == {after(1_500)}


async def test_rejected_bodies_go_first_when_space_is_short(store: Store) -> None:
    await _ended(store, 1, after(1_500))
    size = await store.database_size()
    await store.accept([("alerts", random.Random(n).randbytes(60_000)) for n in range(9)], LIMIT)
    while await store.inbox_depth():
        async with store.ingestion(9) as ingestion:
            rejected = tuple((item.id, "bad") for item in ingestion.items)
            await ingestion.commit(IngestOutcome(rejected=rejected))
    report = await _prune(store, max_bytes=size + 100_000)
    assert (report.inbox_rejected, report.incidents) == (9, 0)
    assert report.bytes_after <= size + 100_000


async def test_waiting_bodies_stay(store: Store) -> None:
    await store.accept([("alerts", b"1")], after(1))
    await _prune(store, max_bytes=1)
    assert await store.inbox_depth() == 1


async def test_superseded_records_of_a_kept_incident_go(store: Store) -> None:
    """An incident that flaps for months is diagnosed again and again."""
    of = await store.create_incident(make.incident(1), [])
    seen = [make.evidence(of, observed_at=after(n)) for n in range(6)]
    late = make.evidence(of, observed_at=after(1_500))
    await store.add_evidence([*seen, late], [])

    def diagnosed(at: float, *cited: int) -> object:
        cause = Hypothesis(
            cause_id="c", cause="c", kind="process", confidence=0.5, supporting=(seen[cited[0]].id,)
        )
        return make.diagnosis(
            of,
            made_at=after(at),
            hypotheses=(cause,),
            evidence_ids=tuple(seen[n].id for n in cited[1:]),
        )

    dropped, planned, last = diagnosed(10, 0, 1), diagnosed(20, 2), diagnosed(30, 3, 4)
    for one in (dropped, planned, last):
        await store.add_diagnosis(one, [])  # type: ignore[arg-type]
    await store.add_plan(make.plan(of, diagnosis_id=planned.id), None, [])  # type: ignore[attr-defined]

    for dry_run in (True, False):
        assert (await _prune(store, dry_run=dry_run)).evidence == 3
    assert await store.diagnoses_of(of.id) == [planned, last]
    assert await store.evidence_of(of.id) == [seen[2], seen[3], seen[4], late]
    assert (await _prune(store)).evidence == 0


async def test_what_is_reopened_meanwhile_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await _ended(store, 1, after(10))
    original = store._remove  # type: ignore[attr-defined]

    async def remove(*arguments: object) -> None:
        await store.save_incident(old.moved_to(IncidentStatus.INVESTIGATING, after(1_999)), [])
        await original(*arguments)

    monkeypatch.setattr(store, "_remove", remove)
    await _prune(store)
    assert (await store.incident(old.id)).status.is_open
    assert len(await store.evidence_of(old.id)) == 1


async def test_a_crash_in_the_middle_leaves_whole_incidents(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 7):
        await _ended(store, number, after(number), alerts=4)
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 20)
    removed = 0
    real = retention.remove_incidents

    async def crashing(*arguments: object) -> None:
        nonlocal removed
        removed += 1
        await real(*arguments)  # type: ignore[arg-type]
        if removed == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(retention, "remove_incidents", crashing)
    with pytest.raises(ZeroDivisionError):
        await _prune(store)
    left = await _keys(store)
    assert 0 < len(left) < 6
    for key in left:
        of = (await store.incident(key)).id
        assert len(await store.alerts_of(of)) == 4
    (event,) = await store.events()
    assert event.details["incidents"] == 6, "said before it was done"

    monkeypatch.setattr(retention, "remove_incidents", real)
    assert (await _prune(store)).incidents == len(left)


async def test_the_intake_goes_on_while_much_is_removed(store: Store) -> None:
    for number in range(1, 21):
        await _ended(store, number, after(number), alerts=300)
    accepted = 0
    is_over = False

    async def keep_accepting() -> None:
        nonlocal accepted
        while not is_over:
            async with asyncio.timeout(5):
                await store.accept([("alerts", b"x")], after(1))
            accepted += 1

    intake = asyncio.create_task(keep_accepting())
    report = await _prune(store)
    is_over = True
    await intake
    assert (report.incidents, report.alerts) == (20, 6_000)
    assert accepted >= 4, "at least once between the batches"
    assert await store.inbox_depth() == accepted
