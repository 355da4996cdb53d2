"""What every store promises: intake, incidents, alerts, evidence."""

import asyncio

import pytest

from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import IncidentStatus
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import Conflict, NotFound, StoreUnavailable
from it_incident_response.ports.store import (
    IncidentFilter,
    IngestOutcome,
    KnownAlert,
    Store,
)
from it_incident_response.storage import inbox, open_store
from tests.contracts import store_fixtures as make
from tests.contracts.store_fixtures import NOW, after

HOSTILE = (
    "a\0b",
    "\u202egnp.exe",
    "'; DROP TABLE incidents; --",
    "$(reboot) `id` {{7*7}} %s %d",
    "100% _under_ \\back\\",
    "\N{GREEK CAPITAL LETTER SIGMA}\N{LATIN SMALL LETTER SHARP S} \U0001f600",
    "line\nbreak\ttab\r",
    "x" * 100_000,
)


# --- inbox -----------------------------------------------------------------------------------


async def test_accepted_bodies_come_back_in_order_byte_for_byte(store: Store) -> None:
    bodies = [b"", b"\x00\xff\xfe", b"{}", "\N{SNOWMAN}".encode(), b"x" * 100_000]
    await store.accept([("alertmanager", body) for body in bodies], NOW)
    await store.accept([("alerts", b"last")], after(1))

    assert await store.inbox_depth() == 6
    async with store.ingestion(100) as ingestion:
        assert [item.body for item in ingestion.items] == [*bodies, b"last"]
        assert [item.source for item in ingestion.items] == ["alertmanager"] * 5 + ["alerts"]
        assert ingestion.items[-1].received_at == after(1)


async def test_accepting_nothing_is_no_error(store: Store) -> None:
    await store.accept([], NOW)
    assert await store.inbox_depth() == 0


async def test_only_a_commit_takes_items_out(store: Store) -> None:
    await store.accept([("alerts", b"1"), ("alerts", b"2"), ("alerts", b"3")], NOW)
    async with store.ingestion(2) as ingestion:
        assert len(ingestion.items) == 2
    with pytest.raises(ZeroDivisionError):
        async with store.ingestion(2) as ingestion:
            raise ZeroDivisionError
    assert await store.inbox_depth() == 3

    async with store.ingestion(2) as ingestion:
        await ingestion.commit(IngestOutcome())
    async with store.ingestion(2) as ingestion:
        assert [item.body for item in ingestion.items] == [b"3"]


async def test_an_ingestion_is_committed_once(store: Store) -> None:
    async with store.ingestion(1) as ingestion:
        await ingestion.commit(IngestOutcome())
        with pytest.raises(Conflict, match="already"):
            await ingestion.commit(IngestOutcome())


async def test_memory_of_an_ingestion_is_bounded_by_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "PORTION_BYTES", 1_000)
    await store.accept([("alerts", b"x" * size) for size in (5_000, 600, 300, 600)], NOW)
    sizes = []
    while await store.inbox_depth():
        async with store.ingestion(100) as ingestion:
            sizes.append([len(item.body) for item in ingestion.items])
            await ingestion.commit(IngestOutcome())
    assert sizes == [[5_000], [600, 300], [600]]


async def test_unreadable_items_are_set_aside_with_the_reason(store: Store) -> None:
    await store.accept([("alerts", b"good"), ("alerts", b"\x00" * 100_000)], NOW)
    async with store.ingestion(10) as ingestion:
        bad = ingestion.items[1].id
        await ingestion.commit(IngestOutcome(rejected=((bad, "no JSON\0 " + "x" * 10_000),)))

    assert await store.inbox_depth() == 0
    (item,) = await store.rejected_items()
    assert (item.id, item.source, item.size_bytes) == (bad, "alerts", 100_000)
    assert item.reason.startswith("no JSON")
    assert len(item.reason) <= 2_000
    assert item.body == b"\x00" * inbox.REJECTED_BODY_BYTES


