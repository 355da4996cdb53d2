"""Reminders and escalations of a request that waits: when each is due, and that each is told once.

A notice is an event on the audit trail and a line in the log.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from it_incident_response.domain.approval import Approval, ApprovalStatus, Notice, NoticeKind
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import Value
from it_incident_response.errors import Conflict
from it_incident_response.ports import ApprovalStore

log = logging.getLogger(__name__)

ACTOR = "system:approvals"


class EscalateTo(Value):
    """Whom to tell when a request has waited for so long."""

    after_s: float
    to: str


class NoticeSettings(Value):
    """When to tell people again, in seconds after the request; each list ascending."""

    reminders_s: tuple[float, ...] = ()
    escalate: tuple[EscalateTo, ...] = ()


def due_notices(approval: Approval, now: datetime, settings: NoticeSettings) -> Sequence[Notice]:
    """Return the notices to send at `now`, the one due first at the beginning.

    None for a request that is decided or whose time is over. Of several reminders that nobody
    sent in time (we were down) only the last is sent; every escalation is, to its own recipient.
    """
    if not _waits(approval, now):
        return ()
    due = [notice for notice in _outstanding(approval, settings) if notice.at <= now]
    reminders = [n for n in due if n.kind is NoticeKind.REMINDED]
    kept = [n for n in due if n.kind is NoticeKind.ESCALATED or n is reminders[-1]]
    return tuple(notice.model_copy(update={"at": now}) for notice in kept)


def next_notice_at(approval: Approval, now: datetime, settings: NoticeSettings) -> datetime | None:
    """Return when the next notice is due (it may be in the past); None if none is left."""
    if not _waits(approval, now):
        return None
    times = (notice.at for notice in _outstanding(approval, settings))
    return min((at for at in times if at < approval.expires_at), default=None)


def is_exhausted(approval: Approval, now: datetime, settings: NoticeSettings) -> bool:
    """Tell whether everybody was told who is to be told, and still nobody decided."""
    has_any = bool(settings.reminders_s or settings.escalate)
    return has_any and _waits(approval, now) and next_notice_at(approval, now, settings) is None


class ApprovalNotices:
    """Sends what is due, each notice once, however many workers look at the same time."""

    def __init__(self, store: ApprovalStore, settings: NoticeSettings) -> None:
        self._store = store
        self._settings = settings

    async def send_due(self, incident_id: IncidentId, now: datetime) -> datetime | None:
        """Tell people what is due for the incident's pending request.

        Returns when to look again: at the next notice, or when the request expires; None if none
        is pending. Another worker that sends at the same moment is no error.
        """
        pending = await self._store.approvals(
            incident_id=incident_id, status=ApprovalStatus.PENDING
        )
        if not pending:
            return None
        approval = await self._told(pending[0], now)
        if approval.status is not ApprovalStatus.PENDING:
            return None
        following = next_notice_at(approval, now, self._settings)
        return min(following, approval.expires_at) if following else approval.expires_at

    async def _told(self, approval: Approval, now: datetime) -> Approval:
        """Return the request with the notices that are due on it, sent by us or by another."""
        notices = due_notices(approval, now, self._settings)
        if not notices:
            return approval
        told = approval.model_copy(update={"notices": (*approval.notices, *notices)})
        events = [_event(told, notice) for notice in notices]
        try:
            await self._store.note_on_approval(told, events, expected=approval)
        except Conflict:
            # Another worker told people, or somebody decided: what is stored now counts.
            return await self._store.approval(approval.id)
        for event in events:
            self._announce(event)
        return told

    def _announce(self, event: AuditEvent) -> None:
        """Tell people; the one place where a notifier has to be called once there is one."""
        log.warning("%s (incident %s)", event.summary, event.incident_id)


def _waits(approval: Approval, now: datetime) -> bool:
    return approval.status is ApprovalStatus.PENDING and now < approval.expires_at


def _outstanding(approval: Approval, settings: NoticeSettings) -> list[Notice]:
    """Return the notices not sent yet, the one due first at the beginning."""
    last = {kind: 0 for kind in NoticeKind}
    for notice in approval.notices:
        last[notice.kind] = max(last[notice.kind], notice.number)
    left = [notice for notice in _all_of(approval, settings) if notice.number > last[notice.kind]]
    return sorted(left, key=lambda notice: notice.at)


def _all_of(approval: Approval, settings: NoticeSettings) -> Iterator[Notice]:
    """Yield every notice with the time at which it is due."""
    for number, after_s in enumerate(settings.reminders_s, start=1):
        at = approval.requested_at + timedelta(seconds=after_s)
        yield Notice(kind=NoticeKind.REMINDED, number=number, at=at)
    for number, step in enumerate(settings.escalate, start=1):
        at = approval.requested_at + timedelta(seconds=step.after_s)
        yield Notice(kind=NoticeKind.ESCALATED, number=number, at=at, to=step.to)


def _event(approval: Approval, notice: Notice) -> AuditEvent:
    waited = _span(notice.at - approval.requested_at)
    if notice.kind is NoticeKind.ESCALATED:
        summary = f"plan {approval.plan_id} has waited {waited} for approval: told {notice.to}"
    else:
        summary = f"plan {approval.plan_id} has waited {waited} for approval"
    return AuditEvent(
        at=notice.at,
        actor=ACTOR,
        kind=f"approval.{notice.kind}",
        incident_id=approval.incident_id,
        summary=f"{summary}; denied at {approval.expires_at:%Y-%m-%d %H:%M:%SZ}",
        details={
            "approval": approval.id,
            "plan": approval.plan_id,
            "digest": approval.plan_digest,
            "number": notice.number,
            "to": notice.to,
        },
    )


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
