"""Freezes on the nights on which clocks change, minute by minute, in three places.

A weekly window means what a clock on the wall there shows; a freeze is on for each minute whose
reading lies in it, be it skipped, or shown twice.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.safety.windows import Freeze, WeeklyWindow

CHANGES = {
    # When (UTC), by how many minutes the wall clock moves, and what it shows just before.
    ("Europe/Berlin", "gap"): (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), 60),
    ("Europe/Berlin", "fold"): (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), -60),
    ("America/New_York", "gap"): (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), 60),
    ("America/New_York", "fold"): (datetime(2026, 11, 1, 6, 0, tzinfo=UTC), -60),
    ("Australia/Lord_Howe", "gap"): (datetime(2026, 10, 3, 15, 30, tzinfo=UTC), 30),
    ("Australia/Lord_Howe", "fold"): (datetime(2026, 4, 4, 15, 0, tzinfo=UTC), -30),
}
PLACES = sorted(CHANGES)
MINUTE = timedelta(minutes=1)


def freeze(zone: str, start: datetime, end: datetime) -> Freeze:
    window = WeeklyWindow(start=f"{start:%H:%M}", end=f"{end:%H:%M}", timezone=zone)
    return Freeze(name="night", weekly=window)


def on_for(frozen: Freeze, around: datetime) -> int:
    """Minutes for which it is on, from five hours before the change to five hours after it."""
    return sum(frozen.is_on(around + n * MINUTE) for n in range(-300, 300))


@pytest.mark.parametrize("place", PLACES)
def test_the_change_is_where_the_time_zone_database_has_it(place: tuple[str, str]) -> None:
    change, moved = CHANGES[place]
    zone = ZoneInfo(place[0])
    before = (change - MINUTE).astimezone(zone).replace(tzinfo=None)
    after = change.astimezone(zone).replace(tzinfo=None)
    assert after - before == timedelta(minutes=moved + 1)


@pytest.mark.parametrize("place", PLACES)
def test_a_freeze_over_the_change_is_on_until_the_wall_shows_its_end(
    place: tuple[str, str],
) -> None:
    """Three hours by the wall: shorter by what is skipped, longer by what happens twice."""
    change, moved = CHANGES[place]
    local = change.astimezone(ZoneInfo(place[0]))
    start = (change - timedelta(minutes=90)).astimezone(ZoneInfo(place[0]))
    frozen = freeze(place[0], start, local.replace(fold=0) + timedelta(minutes=90))
    assert on_for(frozen, change) == 180
    assert frozen.is_on(change)
    assert frozen.is_on(change - MINUTE)
    assert not frozen.is_on(change - timedelta(minutes=91))
    assert not frozen.is_on(change + timedelta(minutes=90))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_freeze_of_the_skipped_time_is_off_and_of_the_doubled_time_on_twice(zone: str) -> None:
    change, moved = CHANGES[zone, "gap"]
    after = change.astimezone(ZoneInfo(zone))
    before = after.replace(tzinfo=None) - timedelta(minutes=moved)
    assert on_for(freeze(zone, before, after), change) == 0

    change, moved = CHANGES[zone, "fold"]
    first = change.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    twice = freeze(zone, first, first - timedelta(minutes=moved))
    assert on_for(twice, change) == -2 * moved
    assert twice.is_on(change + moved * MINUTE)
    assert twice.is_on(change)
    assert twice.is_on(change - (moved + 1) * MINUTE)
    assert not twice.is_on(change - moved * MINUTE)


@pytest.mark.parametrize("place", PLACES)
def test_a_fixed_span_knows_no_daylight_saving(place: tuple[str, str]) -> None:
    change, _ = CHANGES[place]
    zone = ZoneInfo(place[0])
    span = {"from": (change - timedelta(hours=1)).astimezone(zone), "until": change + 60 * MINUTE}
    assert on_for(Freeze.model_validate({"name": "release", **span}), change) == 120


@given(
    st.sampled_from(PLACES),
    st.integers(-300, 300),
    st.times(),
    st.integers(1, 1439),
)
def test_a_delay_told_from_a_freeze_ends_and_the_freeze_is_over_then(
    place: tuple[str, str], minutes: int, start: object, length: int
) -> None:
    """Also on such a night the time to ask again is in the future, and outside the window."""
    change, _ = CHANGES[place]
    begin = datetime.combine(change.date(), start)  # type: ignore[arg-type]
    frozen = freeze(place[0], begin, begin + timedelta(minutes=length))
    moment = change + minutes * MINUTE
    if frozen.is_on(moment):
        ends = frozen.ends_after(moment)
        assert ends is not None
        assert moment < ends <= moment + timedelta(hours=26)
        assert not frozen.is_on(ends)
