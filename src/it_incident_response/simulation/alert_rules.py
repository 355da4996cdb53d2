"""The shop's alerting rules, and the book of what is pending and firing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from it_incident_response.domain.alert import Alert, AlertStatus
from it_incident_response.domain.evidence import Signal
from it_incident_response.domain.labels import make_alert
from it_incident_response.ports.clock import utc
from it_incident_response.simulation.history import History
from it_incident_response.simulation.signals import Group, Subject

PROMETHEUS_URL = "http://prometheus.shop.example:9090"
RUNBOOK_URL = "https://wiki.shop.example/runbooks/"
_ENDED_MAX = 1000


@dataclass(frozen=True)
class AlertRule:
    """One alerting rule: `expr` says in PromQL what signal and threshold say here."""

    name: str
    signal: Signal
    metric: str
    """Text that the subject's query has to contain: which of the signal's groups is meant."""
    is_above: bool
    threshold: float
    for_s: float
    severity: str
    expr: str
    summary: str
    """Format string over the labels (`{instance}`) and `value`."""
    skip_jobs: tuple[str, ...] = ()

    def holds(self, value: float) -> bool:
        """Return whether the condition is true; never for NaN."""
        return value > self.threshold if self.is_above else value < self.threshold

    def holding(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return `holds` of each value."""
        return values > self.threshold if self.is_above else values < self.threshold

    def labels(self, subject: Subject) -> dict[str, str]:
        """Return the labels of the alert about this subject."""
        return {"alertname": self.name, **subject.labels, "severity": self.severity, "env": "prod"}

    def annotations(self, subject: Subject, value: float) -> dict[str, str]:
        """Return the annotations, filled in as a Prometheus template would."""
        text = self.summary.format(**subject.labels, value=value)
        return {"summary": text, "runbook_url": RUNBOOK_URL + self.name.lower()}

    @property
    def generator_url(self) -> str:
        """Link to the expression, as Prometheus makes it."""
        return f"{PROMETHEUS_URL}/graph?" + urlencode({"g0.expr": self.expr, "g0.tab": "1"})


_ERRORS = (
    'sum by (service) (rate(http_requests_total{code=~"5.."}[2m])) '
    "/ sum by (service) (rate(http_requests_total[2m])) > 0.05"
)
_P95 = (
    "histogram_quantile(0.95, sum by (service, le) "
    "(rate(http_request_duration_seconds_bucket[2m]))) > 1"
)
RULES = (
    AlertRule(
        "ServiceDown", Signal.UP, "up{", False, 0.5, 45, "critical",
        'up{job!="node"} == 0', "{service} on {instance} does not answer", skip_jobs=("node",),
    ),
    AlertRule(
        "SiteProbeFailed", Signal.UP, "probe_success{", False, 0.5, 45, "critical",
        "probe_success == 0", "probe of {instance} fails",
    ),
    AlertRule(
        "HighErrorRate", Signal.ERROR_RATIO, "", True, 0.05, 60, "critical",
        _ERRORS, "{service} fails {value:.1%} of its requests",
    ),
    AlertRule(
        "HighLatency", Signal.LATENCY_P95, "", True, 1.0, 90, "warning",
        _P95, "95th percentile of {service} is {value:.2f} s",
    ),
    AlertRule(
        "DatabaseConnectionPoolExhausted", Signal.CONNECTION_POOL_USE, "", True, 0.9, 60,
        "critical", "db_pool_connections_in_use / db_pool_connections_max > 0.9",
        "{service} on {instance} uses {value:.0%} of its database connections",
    ),
    AlertRule(
        "WorkersSaturated", Signal.SATURATION, "", True, 0.9, 60, "warning",
        "http_workers_busy / http_workers_max > 0.9",
        "{service} on {instance} has {value:.0%} of its workers busy",
    ),
    AlertRule(
        "HostHighCpu", Signal.CPU_USE, "", True, 0.9, 120, "warning",
        '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m])) > 0.9',
        "processors of {instance} are {value:.0%} busy",
    ),
    AlertRule(
        "HostMemoryLow", Signal.MEMORY_USE, "node_memory", True, 0.92, 120, "warning",
        "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > 0.92",
        "{instance} uses {value:.0%} of its memory",
    ),
    AlertRule(
        "ProcessMemoryHigh", Signal.MEMORY_USE, "process_", True, 0.75, 60, "warning",
        "process_resident_memory_bytes / process_memory_limit_bytes > 0.75",
        "{service} on {instance} uses {value:.0%} of its memory limit",
    ),
    AlertRule(
        "OomKill", Signal.OOM_KILLS, "", True, 0.5, 0, "critical",
        "increase(node_vmstat_oom_kill[5m]) > 0",
        "the kernel of {instance} killed a process for lack of memory",
    ),
    AlertRule(
        "DiskAlmostFull", Signal.DISK_USE, "", True, 0.9, 60, "warning",
        "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes > 0.9",
        "{mountpoint} of {instance} is {value:.0%} full",
    ),
    AlertRule(
        "DiskFull", Signal.DISK_USE, "", True, 0.99, 30, "critical",
        "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes > 0.99",
        "{mountpoint} of {instance} is full",
    ),
    AlertRule(
        "CertificateExpiresSoon", Signal.CERTIFICATE_LIFETIME, "", False, 14 * 86400.0, 60,
        "warning", "probe_ssl_earliest_cert_expiry - time() < 1209600",
        "TLS certificate of {instance} has {value:.0f} s to live",
    ),
    AlertRule(
        "CertificateExpired", Signal.CERTIFICATE_LIFETIME, "", False, 0.0, 30,
        "critical", "probe_ssl_earliest_cert_expiry - time() < 0",
        "TLS certificate of {instance} has expired",
    ),
    AlertRule(
        "NetworkLatencyHigh", Signal.NETWORK_LATENCY, "", True, 0.05, 60, "warning",
        'probe_icmp_duration_seconds{phase="rtt"} > 0.05',
        "round trip from {source} to {instance} takes {value:.3f} s",
    ),
)  # fmt: skip


