"""Spans of distributed traces, as OpenTelemetry defines them."""

from collections.abc import Mapping

from it_incident_response.domain.model import UtcTime, Value


class Span(Value):
    """One timed operation of one service; texts come from outside."""

    trace_id: str
    span_id: str
    parent_id: str | None = None
    service: str
    operation: str
    start: UtcTime
    duration_s: float
    is_error: bool = False
    error: str | None = None
    attributes: Mapping[str, str] = {}