async def test_ids_of_items_are_never_used_again(store: Store) -> None:
    """A rejected body keeps its id, so a new one must not get the same."""
    for _ in range(3):
        await store.accept([("alerts", b"bad")], NOW)
        async with store.ingestion(10) as ingestion:
            rejected = tuple((item.id, "bad") for item in ingestion.items)
            await ingestion.commit(IngestOutcome(rejected=rejected))
    assert len({item.id for item in await store.rejected_items()}) == 3


# --- ingestion -------------------------------------------------------------------------------


async def test_an_ingestion_writes_everything_at_once(store: Store) -> None:
    await store.accept([("alerts", b"1")], NOW)
    async with store.ingestion(1) as ingestion:
        number = await ingestion.next_incident_number()
        new, fired = make.incident(number), make.alert()
        known = KnownAlert(alert=fired, incident_id=new.id, changes=(NOW, after(1)))
        await ingestion.commit(
            IngestOutcome(
                alerts=(known,),
                incidents=(new,),
                links=(make.link(new, fired, score=0.5),),
                events=(make.event("incident.opened", incident_id=new.id),),
                wake=(new.id, new.id),
            )
        )

    assert await store.incident(new.id) == new
    assert await store.alerts_of(new.id) == [(make.link(new, fired, score=0.5), fired)]
    assert await store.alerts(firing_only=True, limit=10) == [known]
    assert [e.kind for e in await store.events(incident_id=new.id)] == ["incident.opened"]
    assert await store.claim_due(NOW, worker="w", lease_s=60, limit=9) == [new.id]
    async with store.ingestion(1) as ingestion:
        assert ingestion.items == []
        assert await ingestion.known_alerts([fired.fingerprint, "absent"]) == {
            fired.fingerprint: known
        }


async def test_numbers_are_gapless_when_an_ingestion_is_given_up(store: Store) -> None:
    async with store.ingestion(0) as ingestion:
        assert [await ingestion.next_incident_number() for _ in range(3)] == [1, 2, 3]
    async with store.ingestion(0) as ingestion:
        assert await ingestion.next_incident_number() == 1
        await ingestion.commit(IngestOutcome(incidents=(make.incident(1),)))
    assert (await store.create_incident(make.incident(99), [])).key == "INC-000002"
    async with store.ingestion(0) as ingestion:
        assert await ingestion.next_incident_number() == 3


async def test_candidates_are_the_open_ones_and_the_lately_ended(store: Store) -> None:
    still_open, _ = await make.with_alert(store, make.incident(1), make.alert("A"))
    lately = make.ended(make.incident(2), after(100))
    long_ago = make.ended(make.incident(3), after(10))
    for one in (lately, long_ago):
        await store.create_incident(one, [])
    async with store.ingestion(0) as ingestion:
        found = await ingestion.candidates(after(50))
    assert [one.id for one in found] == [still_open.id, lately.id]


async def test_an_outcome_on_a_stale_incident_writes_nothing(store: Store) -> None:
    stored, _ = await make.with_alert(store, make.incident(1), make.alert("A"))
    await store.accept([("alerts", b"1")], NOW)
    stale = stored.model_copy(update={"version": 7})
    fresh = make.incident(2)
    with pytest.raises(Conflict, match="version"):
        async with store.ingestion(10) as ingestion:
            await ingestion.commit(
                IngestOutcome(incidents=(fresh, stale), events=(make.event(),), wake=(stored.id,))
            )
    assert await store.inbox_depth() == 1
    assert await store.events() == []
    assert [one.id for one in await store.incidents(IncidentFilter())] == [stored.id]


async def test_an_ingestion_raises_the_version_of_what_it_changes(store: Store) -> None:
    stored, _ = await make.with_alert(store, make.incident(1), make.alert("A"))
    async with store.ingestion(0) as ingestion:
        changed = stored.model_copy(update={"firing_alerts": 2})
        await ingestion.commit(IngestOutcome(incidents=(changed,)))
    found = await store.incident(stored.id)
    assert (found.firing_alerts, found.version) == (2, stored.version + 1)
    with pytest.raises(Conflict):
        await store.save_incident(stored, [])


