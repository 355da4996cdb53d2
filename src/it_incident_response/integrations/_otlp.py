"""Spans out of OTLP-JSON, as OpenTelemetry's protocol defines it for HTTP and files."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from it_incident_response.domain.trace import Span

TEXT_MAX = 2_000
ATTRIBUTES_MAX = 50
_ERROR = ("STATUS_CODE_ERROR", 2, "2")


def spans_of_otlp(document: Any) -> Iterator[Span]:
    """Yield the spans of one document, leaving out what is none.

    Ids may be hex, as OTLP-JSON says, or base64, as plain protobuf-JSON has them.
    """
    found = document if isinstance(document, Mapping) else {}
    found = found.get("trace") or found.get("result") or found
    for resource in _list(found, "resourceSpans") or _list(found, "batches"):
        service = _attributes(resource.get("resource")).get("service.name", "unknown")
        scopes = _list(resource, "scopeSpans") or _list(resource, "instrumentationLibrarySpans")
        for scope in scopes:
            for raw in _list(scope, "spans"):
                span = _span(raw, service)
                if span is not None:
                    yield span


def _span(raw: Mapping[str, Any], service: str) -> Span | None:
    trace, own = _id(raw.get("traceId"), 16), _id(raw.get("spanId"), 8)
    start, end = _nanos(raw.get("startTimeUnixNano")), _nanos(raw.get("endTimeUnixNano"))
    if trace is None or own is None or start is None:
        return None
    told = raw.get("status")
    status: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    is_error = status.get("code") in _ERROR
    return Span(
        trace_id=trace,
        span_id=own,
        parent_id=_id(raw.get("parentSpanId"), 8),
        service=service[:TEXT_MAX],
        operation=str(raw.get("name") or "")[:TEXT_MAX],
        start=datetime.fromtimestamp(start / 1e9, UTC),
        duration_s=max(0.0, ((end or start) - start) / 1e9),
        is_error=is_error,
        error=_error(raw, status) if is_error else None,
        attributes=_attributes(raw),
    )


def _error(raw: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    for event in _list(raw, "events"):
        told = _attributes(event)
        if event.get("name") == "exception" and told:
            kind, text = told.get("exception.type", ""), told.get("exception.message", "")
            return f"{kind}: {text}".strip(": ")[:TEXT_MAX] or None
    return str(status.get("message") or "")[:TEXT_MAX] or None


def _attributes(owner: Any) -> dict[str, str]:
    found = {}
    for item in _list(owner, "attributes")[:ATTRIBUTES_MAX]:
        value = item.get("value")
        plain = next(iter(value.values()), None) if isinstance(value, Mapping) else value
        if isinstance(plain, str | int | float | bool):
            found[str(item.get("key"))[:200]] = str(plain)[:TEXT_MAX]
    return found


def _list(owner: Any, name: str) -> list[Mapping[str, Any]]:
    value = owner.get(name) if isinstance(owner, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _id(value: Any, size: int) -> str | None:
    """Return an id in hex; None for none, zero, or nonsense."""
    if not isinstance(value, str) or not value:
        return None
    is_hex = len(value) == 2 * size
    try:
        raw = bytes.fromhex(value) if is_hex else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw.hex() if any(raw) and len(raw) <= size else None


def _nanos(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    # Beyond the year 2100 it is no time of a span.
    return number if 0 < number < 4_102_444_800_000_000_000 else None
