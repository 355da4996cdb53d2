"""Turns HTTP answers into JSON or into errors that say who failed, on what and what to do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from it_incident_response.errors import (
    ConnectorError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)

SAID_LENGTH_MAX = 300
"""Characters of a server's own message that are shown."""
_RETRY_LATER = frozenset({408, 425, 429})
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\u1fff\u2c00-\ud7ff\uf900-\ufffd]+")
_HINTS = {
    400: "the request is at fault; the message above is the server's own",
    401: "give the connector a bearer_token, or username and password",
    403: "these credentials may not do this: ask whoever runs the system",
    404: "is the URL right, including a path prefix?",
    405: "is the URL right, including a path prefix?",
}
_HTML_HINT = "a web page answers where an API should: check the URL, a proxy or a login in between"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class HttpReply:
    """An answer, read completely."""

    request: str
    """Method and path, for messages; never the query, which may be long."""
    status: int
    headers: Mapping[str, str]
    body: bytes


class ReplyReader:
    """Judges the answers of one system; keeps its secrets out of every message."""

    def __init__(self, connector: str, secrets: tuple[str, ...]) -> None:
        self.connector = connector
        self._secrets = tuple(sorted((s for s in secrets if len(s) >= 3), key=len, reverse=True))

    def scrub(self, text: str) -> str:
        """Return text from outside fit for a message: no secret, one line, bounded."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        line = _NOT_PRINTABLE.sub(" ", text).strip()
        return line if len(line) <= SAID_LENGTH_MAX else f"{line[:SAID_LENGTH_MAX]}..."

    def json(self, reply: HttpReply, now: datetime) -> Any:
        """Return the JSON of a successful answer; raises the `ConnectorError` that it means."""
        self.require_success(reply, now)
        return self.decoded(reply)

    def require_success(self, reply: HttpReply, now: datetime) -> None:
        """Raise the `ConnectorError` that an unsuccessful answer means."""
        if not 200 <= reply.status < 300:
            raise self._refusal(reply, now)

    def decoded(self, reply: HttpReply) -> Any:
        """Return the JSON of an answer, None if it is empty; raises `ConnectorReplyInvalid`."""
        if not reply.body.strip():
            return None
        try:
            return orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise self._no_json(reply, error) from None

    def read(self, reply: Any, model: type[M], what: str) -> M:
        """Return decoded JSON as a wire model; raises `ConnectorReplyInvalid` naming the field."""
        try:
            return model.model_validate(reply)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the reply"
            raise ConnectorReplyInvalid(
                self.connector,
                self.scrub(f"{what} has an unexpected shape: {where}: {first['msg']}"),
                hint="is the URL that of this kind of system, in a supported version?",
            ) from None

    def _refusal(self, reply: HttpReply, now: datetime) -> ConnectorError:
        said = self._said(reply)
        message = f"{reply.request} answered {reply.status}{f': {said}' if said else ''}"
        if reply.status in _RETRY_LATER or reply.status >= 500:
            error = ConnectorUnavailable(self.connector, message, hint="it may work again shortly")
            error.retry_after_s = retry_after_s(reply.headers.get("retry-after"), now)
            return error
        if 300 <= reply.status < 400:
            refused = self._redirected(reply)
        else:
            hint = _HINTS.get(reply.status)
            refused = ConnectorRejected(self.connector, message, hint=hint)
        refused.status = reply.status
        return refused

    def _redirected(self, reply: HttpReply) -> ConnectorRejected:
        target = self.scrub(re.sub(r"//[^/@]*@", "//", reply.headers.get("location", "?")))
        return ConnectorRejected(
            self.connector,
            f"{reply.request} is redirected ({reply.status}) to {target}",
            hint="redirects are not followed, they could lead credentials astray: "
            "configure the final URL",
        )

    def _said(self, reply: HttpReply) -> str:
        """Return the server's own explanation; a web page explains nothing."""
        if _is_html(reply):
            return "a web page"
        try:
            content = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            return self.scrub(reply.body[: SAID_LENGTH_MAX * 4].decode(errors="replace"))
        if isinstance(content, Mapping):
            for key in ("error", "message", "detail"):
                if said := _reason(content.get(key)):
                    return self.scrub(said)
        return self.scrub(content if isinstance(content, str) else "")

    def _no_json(self, reply: HttpReply, error: ValueError) -> ConnectorReplyInvalid:
        if _is_html(reply):
            problem, hint = "answered with a web page instead of JSON", _HTML_HINT
        else:
            problem = f"answered with broken or truncated JSON ({len(reply.body)} bytes): {error}"
            hint = "check the URL, and any proxy that may cut answers short"
        return ConnectorReplyInvalid(
            self.connector, self.scrub(f"{reply.request} {problem}"), hint=hint
        )


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` header: a number or an HTTP date (RFC 9110 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - now).total_seconds()) if moment.tzinfo else None


def _reason(said: Any) -> str:
    """Return the text of an error, or that of the first root cause as Elasticsearch nests it."""
    if isinstance(said, Mapping):
        causes = said.get("root_cause")
        first = causes[0] if isinstance(causes, list) and causes else None
        said = next(
            (
                text
                for place in (first, said)
                if isinstance(place, Mapping)
                for key in ("reason", "type", "message")
                if (text := place.get(key))
            ),
            "",
        )
    return said if isinstance(said, str) else ""


def _is_html(reply: HttpReply) -> bool:
    declared = reply.headers.get("content-type", "").startswith("text/html")
    return declared or reply.body[:64].lstrip().startswith(b"<")
