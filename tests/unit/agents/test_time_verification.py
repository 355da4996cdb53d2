"""Verification counts its seconds: a clock set forward proves nothing, set back delays nothing."""

from datetime import timedelta

import pytest

from it_incident_response.agents.verification import BoundCheck, Verifier
from it_incident_response.domain.action import AlertsCleared
from it_incident_response.domain.verification import VerificationResult
from it_incident_response.simulation import VirtualClock
from tests.jumpy_clock import JumpyClock
from tests.unit.agents.test_verification import ID, NOW, SETTINGS, Answers, Record, alert

HOURS = [0, -7200, -3600, 3600, 7200]


class Jolt(Answers):
    """Answers, and sets the clock once, before the second answer."""

    def __init__(self, clock, seconds, *answers):
        super().__init__(*answers)
        self.asked = 0
        self._clock = clock
        self._seconds = seconds

    async def condition(self, alert):
        self.asked += 1
        if self.asked == 2:
            self._clock.set_by(self._seconds)
        return await super().condition(alert)


async def watch(seconds, *answers):
    steady = VirtualClock(NOW)
    clock = JumpyClock(steady)
    source = Jolt(clock, seconds, *answers)
    verifier = Verifier(Record(alert()), clock, SETTINGS, conditions=source, metrics=None)
    found = await verifier.watch(ID, [BoundCheck(AlertsCleared())], plan_id="p")
    return found, source.asked, steady.now() - NOW


@pytest.mark.parametrize("jump_s", HOURS)
async def test_a_fix_has_to_hold_for_the_soak_time_whatever_the_clock_shows(jump_s):
    found, asked, took = await watch(jump_s, False)
    assert found.result is VerificationResult.VERIFIED
    assert took == timedelta(seconds=SETTINGS.soak_s)
    assert asked == 4


@pytest.mark.parametrize("jump_s", HOURS)
async def test_a_relapse_within_the_soak_time_is_seen(jump_s):
    """The alert is away for two looks and then back for good: that is no fix."""
    found, _, took = await watch(jump_s, False, False, True)
    assert found.result is VerificationResult.FAILED
    assert took == timedelta(seconds=SETTINGS.timeout_s)


@pytest.mark.parametrize("jump_s", HOURS)
async def test_a_late_recovery_is_waited_for_as_long_as_was_said(jump_s):
    found, _, took = await watch(jump_s, *[True] * 8, False)
    assert found.result is VerificationResult.VERIFIED
    assert took == timedelta(seconds=8 * SETTINGS.poll_s + SETTINGS.soak_s)