async def test_nobody_changes_incidents_during_an_ingestion(
    store: Store, second_store: Store
) -> None:
    """Both within a process and between two: else correlation would judge stale incidents."""
    stored, _ = await make.with_alert(store, make.incident(1), make.alert("A"))
    async with store.ingestion(0) as ingestion:
        saving = [
            asyncio.create_task(other.save_incident(stored, [])) for other in (store, second_store)
        ]
        opening = asyncio.create_task(second_store.create_incident(make.incident(5), []))
        await second_store.accept([("alerts", b"goes on")], NOW)
        assert not any(task.done() for task in (*saving, opening))
        await ingestion.commit(IngestOutcome(incidents=(stored,)))
    outcomes = await asyncio.gather(*saving, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Conflict, Conflict]
    assert (await opening).key == "INC-000002"


async def test_an_alert_that_moves_on_is_shown_as_it_was_when_it_left(store: Store) -> None:
    first, fired = await make.with_alert(store, make.incident(1), make.alert())
    resolved = fired.model_copy(update={"status": AlertStatus.RESOLVED, "ends_at": after(9)})
    async with store.ingestion(0) as ingestion:
        known = KnownAlert(alert=resolved, incident_id=first.id, changes=(NOW,))
        await ingestion.commit(IngestOutcome(alerts=(known,)))
    again = fired.model_copy(update={"starts_at": after(500), "received_at": after(500)})
    second, _ = await make.with_alert(store, make.incident(2, opened_at=after(500)), again)

    assert [found for _, found in await store.alerts_of(first.id)] == [resolved]
    assert [found for _, found in await store.alerts_of(second.id)] == [again]
    (known,) = await store.alerts(firing_only=False, limit=10)
    assert (known.incident_id, known.alert) == (second.id, again)


async def test_a_link_keeps_its_first_reason(store: Store) -> None:
    stored, fired = await make.with_alert(store, make.incident(1), make.alert())
    later = make.link(stored, fired, reason="again", joined_at=after(9))
    known = KnownAlert(alert=fired, incident_id=stored.id)
    async with store.ingestion(0) as ingestion:
        await ingestion.commit(IngestOutcome(alerts=(known,), links=(later,)))
    assert await store.alerts_of(stored.id) == [(make.link(stored, fired), fired)]


async def test_an_alert_needs_a_link_and_a_link_an_alert(store: Store) -> None:
    stored, _ = await make.with_alert(store, make.incident(1), make.alert("A"))
    other = make.alert("B")
    unlinked = IngestOutcome(alerts=(KnownAlert(alert=other, incident_id=stored.id),))
    unknown = IngestOutcome(links=(make.link(stored, other),))
    for outcome in (unlinked, unknown):
        with pytest.raises(Conflict):
            async with store.ingestion(0) as ingestion:
                await ingestion.commit(outcome)
    assert len(await store.alerts(firing_only=False, limit=10)) == 1


async def test_alerts_are_listed_the_last_received_first(store: Store) -> None:
    one = make.incident(1)
    alerts = [make.alert(f"A{n}", received_at=after(n)) for n in (3, 1, 2)]
    alerts[0] = alerts[0].model_copy(update={"status": AlertStatus.RESOLVED})
    async with store.ingestion(0) as ingestion:
        await ingestion.commit(
            IngestOutcome(
                incidents=(one,),
                alerts=tuple(KnownAlert(alert=a, incident_id=one.id) for a in alerts),
                links=tuple(make.link(one, a) for a in alerts),
            )
        )
    every = await store.alerts(firing_only=False, limit=10)
    assert [known.alert.name for known in every] == ["A3", "A2", "A1"]
    firing = await store.alerts(firing_only=True, limit=1)
    assert [known.alert.name for known in firing] == ["A2"]


# --- incidents -------------------------------------------------------------------------------


async def test_an_incident_is_found_by_id_key_and_beginning(store: Store) -> None:
    for number in (1, 2):
        opened = make.after(number * 1_000_000)
        await store.create_incident(make.incident(number, opened_at=opened), [])
    second = await store.incident("INC-000002")
    for name in (second.id, second.id.upper()[:18], second.id[:8], " inc-000002 "):
        assert await store.incident(name) == second


