"""Weekly windows on the wall clock, over changes of daylight saving time."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.safety.windows import Freeze, Weekday, WeeklyWindow

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")


def berlin(*when: int, fold: int = 0) -> datetime:
    return datetime(*when, tzinfo=BERLIN, fold=fold).astimezone(UTC)  # type: ignore[misc, arg-type]


def open_minutes(window: WeeklyWindow, start: datetime, hours: int) -> int:
    return sum(window.contains(start + timedelta(minutes=n)) for n in range(hours * 60))


def test_start_is_included_and_end_excluded() -> None:
    window = WeeklyWindow(days=("wed",), start="09:00", end="17:00", timezone="Europe/Berlin")
    assert not window.contains(berlin(2026, 3, 11, 8, 59))
    assert window.contains(berlin(2026, 3, 11, 9, 0))
    assert window.contains(berlin(2026, 3, 11, 16, 59))
    assert not window.contains(berlin(2026, 3, 11, 17, 0))
    assert not window.contains(berlin(2026, 3, 12, 12, 0))


def test_a_night_belongs_to_the_day_it_begins_on() -> None:
    window = WeeklyWindow(days=("sun",), start="22:00", end="06:00", timezone="Europe/Berlin")
    assert window.contains(berlin(2026, 3, 8, 23, 0))
    assert window.contains(berlin(2026, 3, 9, 5, 59))
    assert not window.contains(berlin(2026, 3, 9, 6, 0))
    assert not window.contains(berlin(2026, 3, 8, 5, 0))
    assert not window.contains(berlin(2026, 3, 9, 23, 0))


def test_hours_stay_the_same_on_the_wall_when_the_clocks_change() -> None:
    window = WeeklyWindow(start="09:00", end="10:00", timezone="Europe/Berlin")
    winter = datetime(2026, 3, 28, 8, 30, tzinfo=UTC)
    summer = datetime(2026, 3, 29, 7, 30, tzinfo=UTC)
    assert window.contains(winter)
    assert window.contains(summer)
    assert not window.contains(summer + timedelta(hours=1))


def test_an_hour_that_is_skipped_is_missing() -> None:
    window = WeeklyWindow(start="01:30", end="03:30", timezone="Europe/Berlin")
    ordinary = open_minutes(window, berlin(2026, 3, 28, 0, 0), 12)
    spring = open_minutes(window, berlin(2026, 3, 29, 0, 0), 12)
    assert (ordinary, spring) == (120, 60)
    skipped = WeeklyWindow(start="02:00", end="03:00", timezone="Europe/Berlin")
    assert open_minutes(skipped, berlin(2026, 3, 29, 0, 0), 12) == 0


def test_an_hour_that_happens_twice_is_in_it_twice() -> None:
    window = WeeklyWindow(start="02:15", end="02:45", timezone="Europe/Berlin")
    assert open_minutes(window, berlin(2026, 10, 25, 0, 0), 12) == 60
    assert window.contains(berlin(2026, 10, 25, 2, 30, fold=0))
    assert window.contains(berlin(2026, 10, 25, 2, 30, fold=1))


def test_a_whole_day_is_whole() -> None:
    window = WeeklyWindow(days=("sat", "sun"), timezone="Europe/Berlin")
    assert open_minutes(window, berlin(2026, 3, 27, 0, 0), 24 * 4) == (24 + 23) * 60


windows = st.builds(
    lambda days, start, end, zone: WeeklyWindow(
        days=tuple(days), start=f"{start:%H:%M}", end=f"{end:%H:%M}", timezone=zone
    ),
    st.sets(st.sampled_from(list(Weekday)), min_size=1),
    st.times(max_value=time(11, 59)),
    st.times(min_value=time(12, 0)),
    st.sampled_from(ZONES),
)
moments = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(windows, moments, st.sampled_from(ZONES))
def test_a_moment_is_the_same_in_every_zone(
    window: WeeklyWindow, moment: datetime, zone: str
) -> None:
    assert window.contains(moment) is window.contains(moment.astimezone(ZoneInfo(zone)))


@given(windows, moments)
def test_a_window_and_its_complement_share_no_moment_and_leave_none(
    window: WeeklyWindow, moment: datetime
) -> None:
    """The nights between daily windows are what the days leave, whatever the clocks do."""
    day = window.model_copy(update={"days": tuple(Weekday)})
    night = WeeklyWindow(start=day.end, end=day.start, timezone=day.timezone)
    assert day.contains(moment) is not night.contains(moment)


@given(windows, moments)
def test_without_a_change_of_the_clocks_a_week_repeats(
    window: WeeklyWindow, moment: datetime
) -> None:
    later = moment + timedelta(weeks=1)
    zone = ZoneInfo(window.timezone)
    if moment.astimezone(zone).utcoffset() == later.astimezone(zone).utcoffset():
        assert window.contains(moment) is window.contains(later)


@pytest.mark.parametrize("zone", ["", "Mars", "/etc/localtime", "Europe/../../x", "x\x00y"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        WeeklyWindow(timezone=zone)


def test_a_window_reads_as_it_was_written() -> None:
    assert str(WeeklyWindow(days=("fri",), start="16:00")) == "fri 16:00-24:00 UTC"


def test_a_weekly_freeze_follows_its_window() -> None:
    window = {"days": ["fri"], "start": "16:00"}
    freeze = Freeze.model_validate({"name": "weekend", "weekly": window})
    assert freeze.is_on(datetime(2026, 3, 13, 16, 0, tzinfo=UTC))
    assert not freeze.is_on(datetime(2026, 3, 13, 15, 59, tzinfo=UTC))
    assert freeze.covers((), None)
