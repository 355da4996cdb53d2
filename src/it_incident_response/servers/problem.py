"""Errors as RFC 9457 problem documents; the log gets no content of the request."""

from http import HTTPStatus

import orjson
from starlette.responses import Response

_TEXT_MAX = 500


class Refusal(Exception):
    """Ends a request with a 4xx or 5xx answer."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        hint: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = headers or {}


def problem_response(refusal: Refusal) -> Response:
    """Return the answer for a refusal."""
    document = {
        "type": "about:blank",
        "title": refusal.status.phrase,
        "status": int(refusal.status),
        "detail": refusal.detail[:_TEXT_MAX],
    }
    if refusal.hint:
        document["hint"] = refusal.hint[:_TEXT_MAX]
    return Response(
        orjson.dumps(document),
        status_code=int(refusal.status),
        media_type="application/problem+json",
        headers=refusal.headers,
    )
