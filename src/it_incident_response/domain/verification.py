"""Verification: whether the fix worked, by measurement."""

from enum import StrEnum

from it_incident_response.domain.action import Check
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value


class VerificationResult(StrEnum):
    """How a verification ended; only `verified` counts as success."""

    VERIFIED = "verified"
    FAILED = "failed"
    UNVERIFIABLE = "unverifiable"


class CheckReading(Value):
    """One check with what was seen; `holds` is None if it could not be measured."""

    check: Check
    holds: bool | None
    detail: str
    query: str | None = None
    at: UtcTime


class Verification(Value):
    """The outcome of checking a plan's effect over the soak time."""

    id: str
    incident_id: IncidentId
    plan_id: str
    result: VerificationResult
    started_at: UtcTime
    ended_at: UtcTime
    soak_s: float
    readings: tuple[CheckReading, ...] = ()
    reason: str
