"""What every store promises of the audit trail: in order, complete, and nothing changed unseen."""

import asyncio
import hashlib

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.storage.audit_chain import GENESIS_HASH
from it_incident_response.storage.store import SqlStore
from tests.contracts import store_fixtures as make


async def _filled(store: SqlStore, count: int = 9) -> None:
    for start in range(0, count, 3):
        await store.append([make.event(f"test.n{start + n}") for n in range(3)])


async def _tamper(store: SqlStore, *statements: str) -> None:
    """Change the table as an intruder with the database's password would."""
    async with store._database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def _replace_body(connection: AsyncConnection, sequence: int, body: bytes) -> None:
    digest = hashlib.sha256(body).hexdigest()
    await connection.execute(
        text("UPDATE audit SET body = :body, hash = :hash WHERE sequence = :sequence"),
        {"body": body.decode(), "hash": digest, "sequence": sequence},
    )


async def test_an_empty_trail_is_intact(store: SqlStore) -> None:
    report = await store.verify_chain()
    assert (report.is_intact, report.events) == (True, 0)
    await store.append([])
    assert await store.events() == []


async def test_events_are_numbered_and_chained(store: SqlStore) -> None:
    given = [
        make.event("a.b", incident_id="i1", details={"z": 1.5, "a": [None, True, {"k": "\0"}]}),
        make.event("c.d", actor="agent:diagnostic"),
    ]
    await store.append(given)
    await store.append(given)
    found = await store.events()

    assert [e.sequence for e in found] == [1, 2, 3, 4]
    assert found[0].previous_hash == GENESIS_HASH
    assert [e.previous_hash for e in found[1:]] == [e.hash for e in found[:-1]]
    unset = {"sequence": None, "previous_hash": None, "hash": None}
    assert [e.model_copy(update=unset) for e in found] == given + given
    report = await store.verify_chain()
    assert (report.is_intact, report.events, report.broken_at) == (True, 4, None)


async def test_the_hash_can_be_recomputed_by_anybody(store: SqlStore) -> None:
    """The documented recipe: SHA-256 of the event's JSON, sorted keys, without `hash`."""
    await store.append([make.event(details={"b": 1, "a": "\N{SNOWMAN}"})])
    (event,) = await store.events()
    content = event.model_dump(mode="json", exclude={"hash"})
    canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    assert event.hash == hashlib.sha256(canonical).hexdigest()


async def test_events_are_paged_and_filtered(store: SqlStore) -> None:
    await store.append([make.event(f"test.n{n}", incident_id=f"i{n % 2}") for n in range(10)])
    page = await store.events(after=3, limit=2)
    assert [e.sequence for e in page] == [4, 5]
    odd = await store.events(incident_id="i1", after=4)
    assert [e.sequence for e in odd] == [6, 8, 10]


async def test_what_claims_to_be_numbered_is_numbered_anew(store: SqlStore) -> None:
    await store.append([make.event(sequence=77, hash="f" * 64, previous_hash="e" * 64)])
    (event,) = await store.events()
    assert (event.sequence, event.previous_hash) == (1, GENESIS_HASH)


async def test_odd_numbers_in_details_do_not_stop_the_record(store: SqlStore) -> None:
    await store.append([make.event(details={"big": 2**80, "nan": float("nan"), "small": -(2**80)})])
    (event,) = await store.events()
    assert event.details == {"big": str(2**80), "nan": None, "small": str(-(2**80))}
    assert (await store.verify_chain()).is_intact


async def test_concurrent_appends_make_one_chain(store: SqlStore, second_store: SqlStore) -> None:
    appends = [
        (store, second_store)[n % 2].append([make.event(f"test.{n}.{m}") for m in range(3)])
        for n in range(40)
    ]
    await asyncio.gather(*appends)
    report = await store.verify_chain()
    assert (report.is_intact, report.events) == (True, 120)
    kinds = [e.kind.rsplit(".", 1) for e in await store.events()]
    for start in range(0, 120, 3):
        assert len({name for name, _ in kinds[start : start + 3]}) == 1, "an append is one block"


