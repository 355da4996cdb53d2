"""Takes apart what Splunk's SDK hands over: pages, exports, errors, the state of a job."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import orjson

from it_incident_response.errors import ConnectorRejected
from it_incident_response.integrations._splunk_rows import Row, Rows, one_line
from it_incident_response.integrations._splunk_settings import NAME
from it_incident_response.integrations._splunk_transport import Stream

if TYPE_CHECKING:
    from splunklib.binding import HTTPError
    from splunklib.client import Job

Scrub = Callable[[str], str]
"""Makes a text from Splunk fit for a message."""


def whole(body: bytes, scrub: Scrub) -> Rows:
    """Return the rows of a page; raises `ConnectorRejected` if it says that the search failed."""
    found = Rows()
    found.take(body)
    _refuse_failed(found, scrub)
    return found


def streamed(stream: Stream, rows_max: int, scrub: Scrub) -> Rows:
    """Return the rows of an export, at most `rows_max` unless that is 0."""
    found = Rows()
    try:
        for line in stream.lines():
            found.take(line)
            _refuse_failed(found, scrub)
            if rows_max and len(found.rows) >= rows_max:
                found.is_cut = True
                break
    finally:
        stream.close()
    return found


def exported(stream: Stream, rows_max: int, scrub: Scrub) -> Iterator[Row]:
    """Yield rows as they come; nothing is kept but the one that is read."""
    count = 0
    try:
        for line in stream.lines():
            found = Rows()
            found.take(line)
            _refuse_failed(found, scrub)
            for row in found.rows:
                yield row
                count += 1
                if count == rows_max:
                    return
    finally:
        stream.close()


def _refuse_failed(found: Rows, scrub: Scrub) -> None:
    if found.fatal:
        raise ConnectorRejected(NAME, scrub(f"search failed: {found.fatal}"))


def said(error: "HTTPError") -> str:
    """Return Splunk's own words: JSON or XML, whichever the request asked for."""
    from xml.etree.ElementTree import XML

    try:
        content = orjson.loads(error.body)
    except orjson.JSONDecodeError:
        try:
            texts = [node.text for node in XML(error.body).iter("msg")]
        except ParseError:
            return ""
        return "; ".join(text for text in texts if text)
    messages = content.get("messages") if isinstance(content, dict) else None
    if not isinstance(messages, list):
        return ""
    return "; ".join(str(m.get("text")) for m in messages if isinstance(m, dict) and m.get("text"))


def job_messages(job: "Job") -> list[tuple[str, str]]:
    """Return what Splunk notes at the job: by kind, one text or several."""
    given = job.content.get("messages")
    if not isinstance(given, Mapping):
        return []
    return [
        (str(kind).upper(), one_line(str(text)))
        for kind, texts in given.items()
        for text in (texts if isinstance(texts, list) else [texts])
        if text
    ]


def flag(job: "Job", name: str) -> bool:
    """Return what a job says of itself by 0 and 1."""
    return str(job.content.get(name, "0")).lower() in ("1", "true")