@dataclass
class Standing:
    """What the book knows about one rule and one subject while the condition holds."""

    rule: AlertRule
    subject: Subject
    since: float
    """Unix seconds: when it began to hold."""
    value: float
    fires_since: float | None = None


@dataclass
class AlertBook:
    """Evaluates the rules each tick and keeps what is pending, firing and recently resolved."""

    history: History
    groups: Sequence[Group]
    rules: Sequence[AlertRule] = RULES
    active: dict[tuple[str, str], Standing] = field(default_factory=dict)
    """(rule, subject's query) to its standing."""
    ended: list[tuple[Standing, float]] = field(default_factory=list)
    """Fired and resolved ones with their end, oldest first; at most `_ENDED_MAX`."""
    _bound: list[tuple[AlertRule, Group, NDArray[np.intp]]] = field(init=False)

    def __post_init__(self) -> None:
        self._bound = [
            (rule, group, places)
            for rule in self.rules
            for group in self.groups
            if group.signal is rule.signal and len(places := _places(rule, group))
        ]

    def evaluate(self, at: float) -> None:
        """Look at the newest row; `at` is its time."""
        computed: dict[int, NDArray[np.float64] | None] = {}
        held: set[tuple[str, str]] = set()
        for rule, group, places in self._bound:
            if id(group) not in computed:
                computed[id(group)] = newest(group, self.history)
            values = computed[id(group)]
            if values is None:
                continue
            for place in places[rule.holding(values[places])]:
                subject = group.subjects[place]
                held.add((rule.name, subject.query))
                self._hold(rule, subject, float(values[place]), at)
        for key in [key for key in self.active if key not in held]:
            self._end(key, at)

    def _hold(self, rule: AlertRule, subject: Subject, value: float, at: float) -> None:
        key = (rule.name, subject.query)
        standing = self.active.get(key)
        if standing is None:
            standing = self.active[key] = Standing(rule, subject, at, value)
        standing.value = value
        if standing.fires_since is None and at - standing.since >= rule.for_s:
            standing.fires_since = at

    def _end(self, key: tuple[str, str], at: float) -> None:
        standing = self.active.pop(key)
        if standing.fires_since is not None:
            self.ended.append((standing, at))
            del self.ended[:-_ENDED_MAX]

    def firing(self) -> list[Standing]:
        """Return what fires, the longest first."""
        fires = [s for s in self.active.values() if s.fires_since is not None]
        return sorted(fires, key=lambda s: (s.fires_since or 0.0, s.rule.name, s.subject.query))

    def find(self, labels: Mapping[str, str]) -> tuple[AlertRule, Group, int] | None:
        """Return rule, group and place of the alert with exactly these labels."""
        for rule, group, places in self._bound:
            if rule.name != labels.get("alertname"):
                continue
            for place in places:
                if rule.labels(group.subjects[place]) == dict(labels):
                    return rule, group, int(place)
        return None


def newest(group: Group, history: History) -> NDArray[np.float64] | None:
    """Return the group's values now; None while the history is too short."""
    rows = history.latest(group.lookback + 1)
    if len(rows) <= group.lookback:
        return None
    values: NDArray[np.float64] = group.compute(rows)[-1]
    return values


def _places(rule: AlertRule, group: Group) -> NDArray[np.intp]:
    chosen = [
        place
        for place, subject in enumerate(group.subjects)
        if rule.metric in subject.query and subject.labels.get("job") not in rule.skip_jobs
    ]
    return np.array(chosen, dtype=np.intp)


def to_alert(standing: Standing, received_at: datetime, ended_at: float | None = None) -> Alert:
    """Return the standing as the alert that Alertmanager would pass on."""
    return make_alert(
        labels=standing.rule.labels(standing.subject),
        annotations=standing.rule.annotations(standing.subject, standing.value),
        status=AlertStatus.FIRING if ended_at is None else AlertStatus.RESOLVED,
        starts_at=utc(standing.fires_since or standing.since),
        ends_at=None if ended_at is None else utc(ended_at),
        received_at=received_at,
        source="simulated",
        generator_url=standing.rule.generator_url,
    )
