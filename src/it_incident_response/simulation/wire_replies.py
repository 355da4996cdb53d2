"""What the wire depth's handlers share: bounded parameters, JSON replies, timestamps."""

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

BODY_BYTES_MAX = 1_000_000


class BadRequest(ValueError):
    """The request cannot be understood; the text says why."""


class Json(Response):
    """A JSON reply."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(orjson.dumps(content), status_code)


async def body(request: Request) -> bytes:
    """Return the body; raises `BadRequest` above `BODY_BYTES_MAX`."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > BODY_BYTES_MAX:
            raise BadRequest(f"the body is larger than {BODY_BYTES_MAX} bytes")
    return bytes(read)


async def parameters(request: Request) -> ImmutableMultiDict[str, str]:
    """Return the parameters of the address and, of a POST, of the form in its body."""
    from urllib.parse import parse_qsl

    pairs = request.query_params.multi_items()
    if request.method == "POST":
        try:
            text = (await body(request)).decode()
            pairs += parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
        except ValueError as error:
            raise BadRequest(f"the form cannot be read: {error}") from error
    return ImmutableMultiDict(pairs)


def timestamp(moment: datetime) -> str:
    """Return a time as Prometheus and Alertmanager write it: RFC 3339, UTC, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
