"""The wire shapes of Prometheus' HTTP API; lenient on extra fields, private to its client."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

Sample = tuple[float, str]


class PromAlert(BaseModel):
    """One entry of `/api/v1/alerts`."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    state: str
    active_at: str | None = Field(default=None, alias="activeAt")
    value: str = ""


class PromAlerts(BaseModel):
    """`data` of `/api/v1/alerts`."""

    alerts: list[PromAlert]


class PromSeries(BaseModel):
    """One entry of an instant vector (`value`) or of a matrix (`values`)."""

    metric: dict[str, str] = {}
    value: Sample | None = None
    values: list[Sample] = []


class PromResult(BaseModel):
    """`data` of `/api/v1/query` and `/api/v1/query_range`."""

    type: Literal["vector", "matrix", "scalar", "string"] = Field(alias="resultType")
    result: list[Any]

    @property
    def series(self) -> list[PromSeries]:
        """The series; a scalar is one without labels. Raises `ValidationError`."""
        if self.type in ("vector", "matrix"):
            return [PromSeries.model_validate(item) for item in self.result]
        return [PromSeries.model_validate({"value": self.result})]


class PromRuleAlert(BaseModel):
    """An alert below its rule."""

    labels: dict[str, str] = {}


class PromRule(BaseModel):
    """An alerting rule of `/api/v1/rules?type=alert`."""

    name: str
    query: str
    type: str = "alerting"
    labels: dict[str, str] = {}
    alerts: list[PromRuleAlert] = []


class PromRuleGroup(BaseModel):
    """A group of rules."""

    rules: list[PromRule] = []


class PromRules(BaseModel):
    """`data` of `/api/v1/rules`."""

    groups: list[PromRuleGroup]


class PromConfigText(BaseModel):
    """`data` of `/api/v1/status/config`."""

    yaml: str


class PromBuild(BaseModel):
    """`data` of `/api/v1/status/buildinfo`."""

    version: str = ""
    revision: str = ""


class Envelope(BaseModel):
    """What every answer is wrapped in."""

    status: Literal["success"]
    data: Any
    warnings: list[str] | None = None
    is_partial: bool = Field(default=False, alias="isPartial")
    """VictoriaMetrics' way to say that not all of its storage nodes answered."""

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """Why the answer may not be all there is, in words; usually nothing."""
        said = tuple(dict.fromkeys(warning[:300] for warning in (self.warnings or ())[:10]))
        return said or (("not all storage nodes answered",) if self.is_partial else ())


def finite_points(series: PromSeries) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (times, values) of a matrix series without NaN and infinities, in rising order."""
    points = ((at, float(text)) for at, text in series.values)
    kept = [(at, value) for at, value in points if math.isfinite(value)]
    return tuple(at for at, _ in kept), tuple(value for _, value in kept)


def without_name(metric: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a series without its metric name."""
    return {name: value for name, value in metric.items() if name != "__name__"}