async def test_an_ambiguous_beginning_is_refused_and_names_the_choices(store: Store) -> None:
    for number in (1, 2):
        await store.create_incident(make.incident(number, opened_at=NOW), [])
    one = await store.incident("INC-000001")
    with pytest.raises(NotFound, match=r"INC-00000[12], INC-00000[12]"):
        await store.incident(one.id[:8])


@pytest.mark.parametrize(
    "name",
    ["", "INC-000009", "INC-" + "9" * 5_000, "INC-99999999999999999999", "%", "________", "a" * 8]
    + list(HOSTILE),
)
async def test_any_other_name_is_not_found(store: Store, name: str) -> None:
    await store.create_incident(make.incident(1), [])
    with pytest.raises(NotFound) as caught:
        await store.incident(name)
    assert len(str(caught.value)) < 400


async def test_saving_needs_the_version_that_was_read(store: Store) -> None:
    created = await store.create_incident(make.incident(1), [make.event()])
    saved = await store.save_incident(created.model_copy(update={"assignee": "bob"}), [])
    assert saved.version == created.version + 1
    assert await store.incident(created.id) == saved
    with pytest.raises(Conflict, match="version 2"):
        await store.save_incident(created, [make.event("never")])
    assert [e.kind for e in await store.events()] == ["test.happened"]
    with pytest.raises(NotFound):
        await store.save_incident(make.incident(7), [])


async def test_of_many_savers_one_wins(store: Store, second_store: Store) -> None:
    created = await store.create_incident(make.incident(1), [])
    attempts = [
        (store, second_store)[n % 2].save_incident(
            created.model_copy(update={"assignee": f"user-{n}"}), [make.event()]
        )
        for n in range(12)
    ]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    losers = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(losers) == 11
    assert len(await store.events()) == 1


async def test_incidents_are_filtered_and_paged_newest_first(store: Store) -> None:
    severities = [Severity.LOW, Severity.HIGH, Severity.CRITICAL]
    for number in range(1, 8):
        await store.create_incident(
            make.incident(number, severity=severities[number % 3], assignee=f"user-{number % 2}"),
            [],
        )
    closed = make.ended(await store.incident("INC-000004"), after(50))
    await store.save_incident(closed, [])

    async def numbers(**which: object) -> list[int]:
        found = await store.incidents(IncidentFilter(**which))  # type: ignore[arg-type]
        return [int(one.key[4:]) for one in found]

    assert await numbers() == [7, 6, 5, 4, 3, 2, 1]
    assert await numbers(statuses=(IncidentStatus.CLOSED,)) == [4]
    assert await numbers(severities=(Severity.LOW, Severity.CRITICAL)) == [6, 5, 3, 2]
    assert await numbers(assignee="user-1", limit=2) == [7, 5]
    fifth = await store.incident("INC-000005")
    assert await numbers(before=fifth.id, limit=3) == [4, 3, 2]


async def test_text_is_searched_literally_in_title_description_key_and_systems(
    store: Store,
) -> None:
    texts = ["100% full", "a_b", "back\\slash", "it's", "\N{LATIN CAPITAL LETTER A WITH DIAERESIS}"]
    for number, text in enumerate(texts, start=1):
        await store.create_incident(make.incident(number, title=text), [])
    await store.create_incident(make.incident(6, description="Deep down"), [])
    await store.create_incident(make.incident(7, affected_systems=("db-7", "cache")), [])

    async def found(text: str) -> list[str]:
        return [one.key[-1] for one in await store.incidents(IncidentFilter(text=text))]

    assert await found("%") == ["1"]
    assert await found("_") == ["2"]
    assert await found("\\") == ["3"]
    assert await found("'") == ["4"]
    assert await found("\N{LATIN SMALL LETTER A WITH DIAERESIS}") == ["5"]
    assert await found("DEEP DOWN") == ["6"]
    assert await found("Cache") == ["7"]
    assert await found("inc-000003") == ["3"]
    assert await found("x" * 200_000) == []
    assert await found("down\0") == []


