"""What every store promises of changes: told twice is told once; old ones are removed."""

import pytest

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.ports.store import Store
from it_incident_response.storage import changes as stored_changes
from tests.contracts.store_fixtures import NOW, after

SHOP = Entity(EntityKind.SERVICE, "checkout")


def _change(number: int, at: float, **fields: object) -> Change:
    given = {"what": "deploy", "entity": SHOP, "summary": f"checkout {number}", "at": after(at)}
    return Change.model_validate({"change_id": f"github:{number}", **given, **fields})


async def test_changes_are_found_by_when_they_were_made(store: Store) -> None:
    first, second, third = (_change(n, 10.0 * n) for n in (1, 2, 3))
    await store.add_changes([third, first, second], after(100))
    window = TimeWindow(start=after(10), end=after(30))
    assert await store.changes_within(window) == [first, second], "the end is excluded"
    assert await store.changes_within(window, limit=1) == [second], "of more the newest"
    assert await store.recent_changes(2) == [third, second]


async def test_telling_again_changes_nothing_and_the_latest_word_stays(store: Store) -> None:
    begun, done = _change(1, 10, summary="begun"), _change(1, 20, summary="done")
    await store.add_changes([begun], NOW)
    await store.add_changes([done], NOW)
    assert await store.recent_changes() == [done]
    await store.add_changes([begun], NOW)
    assert await store.recent_changes() == [done], "a late delivery does not undo a newer one"
    await store.add_changes([begun, done, done], NOW)
    assert await store.recent_changes() == [done]


async def test_a_repeated_delivery_keeps_the_time_of_the_first(store: Store) -> None:
    first = _change(1, 10)
    await store.add_changes([first], NOW)
    await store.add_changes([_change(1, 500), _change(2, 500)], after(500))
    assert first in await store.recent_changes()
    assert len(await store.recent_changes()) == 2


async def test_text_that_databases_dislike_comes_back(store: Store) -> None:
    odd = _change(1, 0, change_id="a\0b\N{SNOWMAN}", summary="x\0'; DROP TABLE changes; --\u202e")
    await store.add_changes([odd], NOW)
    assert await store.recent_changes() == [odd]
    await store.add_changes([], NOW)


async def _prune(store: Store, *, before: float, dry_run: bool = False) -> int:
    report = await store.prune(
        older_than=after(before), max_bytes=None, now=after(1000), dry_run=dry_run
    )
    return report.changes


async def test_old_changes_go_by_when_they_were_received(store: Store) -> None:
    await store.add_changes([_change(1, 500)], after(1))
    await store.add_changes([_change(2, 0)], after(50))
    assert await _prune(store, before=10, dry_run=True) == 1
    assert len(await store.recent_changes()) == 2
    assert await _prune(store, before=10) == 1
    assert [change.change_id for change in await store.recent_changes()] == ["github:2"]
    assert [e.details["changes"] for e in await store.events()] == [1]
    assert await _prune(store, before=10) == 0


async def test_no_more_than_a_bound_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_changes, "CHANGES_KEPT", 3)
    for number in range(6):
        await store.add_changes([_change(number, number)], after(number))
    assert await _prune(store, before=-10) == 3
    kept = [change.change_id for change in await store.recent_changes()]
    assert kept == ["github:5", "github:4", "github:3"]
