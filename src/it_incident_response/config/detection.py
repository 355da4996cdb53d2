"""`detection`: rules that look for trouble in logs."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from it_incident_response.agents.log_detection_agent import LogDetectionSettings
from it_incident_response.analysis.log_rules import Grouping, LogRule, LogRuleKind
from it_incident_response.config.connections import Section
from it_incident_response.config.units import Duration
from it_incident_response.domain.evidence import LogLevel
from it_incident_response.domain.severity import Severity

_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_OWN_LABELS = frozenset({"alertname", "severity", "detector", "template_id", "log_level"})
_HOUR_S = 3600.0

_DEFAULT_WINDOW_S = {
    LogRuleKind.PATTERN: 300.0,
    LogRuleKind.SPIKE: 600.0,
    LogRuleKind.TEMPLATE: 300.0,
}
_DEFAULT_AT_LEAST = {LogRuleKind.PATTERN: 1, LogRuleKind.SPIKE: 20, LogRuleKind.TEMPLATE: 3}
_DEFAULT_FACTOR = {LogRuleKind.SPIKE: 3.0, LogRuleKind.TEMPLATE: 5.0}

_ONLY_FOR: Mapping[str, frozenset[LogRuleKind]] = {
    "at_least": frozenset({LogRuleKind.PATTERN, LogRuleKind.SPIKE, LogRuleKind.TEMPLATE}),
    "days": frozenset({LogRuleKind.SPIKE}),
    "factor": frozenset({LogRuleKind.SPIKE, LogRuleKind.TEMPLATE}),
    "significance": frozenset({LogRuleKind.SPIKE, LogRuleKind.TEMPLATE}),
    "baseline_s": frozenset({LogRuleKind.TEMPLATE}),
    "per": frozenset({LogRuleKind.PATTERN, LogRuleKind.SPIKE, LogRuleKind.ABSENCE}),
}

Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Texts = Annotated[tuple[Text, ...], Field(max_length=200)]


class LogRuleSection(Section):
    """One rule of `detection.rules`; keys without use for its kind are refused."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.:-]{0,99}$")]
    """Of the alerts that it raises."""
    kind: Literal["pattern", "spike", "absence", "template"]
    severity: Literal["low", "medium", "high", "critical"] = "high"
    level: Literal["debug", "info", "warning", "error", "fatal"] | None = None
    """Lines below it are not looked at; default `error`, for absence `debug`."""
    contains: Text | None = None
    services: Texts = ()
    hosts: Texts = ()
    systems: Texts = ()
    """Log systems to ask: elasticsearch, splunk...; none: all that are configured."""
    within_s: Annotated[Duration, Field(ge=10, le=30 * 86_400)] | None = Field(
        default=None, alias="within"
    )
    at_least: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    per: Literal["service", "host", "rule"] = "service"
    days: Annotated[int, Field(ge=2, le=28)] = 7
    factor: Annotated[float, Field(ge=1, le=1e6)] | None = None
    significance: Annotated[float, Field(gt=0, le=0.05)] = 1e-4
    baseline_s: Annotated[Duration, Field(ge=600, le=86_400)] = Field(
        default=_HOUR_S, alias="baseline"
    )
    labels: Mapping[str, Text] = {}
    summary: Text | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        kind = LogRuleKind(self.kind)
        useless = [k for k, kinds in _ONLY_FOR.items() if kind not in kinds and self._has(k)]
        if useless:
            name = useless[0].removesuffix("_s")
            raise ValueError(f"{self.name}: `{name}` has no use in a rule of kind {self.kind}")
        if kind is LogRuleKind.ABSENCE and self.within_s is None:
            raise ValueError(f"{self.name}: write `within`: after how long a line is missing")
        if kind is LogRuleKind.SPIKE and (_HOUR_S % self._window_s or self._window_s > _HOUR_S):
            raise ValueError(
                f"{self.name}: `within` of a spike must divide an hour: 1m, 5m, 10m, 15m, 30m, 1h"
            )
        if kind is LogRuleKind.TEMPLATE and self._window_s * 2 > self.baseline_s:
            raise ValueError(f"{self.name}: `baseline` must be at least twice `within`")
        self._check_labels()
        return self

    def _check_labels(self) -> None:
        for label in self.labels:
            if not _LABEL_NAME.fullmatch(label) or label in _OWN_LABELS:
                raise ValueError(f"{self.name}: {label[:60]!r} cannot be a label of its own")

    def _has(self, field: str) -> bool:
        return field in self.model_fields_set

    @property
    def _window_s(self) -> float:
        return self.within_s or _DEFAULT_WINDOW_S[LogRuleKind(self.kind)]

    def rule(self) -> LogRule:
        """Return the rule, with the defaults of its kind."""
        kind = LogRuleKind(self.kind)
        level = self.level or ("debug" if kind is LogRuleKind.ABSENCE else "error")
        return LogRule(
            name=self.name,
            kind=kind,
            severity=Severity(self.severity),
            level=LogLevel(level),
            contains=self.contains,
            services=self.services,
            hosts=self.hosts,
            systems=self.systems,
            window_s=self._window_s,
            at_least=self.at_least or _DEFAULT_AT_LEAST.get(kind, 1),
            per=Grouping(self.per),
            days=self.days,
            factor=self.factor or _DEFAULT_FACTOR.get(kind, 1.0),
            significance=self.significance,
            baseline_s=self.baseline_s,
            labels=self.labels,
            summary=self.summary,
        )


class DetectionSection(Section):
    """When log rules are looked at, and which there are."""

    interval_s: Duration = Field(default=60.0, alias="interval", ge=1, le=86_400)
    delay_s: Duration = Field(default=10.0, alias="delay", ge=0, le=3600)
    """How long a line may take from its own time until a search finds it."""
    resolve_after: int = Field(default=3, ge=1, le=1000)
    """Rounds in a row without the condition after which an alert is over."""
    query_timeout_s: Duration = Field(default=20.0, alias="query_timeout", gt=0, le=300)
    rules: Annotated[tuple[LogRuleSection, ...], Field(max_length=500)] = ()

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the name {twice[0]!r}; it is that of their alerts")
        return self

    @property
    def log_rules(self) -> tuple[LogRule, ...]:
        """The rules as the detector takes them."""
        return tuple(section.rule() for section in self.rules)

    @property
    def settings(self) -> LogDetectionSettings:
        """The times as the detector takes them."""
        return LogDetectionSettings(
            interval_s=self.interval_s,
            delay_s=self.delay_s,
            resolve_after=self.resolve_after,
            budget_s=self.query_timeout_s,
        )
