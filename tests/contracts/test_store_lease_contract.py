"""What every store promises of posts of which there is one: by lease, with a token that rises."""

import asyncio

import pytest

from it_incident_response.ports.store import Lease, Store
from tests.contracts.store_fixtures import NOW, after


async def _hold(store: Store, holder: str, at: float, until: float, detail: str = "") -> Lease:
    return await store.hold_lease(
        "engine", holder=holder, now=after(at), until=after(until), detail=detail
    )


async def test_a_post_has_one_holder_until_it_lapses(store: Store, second_store: Store) -> None:
    assert await store.lease("engine") is None
    first = await _hold(store, "one", 0, 30, "127.0.0.1:7233")
    assert (first.holder, first.until, first.detail) == ("one", after(30), "127.0.0.1:7233")
    assert await _hold(second_store, "two", 29.999, 60) == first, "who has it, not who asked"
    assert await second_store.lease("engine") == first
    taken = await _hold(second_store, "two", 30, 60, "other")
    assert (taken.holder, taken.detail) == ("two", "other")
    assert taken.token > first.token
    assert await _hold(store, "one", 31, 90) == taken


async def test_the_holder_prolongs_its_own_under_the_same_token(store: Store) -> None:
    first = await _hold(store, "one", 0, 30)
    again = await _hold(store, "one", 20, 50, "moved")
    assert (again.token, again.until, again.detail) == (first.token, after(50), "moved")
    assert await _hold(store, "two", 40, 99) == again
    late = await _hold(store, "one", 60, 90)
    assert late.token == first.token, "nobody else had it in between"


async def test_the_token_rises_with_every_change_of_holder(store: Store) -> None:
    tokens = []
    for turn in range(6):
        held = await _hold(store, f"holder-{turn % 2}", turn * 10, turn * 10 + 5)
        tokens.append(held.token)
        if turn % 3 == 0:
            await store.drop_lease("engine", holder=held.holder)
    assert tokens == sorted(set(tokens))


async def test_a_post_that_was_given_back_is_free_at_once(store: Store) -> None:
    first = await _hold(store, "one", 0, 30)
    await store.drop_lease("engine", holder="two")
    assert await store.lease("engine") == first, "only its holder gives it back"
    await store.drop_lease("engine", holder="one")
    assert await store.lease("engine") is None
    assert (await _hold(store, "two", 1, 30)).token > first.token
    await store.drop_lease("never taken", holder="one")


async def test_a_lapsed_post_still_says_who_had_it(store: Store) -> None:
    first = await _hold(store, "one", -60, -30)
    assert await store.lease("engine") == first


async def test_posts_of_other_names_are_other_posts(store: Store) -> None:
    engine = await _hold(store, "one", 0, 30)
    other = await store.hold_lease("dispatcher", holder="two", now=NOW, until=after(30))
    assert (engine.holder, other.holder) == ("one", "two")


async def test_of_many_who_want_the_post_one_has_it(store: Store, second_store: Store) -> None:
    answers = await asyncio.gather(
        *(_hold((store, second_store)[n % 2], f"h{n}", 0, 30) for n in range(12))
    )
    assert len({answer.holder for answer in answers}) == 1
    assert {answer.token for answer in answers} == {1}


@pytest.mark.parametrize("text", ["\0", "\ud800", "Ω 'quoted'"])
async def test_any_text_is_a_detail(store: Store, text: str) -> None:
    await _hold(store, "one", 0, 30, text)
    held = await store.lease("engine")
    assert held is not None
    assert held.detail == text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")
