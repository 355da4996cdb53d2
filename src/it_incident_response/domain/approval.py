"""Approval: a person's decision on exactly one plan."""

from enum import StrEnum

from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value


class ApprovalStatus(StrEnum):
    """Where a request for approval stands; everything but `approved` means: do not act."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    VOIDED = "voided"
    """The plan changed, or the incident ended, before anybody decided or acted."""


class NoticeKind(StrEnum):
    """Why people were told again that a request waits."""

    REMINDED = "reminded"
    ESCALATED = "escalated"


class Notice(Value):
    """People were told again that a request still waits."""

    kind: NoticeKind
    number: int
    """Which one of its kind, from 1; those before it that nobody sent in time are left out."""
    at: UtcTime
    to: str | None = None
    """Whom it was escalated to; None for a reminder: whoever may decide."""


class Approval(Value):
    """A request to run one plan, and the decision on it."""

    id: str
    incident_id: IncidentId
    plan_id: str
    plan_digest: str
    requested_at: UtcTime
    requested_by: str
    expires_at: UtcTime
    status: ApprovalStatus = ApprovalStatus.PENDING
    decided_at: UtcTime | None = None
    decided_by: str | None = None
    decided_via: str | None = None
    """cli, policy, facade..."""
    reason: str | None = None
    notices: tuple[Notice, ...] = ()
    """Reminders and escalations so far, oldest first."""
