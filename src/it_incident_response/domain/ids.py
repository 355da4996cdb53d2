"""Time-ordered ids (UUIDv7, RFC 9562) and the short incident key that people say aloud."""

import re
from datetime import datetime
from typing import NewType

import uuid_utils

IncidentId = NewType("IncidentId", str)
"""UUIDv7 of an incident, in its canonical text form."""

_KEY = re.compile(r"INC-(\d{6,})")


def new_id(now: datetime) -> str:
    """Return a new UUIDv7 whose time part is `now`, so that ids sort by creation."""
    seconds = int(now.timestamp())
    nanoseconds = seconds * 1_000_000_000 + now.microsecond * 1000
    return str(uuid_utils.uuid7(nanoseconds=nanoseconds))


def incident_key(number: int) -> str:
    """Return the readable key of the `number`-th incident: 123 -> `INC-000123`."""
    if number < 1:
        raise ValueError(f"incident numbers start at 1, not {number}")
    return f"INC-{number:06d}"


def parse_incident_key(text: str) -> int | None:
    """Return the number in `INC-000123` (case-insensitive), or None if it is not such a key."""
    match = _KEY.fullmatch(text.strip().upper())
    return int(match[1]) if match else None
