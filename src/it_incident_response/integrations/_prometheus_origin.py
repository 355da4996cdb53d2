"""What Prometheus' own configuration says: external labels and scrape intervals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from it_incident_response.errors import ConnectorRejected, ConnectorReplyInvalid
from it_incident_response.integrations._prometheus_api import NAME, PrometheusApi
from it_incident_response.ports.clock import Clock

DEFAULT_SCRAPE_INTERVAL_S = 60.0
"""Prometheus' own default of `global.scrape_interval`."""
_CACHED_S = 300.0


@dataclass(frozen=True)
class ServerFacts:
    """The part of the configuration that we need."""

    external_labels: Mapping[str, str] = field(default_factory=dict)
    dropped_labels: Sequence[re.Pattern[str]] = ()
    """`labeldrop` rules of `alert_relabel_configs`, as pairs of replicas use them."""
    scrape_interval_s: float | None = None
    """None if the configuration cannot be read."""
    job_intervals_s: Mapping[str, float] = field(default_factory=dict)

    def as_sent(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return an alert's labels as Prometheus sends them to Alertmanager.

        External labels are added unless the alert has one of that name; so an alert has the same
        fingerprint whether it is pulled here or pushed by Alertmanager.
        """
        sent = {**self.external_labels, **labels}
        return {
            name: value
            for name, value in sent.items()
            if not any(pattern.fullmatch(name) for pattern in self.dropped_labels)
        }

    @property
    def has_several_intervals(self) -> bool:
        """Whether the scrape interval depends on the job."""
        return len({self.scrape_interval_s, *self.job_intervals_s.values()}) > 1

    def interval_s(self, jobs: Sequence[str]) -> float | None:
        """Return the longest scrape interval among these jobs, None if it is not known."""
        if self.scrape_interval_s is None:
            return None
        known = [self.job_intervals_s.get(job, self.scrape_interval_s) for job in jobs]
        return max(known, default=self.scrape_interval_s)


class ServerFactsReader:
    """Reads the facts once in a while."""

    def __init__(self, api: PrometheusApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._facts = ServerFacts()
        self._read_at: datetime | None = None

    async def facts(self) -> ServerFacts:
        """Return the facts, at most 5 minutes old; none of them where the server hides them.

        Compatible systems (Thanos, Mimir, VictoriaMetrics) have no configuration endpoint.
        """
        now = self._clock.now()
        if self._read_at is None or (now - self._read_at).total_seconds() > _CACHED_S:
            try:
                self._facts = server_facts(await self._api.config_text())
            except ConnectorRejected:
                self._facts = ServerFacts()
            self._read_at = now
        return self._facts


def server_facts(text: str) -> ServerFacts:
    """Return what a configuration says; raises `ConnectorReplyInvalid` if it is not one."""
    import yaml

    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConnectorReplyInvalid(NAME, "its configuration is not YAML") from error
    if not isinstance(config, Mapping):
        raise ConnectorReplyInvalid(NAME, "its configuration is not a YAML mapping")
    overall = _mapping(config.get("global"))
    interval = _duration_s(overall.get("scrape_interval")) or DEFAULT_SCRAPE_INTERVAL_S
    jobs = [_mapping(job) for job in config.get("scrape_configs") or []]
    relabelings = _mapping(config.get("alerting")).get("alert_relabel_configs") or []
    return ServerFacts(
        external_labels={
            str(name): str(value)
            for name, value in _mapping(overall.get("external_labels")).items()
        },
        dropped_labels=tuple(_dropped(relabelings)),
        scrape_interval_s=interval,
        job_intervals_s={
            str(job.get("job_name")): _duration_s(job.get("scrape_interval")) or interval
            for job in jobs
        },
    )


def _dropped(relabelings: Sequence[Any]) -> Sequence[re.Pattern[str]]:
    patterns = []
    for relabeling in map(_mapping, relabelings):
        if relabeling.get("action") == "labeldrop":
            try:
                patterns.append(re.compile(str(relabeling.get("regex", ""))))
            except re.error:  # RE2 syntax that Python lacks; then fingerprints may differ
                continue
    return patterns


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _duration_s(value: Any) -> float | None:
    from promql_parser import parse_duration

    try:
        return float(parse_duration(str(value)).total_seconds()) if value else None
    except ValueError:
        return None
