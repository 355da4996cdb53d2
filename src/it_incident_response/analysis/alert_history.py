"""Judges a report about a known alert: news, repetition or late delivery; and flapping."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

from it_incident_response.analysis.correlation_settings import CorrelationSettings
from it_incident_response.domain.alert import Alert
from it_incident_response.ports.store import KnownAlert

CHANGES_MAX = 20
CLOCKS_APART = timedelta(minutes=10)
"""How far apart the clocks of two receivers may be without one of them being plainly wrong."""


class Report(Enum):
    """What a report about an alert that is already stored means."""

    REPEATED = "repeated"
    FIRED_AGAIN = "fired_again"
    RESOLVED = "resolved"
    LATE = "late"
    """It tells of an older state than the one stored and must not undo it."""


def judge(stored: Alert, reported: Alert, settings: CorrelationSettings) -> Report:
    """Say what `reported` means for the alert stored as `stored`.

    An episode is named by its start, which Prometheus keeps while the alert fires. Alertmanager
    moves it back when it merges what two Prometheis say, so a resolution that ends after the
    stored start belongs to the stored episode.
    """
    if reported.is_firing:
        return _judge_firing(stored, reported, settings)
    ended = reported.ends_at or reported.received_at
    if reported.starts_at < stored.starts_at and ended < stored.starts_at:
        return Report.LATE
    return Report.RESOLVED if stored.is_firing else Report.REPEATED


def _judge_firing(stored: Alert, reported: Alert, settings: CorrelationSettings) -> Report:
    if stored.is_firing:
        # A later start means that it ceased and fired again between two deliveries; the number
        # of firing alerts does not change, so it is a repetition with newer text.
        return Report.REPEATED if reported.starts_at >= stored.starts_at else Report.LATE
    if reported.starts_at < stored.starts_at:
        return Report.LATE
    if reported.starts_at > stored.starts_at:
        return Report.FIRED_AGAIN
    # By our clock, not the sender's, which may be wrong; only one of ours that was set back, or is
    # far behind another receiver's, can have taken this in so long before what it follows.
    waited = reported.received_at - stored.received_at
    late = timedelta(seconds=settings.late_delivery_s)
    return Report.LATE if -CLOCKS_APART <= waited <= late else Report.FIRED_AGAIN


def with_change(known: KnownAlert, reported: Alert) -> tuple[datetime, ...]:
    """Return the times of change with the one that `reported` tells of, the last 20."""
    moment = reported.starts_at if reported.is_firing else reported.ends_at
    times = sorted({*known.changes, moment or reported.received_at})
    return tuple(times[-CHANGES_MAX:])


def is_flapping(changes: Sequence[datetime], now: datetime, settings: CorrelationSettings) -> bool:
    """Return whether an alert with these times of change flaps."""
    since = now - timedelta(seconds=settings.flap_window_s)
    return sum(moment > since for moment in changes) >= settings.flap_changes