# --- what belongs to an incident ---------------------------------------------------------------


async def test_the_case_file_comes_back_as_it_was_stored(store: Store) -> None:
    of = await store.create_incident(make.incident(1), [])
    seen = [make.evidence(of, summary=f"number {n}") for n in range(20)]
    await store.add_evidence(seen[:15], [make.event("evidence.added")])
    await store.add_evidence(seen[15:], [])
    await store.add_evidence([], [make.event("nothing.seen")])
    thought = [make.diagnosis(of), make.diagnosis(of, summary="\0 else")]
    for one in thought:
        await store.add_diagnosis(one, [make.event("diagnosis.made")])

    assert await store.evidence_of(of.id) == seen
    assert await store.diagnoses_of(of.id) == thought
    kinds = [e.kind for e in await store.events()]
    assert kinds == ["evidence.added", "nothing.seen", "diagnosis.made", "diagnosis.made"]
    assert await store.evidence_of(IncidentId("absent")) == []


async def test_a_refused_write_leaves_no_event(store: Store) -> None:
    of = await store.create_incident(make.incident(1), [])
    once = make.evidence(of)
    await store.add_evidence([once], [])
    homeless = make.evidence(make.incident(9))
    for refused in ([make.evidence(of), once], [homeless]):
        with pytest.raises(Conflict):
            await store.add_evidence(refused, [make.event()])
    assert await store.evidence_of(of.id) == [once]
    assert await store.events() == []


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_stored_as_it_is(store: Store, text: str) -> None:
    of = make.incident(1, title=text, affected_systems=(text,), assignee=text)
    labels = {"alertname": "A", "weird": text}
    stored, fired = await make.with_alert(
        store,
        of,
        make.alert(labels=labels),
        events=(make.event(summary=text, details={text: [text]}, incident_id=text),),
    )
    assert (await store.incident(stored.id)).title == text
    ((_, found),) = await store.alerts_of(stored.id)
    assert found == fired
    (recorded,) = await store.events(incident_id=text)
    assert (recorded.summary, recorded.details) == (text, {text: [text]})
    assert (await store.verify_chain()).is_intact
    ((listed),) = await store.incidents(IncidentFilter(text=text[:500], assignee=text))
    assert listed.id == stored.id


async def test_a_lone_surrogate_is_replaced(store: Store) -> None:
    """No encoder takes it; it can only come from a copy that skipped validation."""
    broken = make.incident(1).model_copy(update={"title": "a\ud800b", "assignee": "\udfff"})
    created = await store.create_incident(broken, [make.event(details={"x": "\ud800"})])
    assert (await store.incident(created.id)).title == "a\ufffdb"
    (recorded,) = await store.events()
    assert recorded.details == {"x": "\ufffd"}


# --- life --------------------------------------------------------------------------------------


async def test_everything_is_there_after_reopening(
    store: Store, store_url: str, clock: make.FixedClock
) -> None:
    created = await store.create_incident(make.incident(1), [make.event()])
    await store.close()
    reopened = open_store(store_url, clock=clock)
    await reopened.open()
    try:
        assert await reopened.incident(created.id) == created
        assert (await reopened.verify_chain()).events == 1
    finally:
        await reopened.close()


async def test_a_store_that_is_not_open_says_so(store: Store) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.incident("INC-000001")


async def test_statistics_count_what_is_stored(store: Store) -> None:
    before = await store.database_size()
    await make.with_alert(store, make.incident(1), make.alert(annotations={"a": "x" * 500_000}))
    stats = await store.stats()
    assert (stats["incidents"], stats["alerts"], stats["inbox"]) == (1, 1, 0)
    assert stats["used_bytes"] == await store.database_size() > before
    assert stats["file_bytes"] > 0


async def test_an_incident_needs_a_key_of_our_form(store: Store) -> None:
    with pytest.raises(Conflict, match="no incident key"):
        async with store.ingestion(0) as ingestion:
            await ingestion.commit(IngestOutcome(incidents=(make.incident(1, key="INC-X"),)))
