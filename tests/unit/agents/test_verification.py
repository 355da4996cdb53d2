"""Verification: each check must hold unbroken for the soak time; what is unknown is no yes."""

from datetime import UTC, datetime, timedelta

import pytest

from it_incident_response.agents.verification import (
    BoundCheck,
    VerificationSettings,
    Verifier,
    Watch,
)
from it_incident_response.domain.action import AlertsCleared, ProbeSucceeds, SignalWithin
from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal, SignalSeries
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import ConnectorUnavailable
from it_incident_response.ports import ConditionReading, Probe
from it_incident_response.simulation import VirtualClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = IncidentId("incident")
SHOP = Entity(EntityKind.SERVICE, "shop")
SETTINGS = VerificationSettings(soak_s=30, timeout_s=120, poll_s=10)


def alert(status=AlertStatus.FIRING):
    return Alert(
        fingerprint="a",
        name="Down",
        status=status,
        severity=Severity.HIGH,
        labels={},
        starts_at=NOW,
        received_at=NOW,
        source="test",
    )


class Record:
    """A store that knows the alerts of one incident."""

    def __init__(self, *alerts):
        self._alerts = alerts

    async def alerts_of(self, incident_id):
        return [(None, each) for each in self._alerts]


class Answers:
    """A condition, metric source and executor that answers from a list; the last one for good."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def _next(self):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def condition(self, alert):
        return ConditionReading(holds=self._next(), query="up == 0")

    async def series(self, request):
        value = self._next()
        if value is None:
            return []
        return [
            SignalSeries(
                signal=request.signals[0],
                entity=request.entities[0],
                source="test",
                query="q",
                times=(NOW.timestamp(),),
                values=(value,),
            )
        ]

    async def probe(self, action, *, before=None):
        return Probe(took_effect=self._next(), detail="looked")


async def watched(record, *checks, conditions=None, metrics=None):
    verifier = Verifier(record, VirtualClock(NOW), SETTINGS, conditions=conditions, metrics=metrics)
    return await verifier.watch(ID, checks, plan_id="p")


CLEARED = BoundCheck(AlertsCleared())


@pytest.mark.parametrize(
    ("answers", "result", "seconds"),
    [
        ([False], "verified", 30),
        ([True, True, False], "verified", 50),
        ([True], "failed", 120),
        ([None], "unverifiable", 120),
        ([ConnectorUnavailable("prometheus", "down")], "unverifiable", 120),
        ([ConnectorUnavailable("prometheus", "down"), False], "verified", 40),
        ([False, False, True, False], "verified", 60),
        ([False, True] * 10, "failed", 120),
    ],
    ids=str,
)
async def test_alerts_must_stay_away_for_the_soak_time(answers, result, seconds):
    found = await watched(Record(alert()), CLEARED, conditions=Answers(*answers))
    assert found.result == result
    assert (found.ended_at - found.started_at).total_seconds() == seconds
    assert found.reason


async def test_a_break_starts_the_soak_anew_and_is_told():
    found = await watched(Record(alert()), CLEARED, conditions=Answers(*[False, False, True] * 9))
    assert found.result == "failed"


async def test_without_a_condition_source_only_the_reports_count():
    assert (await watched(Record(alert()), CLEARED)).result == "unverifiable"
    resolved = alert(AlertStatus.RESOLVED)
    assert (await watched(Record(resolved), CLEARED)).result == "verified"


async def test_a_report_counts_where_the_expression_has_no_data():
    resolved = alert(AlertStatus.RESOLVED)
    found = await watched(Record(resolved), CLEARED, conditions=Answers(None))
    assert found.result == "verified"


async def test_an_incident_without_alerts_has_none_to_clear_and_nothing_at_all_proves_nothing():
    assert (await watched(Record(), CLEARED)).result == "verified"
    assert (await watched(Record())).result == "unverifiable"


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        ({"at_most": 5.0}, 4.0, "verified"),
        ({"at_most": 5.0}, 5.1, "failed"),
        ({"at_least": 1.0}, 1.0, "verified"),
        ({"at_least": 1.0}, 0.0, "failed"),
        ({"at_least": 1.0}, None, "unverifiable"),
        ({"at_least": 1.0, "at_most": 2.0}, 3.0, "failed"),
        ({"at_most": 5.0}, float("nan"), "failed"),
    ],
)
async def test_signals_must_lie_within_their_bounds(check, value, result):
    bound = BoundCheck(SignalWithin(signal=Signal.UP, entity=SHOP, **check))
    assert (await watched(Record(), bound, metrics=Answers(value))).result == result


async def test_a_signal_nobody_measures_is_unverifiable():
    bound = BoundCheck(SignalWithin(signal=Signal.UP, entity=SHOP, at_least=1.0))
    assert (await watched(Record(), bound)).result == "unverifiable"


@pytest.mark.parametrize(
    ("seen", "result"), [(True, "verified"), (False, "failed"), (None, "unverifiable")]
)
async def test_a_probe_must_see_the_effect(seen, result):
    bound = BoundCheck(ProbeSucceeds(), action=object(), executor=Answers(seen))
    assert (await watched(Record(), bound)).result == result
    assert (await watched(Record(), BoundCheck(ProbeSucceeds()))).result == "unverifiable"


async def test_one_check_that_fails_outweighs_all_that_hold():
    bound = BoundCheck(ProbeSucceeds(), action=object(), executor=Answers(True))
    found = await watched(Record(alert()), bound, CLEARED, conditions=Answers(True))
    assert found.result == "failed"
    assert "still holds" in found.reason


async def resumed(watch, *answers, after_s=5.0):
    """Watch on from `watch`, `after_s` after it was last looked at; returns what was reported."""
    clock, seen = VirtualClock(watch.seen_at + timedelta(seconds=after_s)), []
    conditions = Answers(*answers)
    verifier = Verifier(Record(alert()), clock, SETTINGS, conditions=conditions, metrics=None)
    found = await verifier.watch(
        ID, [CLEARED], plan_id="p", watch=watch, on_reading=lambda w, _: seen.append(w)
    )
    return found, seen, clock.now()


async def test_each_reading_is_reported_so_that_another_process_can_go_on():
    first = Watch(started_at=NOW, seen_at=NOW)
    _, seen, _ = await resumed(first, True, False, after_s=0)
    assert [(w.watched_s, w.held_s) for w in seen] == [(0, None), (10, 0), (20, 10), (30, 20)]
    again = Watch.model_validate_json(seen[-1].model_dump_json())
    assert again == seen[-1]


@pytest.mark.parametrize(("after_s", "seconds"), [(5, 10), (30, 10), (31, 30), (-1, 30)], ids=str)
async def test_a_soak_goes_on_after_a_crash_unless_nobody_looked_for_long(after_s, seconds):
    watch = Watch(started_at=NOW, watched_s=60, held_s=20, seen_at=NOW + timedelta(seconds=60))
    found, _, ended = await resumed(watch, False, after_s=after_s)
    assert (found.result, found.started_at) == ("verified", NOW)
    assert (ended - watch.seen_at).total_seconds() - after_s == seconds


async def test_a_break_after_a_crash_begins_the_soak_anew():
    watch = Watch(started_at=NOW, watched_s=60, held_s=20, seen_at=NOW + timedelta(seconds=60))
    found, _, ended = await resumed(watch, True, False)
    assert found.result == "verified"
    assert (ended - watch.seen_at).total_seconds() == 5 + 10 + 30


async def test_time_in_which_nobody_looked_is_no_time_in_which_it_did_not_recover():
    watch = Watch(started_at=NOW, watched_s=60, held_s=None, seen_at=NOW + timedelta(seconds=60))
    found, _, ended = await resumed(watch, True, after_s=3600)
    assert found.result == "failed"
    assert (ended - watch.seen_at).total_seconds() == 3600 + 60
