"""Correlation when the clocks of senders, and of our own receivers, are wrong."""

from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.analysis.alert_history import Report, judge
from it_incident_response.analysis.correlation import CorrelationSettings, correlate
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.labels import make_alert
from it_incident_response.domain.topology import Topology
from it_incident_response.ports import KnownAlert

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = CorrelationSettings()
HOURS_OFF = [timedelta(hours=h) for h in (-2, -1, 0, 1, 2)]


def alert(
    name: str = "Down", *, began: float, ended: float | None = None, **fields: object
) -> Alert:
    """An alert about web-1; `began` and `ended` in seconds on the sender's clock."""
    off = fields.get("off", timedelta(0))
    assert isinstance(off, timedelta)
    return make_alert(
        labels={"alertname": name, "instance": "web-1:9100"},
        annotations={},
        status=AlertStatus.FIRING if ended is None else AlertStatus.RESOLVED,
        starts_at=NOW + off + timedelta(seconds=began),
        ends_at=None if ended is None else NOW + off + timedelta(seconds=ended),
        received_at=NOW + timedelta(seconds=float(str(fields.get("received", began)))),
        source="test",
    )


@pytest.mark.parametrize("off", HOURS_OFF)
def test_a_late_delivery_is_late_whatever_the_senders_clock_shows(off: timedelta) -> None:
    resolved = alert(began=0, ended=60, received=70, off=off)
    again = alert(began=0, received=80, off=off)
    assert judge(resolved, again, SETTINGS) is Report.LATE


@pytest.mark.parametrize("off", HOURS_OFF)
def test_what_still_fires_later_fires_again_whatever_the_senders_clock_shows(
    off: timedelta,
) -> None:
    resolved = alert(began=0, ended=60, received=70, off=off)
    again = alert(began=0, received=70 + SETTINGS.late_delivery_s + 1, off=off)
    assert judge(resolved, again, SETTINGS) is Report.FIRED_AGAIN


@pytest.mark.parametrize(("ahead_s", "report"), [(-300, Report.LATE), (-3600, Report.FIRED_AGAIN)])
def test_receivers_minutes_apart_are_allowed_for_and_a_clock_set_back_hides_nothing(
    ahead_s: float, report: Report
) -> None:
    """The firing was taken in after the resolution, by a clock that shows less."""
    resolved = alert(began=0, ended=60, received=70)
    assert judge(resolved, alert(began=0, received=70 + ahead_s), SETTINGS) is report


@pytest.mark.parametrize("off", HOURS_OFF)
def test_episodes_of_one_sender_keep_their_order(off: timedelta) -> None:
    """An episode is named by its start on the sender's clock: only it is compared with itself."""
    first = alert(began=0, ended=60, received=60, off=off)
    second = alert(began=600, received=600, off=off)
    assert judge(first, second, SETTINGS) is Report.FIRED_AGAIN
    assert judge(second, first, SETTINGS) is Report.LATE


@pytest.mark.parametrize("off", HOURS_OFF)
def test_alerts_of_one_machine_are_one_incident_though_their_senders_disagree(
    off: timedelta,
) -> None:
    one, other = alert(began=0), alert("DiskFull", began=30, off=off, received=30)
    outcome = correlate([one, other], {}, [], Topology(), SETTINGS, NOW + timedelta(seconds=40))
    assert len(outcome.incidents) == 1
    (incident,) = outcome.incidents
    assert incident.opened_at == NOW + timedelta(seconds=40), "our clock, not the sender's"


@pytest.mark.parametrize("jump", HOURS_OFF)
def test_a_resolution_is_taken_in_though_our_clock_was_set(jump: timedelta) -> None:
    firing = alert(began=0)
    opened = correlate([firing], {}, [], Topology(), SETTINGS, NOW)
    known = {firing.fingerprint: KnownAlert(alert=firing, incident_id=opened.incidents[0].id)}
    over = alert(began=0, ended=60, received=60 + jump.total_seconds())
    later = NOW + jump + timedelta(seconds=60)
    outcome = correlate([over], known, opened.incidents, Topology(), SETTINGS, later)
    assert [incident.firing_alerts for incident in outcome.incidents] == [0]
    assert outcome.wake == (opened.incidents[0].id,)
