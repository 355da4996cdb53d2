"""Our own form, for anything that can write or post JSON: one object, a list, or one a line."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads.fields import (
    AHEAD_MAX,
    DIFF_MAX,
    LONG,
    Fields,
    decoded,
    moment,
)
from it_incident_response.integrations.change_payloads.naming import ServiceNames

CHANGES_MAX = 1000
"""Of one body."""
_KNOWN = frozenset(
    {"id", "what", "service", "host", "version", "at", "author", "summary", "link", "files", "diff"}
)


def read_generic(body: bytes, received_at: datetime, names: ServiceNames) -> Sequence[Change]:
    """Return the changes of a body; raises `InputRejected`, naming the item and the field."""
    found = []
    for number, item in enumerate(_items(body), start=1):
        if number > CHANGES_MAX:
            raise InputRejected(f"more than {CHANGES_MAX} changes", hint="send several bodies")
        try:
            found.append(read_one(item, received_at, names))
        except InputRejected as error:
            raise InputRejected(f"change {number}: {error.message}", hint=error.hint) from None
    return found


def _items(body: bytes) -> Iterator[Any]:
    text = body.strip()
    if text.startswith(b"{") and b"\n" in text:
        try:
            yield orjson.loads(text)  # one object over several lines
        except orjson.JSONDecodeError:
            yield from (decoded(line) for line in text.splitlines() if line.strip())
        return
    content = decoded(body)
    yield from content if isinstance(content, list) else [content]


def read_one(item: Any, received_at: datetime, names: ServiceNames) -> Change:
    """Return the change that one object states; raises `InputRejected`."""
    if not isinstance(item, dict):
        raise InputRejected("not a JSON object")
    unknown = sorted(str(name)[:40] for name in item.keys() - _KNOWN)
    if unknown:
        raise InputRejected(
            f"unknown field {unknown[0]!r}", hint=f"known are: {', '.join(sorted(_KNOWN))}"
        )
    fields = Fields(item)
    summary, version = fields.first_line("summary"), fields.text("version")
    what, entity = fields.text("what", limit=40) or "deploy", _entity(fields, names)
    if summary is None and version is None:
        raise InputRejected("neither summary nor version is given: nobody would know what it was")
    at = _at(item, fields, received_at)
    return Change(
        change_id=f"generic:{fields.text('id') or _digest(item, at)}",
        what=what,
        entity=entity,
        at=at,
        summary=(summary or f"{what} {entity.name if entity else ''} {version}")[:LONG],
        author=fields.text("author"),
        source="generic",
        version=version,
        link=fields.link("link"),
        files=tuple(fields.texts("files")),
        diff=fields.text("diff", limit=DIFF_MAX),
    )


def _entity(fields: Fields, names: ServiceNames) -> Entity | None:
    host = fields.text("host")
    if host is not None and fields.text("service") is None:
        return Entity(EntityKind.HOST, host)
    return names.entity(fields.text("service"))


def _at(item: dict[str, Any], fields: Fields, received_at: datetime) -> datetime:
    if item.get("at") is None:
        return received_at
    at = moment(item["at"])
    if at is None:
        raise InputRejected(
            "at is no time with a zone", hint='write for example "2026-01-31T12:00:00Z"'
        )
    if at > received_at + AHEAD_MAX:
        raise InputRejected(f"at is {at:%Y-%m-%dT%H:%M:%SZ}, which lies in the future")
    return at


def _digest(item: dict[str, Any], at: datetime) -> str:
    """Return an identity: the same content with the same time is the same change."""
    try:
        content = orjson.dumps({**item, "at": at.isoformat()}, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits
        content = repr(sorted(item.items())).encode()
    return sha256(content).hexdigest()[:32]
