"""When policy allows or forbids: weekly windows on the wall clock of a place, and fixed spans."""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.severity import Severity
from it_incident_response.safety.glob import Glob, any_matches

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Weekday(StrEnum):
    """Days as `datetime.weekday` counts them: Monday is 0."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


_DAYS = tuple(Weekday)
_MINUTES_A_DAY = 24 * 60


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r} is known here; write an IANA name such as Europe/Berlin or UTC"
        ) from error
    return name


def _as_time_text(value: object) -> object:
    """YAML 1.1 reads an unquoted 22:00 as the base-60 number 1320: take it as was meant."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MINUTES_A_DAY:
        return f"{value // 60:02d}:{value % 60:02d}"
    return value


TimeOfDay = Annotated[
    str,
    BeforeValidator(_as_time_text),
    StringConstraints(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"),
]
"""`HH:MM`; 24:00 is the end of the day."""
Zone = Annotated[str, AfterValidator(_known_zone)]


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class WeeklyWindow(Value):
    """A span that returns every week, start included, end excluded.

    It means what a clock on the wall shows in that time zone, so it keeps its hours over changes of
    daylight saving time: an hour that is skipped is simply missing from it, an hour that happens
    twice is in it twice. A window whose end is not after its start runs into the next day and
    belongs to the day it starts on.
    """

    days: tuple[Weekday, ...] = Field(default=_DAYS, min_length=1)
    start: TimeOfDay = "00:00"
    end: TimeOfDay = "24:00"
    timezone: Zone = "UTC"

    @model_validator(mode="after")
    def _has_a_length(self) -> "WeeklyWindow":
        if _minutes(self.start) == _minutes(self.end) or self.start == "24:00":
            raise ValueError("start and end are the same; for a whole day write 00:00 to 24:00")
        return self

    def contains(self, moment: datetime) -> bool:
        """Return whether the window is open at `moment` (which needs a time zone)."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        minute = local.hour * 60 + local.minute
        start, end = _minutes(self.start), _minutes(self.end)
        today = _DAYS[local.weekday()]
        if start < end:
            return today in self.days and start <= minute < end
        yesterday = _DAYS[(local.weekday() - 1) % 7]
        return (today in self.days and minute >= start) or (yesterday in self.days and minute < end)

    def closes_after(self, moment: datetime) -> datetime | None:
        """Return when a window that is open at `moment` closes, in UTC; None if it never does.

        To within the hour on a night on which the clocks change.
        """
        zone = ZoneInfo(self.timezone)
        first = moment.astimezone(zone).date()
        minutes = _minutes(self.end)
        for day in range(9):
            date = first + timedelta(days=day + minutes // _MINUTES_A_DAY)
            end = time(minutes % _MINUTES_A_DAY // 60, minutes % 60)
            closing = datetime.combine(date, end, zone).astimezone(UTC)
            if closing > moment and not self.contains(closing):
                return closing
        return None

    def __str__(self) -> str:
        return f"{', '.join(self.days)} {self.start}-{self.end} {self.timezone}"


class Freeze(Value):
    """A time in which nothing is changed: a fixed span, or a weekly window."""

    name: Name
    reason: str = Field(default="", max_length=500)
    starts: UtcTime | None = Field(default=None, alias="from")
    until: UtcTime | None = None
    weekly: WeeklyWindow | None = None
    environments: tuple[Glob, ...] = ()
    """Only these; empty means all."""
    except_severities: tuple[Severity, ...] = ()
    """Incidents of these severities may be acted on all the same."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Freeze":
        is_span = self.starts is not None and self.until is not None
        if is_span == (self.weekly is not None) or (self.starts is None) != (self.until is None):
            raise ValueError("a freeze has either `from` and `until`, or `weekly`")
        if self.starts is not None and self.until is not None and self.starts >= self.until:
            raise ValueError("`until` must be after `from`")
        return self

    def is_on(self, moment: datetime) -> bool:
        """Return whether the freeze holds at `moment`; the end is excluded."""
        if self.starts is not None and self.until is not None:
            return self.starts <= moment < self.until
        return self.weekly is None or self.weekly.contains(moment)

    def ends_after(self, moment: datetime) -> datetime | None:
        """Return when a freeze that holds at `moment` ends; None if it never does."""
        if self.weekly is not None:
            return self.weekly.closes_after(moment)
        return self.until

    def covers(self, environments: tuple[str, ...], severity: Severity | None) -> bool:
        """Return whether it forbids acting in any of these environments at this severity.

        No known environment, or an unknown severity, is covered: what is unknown is not excepted.
        """
        if severity is not None and severity in self.except_severities:
            return False
        if not self.environments or not environments:
            return True
        return any_matches(self.environments, environments)