async def test_checking_goes_on_while_others_append(store: SqlStore) -> None:
    await store.append([make.event() for _ in range(2_500)])

    async def append() -> None:
        for _ in range(20):
            await store.append([make.event()])

    reports = await asyncio.gather(store.verify_chain(), append(), store.verify_chain())
    assert all(report.is_intact for report in (reports[0], reports[2]))
    assert (await store.verify_chain()).events == 2_520


@pytest.mark.parametrize(
    ("statements", "broken_at", "reason"),
    [
        (["UPDATE audit SET body = replace(body, 'alice', 'eve')"], 1, "altered"),
        (["UPDATE audit SET hash = '00' WHERE sequence = 4"], 4, "altered"),
        (["DELETE FROM audit WHERE sequence = 4"], 4, "missing"),
        (["DELETE FROM audit WHERE sequence = 1"], 1, "missing"),
        (["DELETE FROM audit WHERE sequence >= 7"], 7, "missing"),
        (["DELETE FROM audit"], 1, "missing"),
        (["DELETE FROM audit_head"], 1, "not the event"),
        (["UPDATE audit_head SET events = 8"], 8, "not the event"),
        (["UPDATE audit SET incident_id = 'i9' WHERE sequence = 5"], 5, "another incident"),
        (
            ["UPDATE audit SET sequence = -1 WHERE sequence = 4",
             "UPDATE audit SET sequence = 4 WHERE sequence = 5",
             "UPDATE audit SET sequence = 5 WHERE sequence = -1"],
            4, "event 5, moved",
        ),
        (
            ["UPDATE audit SET body = (SELECT body FROM audit WHERE sequence = 2),"
             " hash = (SELECT hash FROM audit WHERE sequence = 2) WHERE sequence = 4"],
            4, "event 2, moved or copied",
        ),
        (
            ["INSERT INTO audit (sequence, incident_id, hash, body)"
             " SELECT 10, incident_id, hash, body FROM audit WHERE sequence = 9"],
            10, "added",
        ),
    ],
)  # fmt: skip
async def test_tampering_is_found_where_it_happened(
    store: SqlStore, statements: list[str], broken_at: int, reason: str
) -> None:
    await _filled(store)
    assert (await store.verify_chain()).is_intact
    await _tamper(store, *statements)
    report = await store.verify_chain()
    assert (report.is_intact, report.broken_at) == (False, broken_at)
    assert reason in str(report.reason)


async def test_a_forged_event_with_a_right_hash_breaks_the_next_one(store: SqlStore) -> None:
    await _filled(store)
    event = (await store.events())[3]
    forged = event.model_copy(update={"actor": "user:mallory"})
    content = forged.model_dump(mode="json", exclude={"hash"})
    async with store._database.write() as connection:
        body = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        await _replace_body(connection, 4, body)
    report = await store.verify_chain()
    assert (report.is_intact, report.broken_at) == (False, 5)
    assert "one of the two" in str(report.reason)


async def test_a_forged_last_event_does_not_fit_the_head(store: SqlStore) -> None:
    await _filled(store)
    content = (await store.events())[-1].model_dump(mode="json", exclude={"hash"})
    content["summary"] = "nothing to see here"
    async with store._database.write() as connection:
        await _replace_body(connection, 9, orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
    report = await store.verify_chain()
    assert (report.is_intact, report.broken_at) == (False, 9)


async def test_an_event_that_is_no_json_is_reported_not_raised(store: SqlStore) -> None:
    await _filled(store)
    async with store._database.write() as connection:
        await _replace_body(connection, 4, b"\xe2\x98\x83 no json")
    report = await store.verify_chain()
    assert (report.is_intact, report.broken_at) == (False, 4)


async def test_events_can_be_any_valid_value(store: SqlStore) -> None:
    events = [AuditEvent(at=make.NOW, actor="", kind="", summary="")]
    await store.append(events)
    assert (await store.events())[0].actor == ""
