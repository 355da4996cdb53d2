"""Values to JSON text and back; text from outside made fit for every database.

JSON escapes NUL, so a value with NUL round-trips in both databases. A lone surrogate is no
character and cannot be stored in either: it becomes U+FFFD. In key columns, which hold plain text,
NUL becomes U+FFFD as well, since PostgreSQL refuses it.
"""

from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.errors import StoreUnavailable

V = TypeVar("V", bound=Value)

_INTEGER_MAX = 2**63 - 1
_MOMENTS = TypeAdapter(tuple[UtcTime, ...])


def dump(value: Value) -> str:
    """Return the value as JSON text."""
    try:
        return value.model_dump_json()
    except PydanticSerializationError:
        return canonical(value.model_dump()).decode()


def load(model: type[V], text: str) -> V:
    """Return the value in `text`; raises `StoreUnavailable` if it is damaged."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise StoreUnavailable(
            f"a stored {model.__name__} cannot be read: {error.error_count()} fields do not fit",
            hint="the row was changed by hand or is damaged: restore the database from a backup",
        ) from error


def dump_moments(moments: tuple[datetime, ...]) -> str:
    """Return times as a JSON list."""
    return _MOMENTS.dump_json(moments).decode()


def load_moments(text: str) -> tuple[datetime, ...]:
    """Return the times in a JSON list."""
    return _MOMENTS.validate_json(text)


def canonical(content: dict[str, Any]) -> bytes:
    """Return the one JSON form that is hashed: sorted keys, no spaces, UTF-8.

    An integer beyond 64 bits is written as text, since not every JSON reader takes it.
    """
    plain = to_jsonable_python(_storable(content))
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def key_text(text: str) -> str:
    """Return `text` as every database can hold it in a column."""
    if text.isascii() and "\0" not in text:
        return text
    return _without_surrogates(text).replace("\0", "\ufffd")


def _storable(part: Any) -> Any:
    if isinstance(part, str):
        return part if part.isascii() else _without_surrogates(part)
    if isinstance(part, dict):
        return {_storable(name): _storable(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple | set | frozenset):
        return [_storable(inner) for inner in part]
    if isinstance(part, int) and abs(part) > _INTEGER_MAX:
        return str(part)
    return part


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
