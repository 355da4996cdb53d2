"""The base of every typed value: frozen, strict about unknown fields, UTC only."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value; unknown fields are an error, so that a typing slip is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def _require_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone; write it in UTC, for example 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


UtcTime = Annotated[datetime, AfterValidator(_require_utc)]
