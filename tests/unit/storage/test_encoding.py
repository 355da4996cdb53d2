"""JSON text: any value goes in and comes out the same, whatever text it holds."""

import json
from datetime import datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.evidence import Evidence
from it_incident_response.errors import StoreUnavailable
from it_incident_response.storage import encoding
from tests.contracts import store_fixtures as make

UNHURRIED = settings(deadline=None, max_examples=60)
"""A busy machine is no failure."""
TEXT = st.text(max_size=60)
ANY_TEXT = st.text(alphabet=st.characters(), max_size=60)
"""With lone surrogates, which no encoder takes."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@UNHURRIED
@given(TEXT, st.dictionaries(TEXT, TEXT, max_size=5))
def test_text_comes_back_unchanged(title: str, labels: dict[str, str]) -> None:
    one = make.alert().model_copy(update={"name": title, "labels": labels})
    assert encoding.load(Alert, encoding.dump(one)) == one


@UNHURRIED
@given(st.floats(allow_nan=False))
def test_every_number_comes_back_unchanged(number: float) -> None:
    seen = make.evidence(make.incident(1))
    seen = seen.model_copy(update={"finding": seen.finding.model_copy(update={"effect": number})})
    assert encoding.load(Evidence, encoding.dump(seen)) == seen


@UNHURRIED
@given(ANY_TEXT)
def test_lone_surrogates_become_replacement_characters(text: str) -> None:
    stored = encoding.dump(make.incident(1).model_copy(update={"title": text}))
    title = json.loads(stored)["title"]
    title.encode()
    if not any(0xD800 <= ord(character) < 0xE000 for character in text):
        assert title == text


@UNHURRIED
@given(ANY_TEXT)
def test_a_key_can_be_held_by_every_database(text: str) -> None:
    key = encoding.key_text(text)
    assert "\0" not in key.encode().decode()
    assert encoding.key_text(key) == key


@UNHURRIED
@given(st.dictionaries(ANY_TEXT, JSON, max_size=5))
def test_canonical_form_does_not_depend_on_the_order_of_keys(details: dict[str, object]) -> None:
    def of(content: dict[str, object]) -> bytes:
        event = make.event().model_copy(update={"details": content})
        return encoding.canonical(event.model_dump())

    once = of(details)
    assert of(dict(reversed(list(details.items())))) == once or _collides(details)
    event = encoding.load(AuditEvent, once.decode())
    assert encoding.canonical(event.model_dump()) == once, "reading and writing changes nothing"
    assert once == orjson.dumps(orjson.loads(once), option=orjson.OPT_SORT_KEYS)


def _collides(details: dict[str, object]) -> bool:
    """True if two keys differ only in what is replaced."""
    return len({encoding._storable(name) for name in details}) < len(details)


def test_a_damaged_row_is_an_error_of_the_store_not_a_traceback() -> None:
    for text in ("", "{", '{"fingerprint": 1}', "[]"):
        with pytest.raises(StoreUnavailable, match="stored Alert"):
            encoding.load(Alert, text)


@UNHURRIED
@given(st.lists(st.datetimes(), max_size=20))
def test_moments_come_back_unchanged(moments: list[datetime]) -> None:
    aware = tuple(moment.replace(tzinfo=make.NOW.tzinfo) for moment in moments)
    assert encoding.load_moments(encoding.dump_moments(aware)) == aware
