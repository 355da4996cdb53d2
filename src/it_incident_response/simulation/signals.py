"""What the recorded series mean: each signal of each host and service, with its PromQL.

One table serves the metric source and the alert rules, so both see the same numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal
from it_incident_response.simulation.history import History, Rows
from it_incident_response.simulation.shop import SHOP_URL, Shop
from it_incident_response.simulation.state import LATENCY_BUCKETS_S

RATE_TICKS = 8
"""Rates are taken over 8 ticks: two minutes."""
COUNT_TICKS = 20
"""Events are counted over 20 ticks: five minutes."""


@dataclass(frozen=True)
class Subject:
    """What one column of a group is about."""

    entity: Entity
    labels: Mapping[str, str]
    """What the query's result carries."""
    query: str
    host: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class Group:
    """One signal of many subjects, computed together."""

    signal: Signal
    subjects: tuple[Subject, ...]
    lookback: int
    """Rows needed before the first one wanted."""
    compute: Callable[[Rows], Rows]
    """From rows of series to rows of signal values; the first `lookback` rows are dropped."""


def groups(history: History, shop: Shop) -> tuple[Group, ...]:
    """Return every group that this history can answer."""
    table = _Table(history, shop)
    return (
        table.host_cpu(),
        table.gauge_ratio(
            Signal.MEMORY_USE, "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"
        ),
        table.gauge_ratio(
            Signal.DISK_USE, "node_filesystem_avail_bytes", "node_filesystem_size_bytes"
        ),
        table.gauge_ratio(Signal.INODE_USE, "node_filesystem_files_free", "node_filesystem_files"),
        table.rate(Signal.DISK_IO_BUSY, "node_disk_io_time_seconds_total"),
        table.rate(Signal.NETWORK_ERRORS, "node_network_receive_errs_total"),
        table.count(Signal.OOM_KILLS, "node_vmstat_oom_kill"),
        table.gauge(Signal.CLOCK_OFFSET, "node_timex_offset_seconds"),
        table.share(Signal.FILE_DESCRIPTOR_USE, "node_filefd_allocated", "node_filefd_maximum"),
        table.gauge(Signal.NETWORK_LATENCY, "probe_icmp_duration_seconds"),
        table.gauge(Signal.UP, "up"),
        table.gauge(Signal.UP, "probe_success"),
        table.gauge(Signal.PROCESS_MEMORY, "process_resident_memory_bytes"),
        table.share(
            Signal.MEMORY_USE, "process_resident_memory_bytes", "process_memory_limit_bytes"
        ),
        table.share(Signal.SATURATION, "http_workers_busy", "http_workers_max"),
        table.share(
            Signal.CONNECTION_POOL_USE, "db_pool_connections_in_use", "db_pool_connections_max"
        ),
        table.restarts(),
        table.certificate_lifetime(),
        table.request_rate(),
        table.error_ratio(),
        table.latency_p95(),
    )


def increments(rows: Rows) -> Rows:
    """Return how much counters rose from row to row; a fall is a reset, as `increase` has it."""
    now, before = rows[1:], rows[:-1]
    risen = np.where(now < before, now, now - before)
    result: Rows = np.where(np.isnan(risen), 0.0, risen)
    return result


def windowed(steps: Rows, width: int) -> Rows:
    """Return the sums of each `width` successive rows."""
    if len(steps) == width:
        return np.asarray(steps.sum(axis=0, keepdims=True), dtype=np.float64)
    total: Rows = np.cumsum(steps, axis=0)
    total[width:] -= total[:-width].copy()
    return total[width - 1 :]


def quantile(buckets: Rows, share: float) -> Rows:
    """Return histogram quantiles of cumulative buckets (last axis), as `histogram_quantile` does.

    Linear within a bucket; in the last, unbounded one its lower bound; NaN without observations.
    """
    bounds = np.array([0.0, *LATENCY_BUCKETS_S])
    total = buckets[..., -1]
    rank = share * total
    place = np.argmax(buckets >= rank[..., None], axis=-1)
    upper = np.take_along_axis(buckets, place[..., None], -1)[..., 0]
    lower = np.take_along_axis(buckets, np.maximum(place - 1, 0)[..., None], -1)[..., 0]
    lower = np.where(place == 0, 0.0, lower)
    last = len(LATENCY_BUCKETS_S)
    start = bounds[place]
    width = np.where(place == last, 0.0, bounds[np.minimum(place + 1, last)] - start)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = start + width * (rank - lower) / (upper - lower)
    result = np.where(place == last, start, result)
    return np.asarray(np.where(total > 0, result, np.nan), dtype=np.float64)


def selector(name: str, labels: Mapping[str, str]) -> str:
    """Return a PromQL selector of exactly these labels; they are our own, plain text."""
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


class _Table:
    """Builds the groups over the columns of one history."""

    def __init__(self, history: History, shop: Shop) -> None:
        self._history = history
        self._shop = shop
        self._services = [s.name for s in shop.services if s.has_http_metrics]

    def gauge(self, signal: Signal, name: str) -> Group:
        """A signal that is a gauge as it stands."""
        columns = self._history.columns(name)
        return Group(
            signal,
            self._subjects(columns, lambda labels: selector(name, labels)),
            0,
            lambda rows: rows[:, columns],
        )

    def gauge_ratio(self, signal: Signal, free: str, size: str) -> Group:
        """The used share, from what is free and what there is."""
        over, under = self._history.columns(free), self._history.columns(size)
        return Group(
            signal,
            self._subjects(
                over, lambda labels: f"1 - {selector(free, labels)} / {selector(size, labels)}"
            ),
            0,
            lambda rows: 1 - rows[:, over] / rows[:, under],
        )

    def share(self, signal: Signal, used: str, size: str) -> Group:
        """The used share, from what is used and what there is."""
        over, under = self._history.columns(used), self._history.columns(size)
        return Group(
            signal,
            self._subjects(
                over, lambda labels: f"{selector(used, labels)} / {selector(size, labels)}"
            ),
            0,
            lambda rows: rows[:, over] / rows[:, under],
        )

    def rate(self, signal: Signal, name: str) -> Group:
        """A counter's rise per second."""
        columns = self._history.columns(name)
        return Group(
            signal,
            self._subjects(columns, lambda labels: f"rate({selector(name, labels)}[2m])"),
            RATE_TICKS,
            lambda rows: windowed(increments(rows[:, columns]), RATE_TICKS) / (RATE_TICKS * 15),
        )

    def count(self, signal: Signal, name: str) -> Group:
        """How often something happened in the last five minutes."""
        columns = self._history.columns(name)
        return Group(
            signal,
            self._subjects(columns, lambda labels: f"increase({selector(name, labels)}[5m])"),
            COUNT_TICKS,
            lambda rows: windowed(increments(rows[:, columns]), COUNT_TICKS),
        )

    def host_cpu(self) -> Group:
        """Share of the processors' time that is not idle."""
        hosts = [host.name for host in self._shop.hosts]
        name = "node_cpu_seconds_total"
        columns, owner = self._owned(
            hosts, lambda host: self._history.columns(name, instance=f"{host}:9100", mode="idle")
        )
        cores = owner.sum(axis=0)
        subjects = tuple(
            Subject(
                Entity(EntityKind.HOST, host),
                {"instance": f"{host}:9100"},
                f'1 - avg by (instance) (rate({name}{{mode="idle",instance="{host}:9100"}}[2m]))',
                host=host,
            )
            for host in hosts
        )

        def compute(rows: Rows) -> Rows:
            idle = windowed(increments(rows[:, columns]), RATE_TICKS) @ owner
            use: Rows = 1 - idle / cores / (RATE_TICKS * 15)
            return use

        return Group(Signal.CPU_USE, subjects, RATE_TICKS, compute)

    def restarts(self) -> Group:
        """How often the process was started in the last five minutes."""
        name = "process_start_time_seconds"
        columns = self._history.columns(name)

        def compute(rows: Rows) -> Rows:
            started = rows[:, columns].copy()
            for row in range(1, len(started)):
                missing = np.isnan(started[row])
                started[row, missing] = started[row - 1, missing]
            changed = np.nan_to_num(np.diff(started, axis=0)) > 0
            return windowed(changed.astype(float), COUNT_TICKS)

        subjects = self._subjects(columns, lambda labels: f"changes({selector(name, labels)}[5m])")
        return Group(Signal.RESTARTS, subjects, COUNT_TICKS, compute)

    def certificate_lifetime(self) -> Group:
        """Seconds until the entrance's certificate ends."""
        name = "probe_ssl_earliest_cert_expiry"
        column = self._history.columns(name)
        now = self._history.columns("node_time_seconds")[:1]
        subjects = self._subjects(column, lambda labels: f"{selector(name, labels)} - time()")
        return Group(
            Signal.CERTIFICATE_LIFETIME,
            subjects,
            0,
            lambda rows: rows[:, column] - rows[:, now],
        )

    def request_rate(self) -> Group:
        """Requests per second of each service."""
        name = "http_requests_total"
        columns, owner = self._owned(
            self._services, lambda service: self._history.columns(name, service=service)
        )
        return Group(
            Signal.REQUEST_RATE,
            self._service_subjects(
                lambda s: f'sum by (service) (rate({name}{{service="{s}"}}[2m]))'
            ),
            RATE_TICKS,
            lambda rows: (
                windowed(increments(rows[:, columns]), RATE_TICKS) @ owner / (RATE_TICKS * 15)
            ),
        )

    def error_ratio(self) -> Group:
        """Share of each service's requests that it failed."""
        name = "http_requests_total"
        columns, owner = self._owned(
            self._services, lambda service: self._history.columns(name, service=service)
        )
        failed = np.array([self._history.keys[c].labels["code"][0] == "5" for c in columns])
        bad = owner * failed[:, None]

        def compute(rows: Rows) -> Rows:
            steps = windowed(increments(rows[:, columns]), RATE_TICKS)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio: Rows = (steps @ bad) / (steps @ owner)
            return ratio

        def query(service: str) -> str:
            return (
                f'sum by (service) (rate({name}{{service="{service}",code=~"5.."}}[2m]))'
                f' / sum by (service) (rate({name}{{service="{service}"}}[2m]))'
            )

        return Group(Signal.ERROR_RATIO, self._service_subjects(query), RATE_TICKS, compute)

    def latency_p95(self) -> Group:
        """95th percentile of each service's request time."""
        name = "http_request_duration_seconds_bucket"
        columns, owner = self._owned(
            self._services, lambda service: self._history.columns(name, service=service)
        )
        width = len(LATENCY_BUCKETS_S) + 1
        # From one column per (instance, le) to one per (service, le).
        place = np.tile(np.eye(width), (len(columns) // width, 1))
        sums = np.concatenate([owner[:, [s]] * place for s in range(owner.shape[1])], axis=1)

        def compute(rows: Rows) -> Rows:
            steps = windowed(increments(rows[:, columns]), RATE_TICKS) @ sums
            return quantile(steps.reshape(len(steps), -1, width), 0.95)

        def query(service: str) -> str:
            inner = f'rate({name}{{service="{service}"}}[2m])'
            return f"histogram_quantile(0.95, sum by (service, le) ({inner}))"

        return Group(Signal.LATENCY_P95, self._service_subjects(query), RATE_TICKS, compute)

    def _owned(
        self, names: Sequence[str], find: Callable[[str], list[int]]
    ) -> tuple[list[int], Rows]:
        """Return the columns of all names and a 0/1 matrix from column to name."""
        found = [find(name) for name in names]
        columns = [column for part in found for column in part]
        owner = np.zeros((len(columns), len(names)))
        start = 0
        for place, part in enumerate(found):
            owner[start : start + len(part), place] = 1.0
            start += len(part)
        return columns, owner

    def _service_subjects(self, query: Callable[[str], str]) -> tuple[Subject, ...]:
        return tuple(
            Subject(Entity(EntityKind.SERVICE, s), {"service": s}, query(s), service=s)
            for s in self._services
        )

    def _subjects(
        self, columns: Iterable[int], query: Callable[[Mapping[str, str]], str]
    ) -> tuple[Subject, ...]:
        return tuple(self._subject(column, query) for column in columns)

    def _subject(self, column: int, query: Callable[[Mapping[str, str]], str]) -> Subject:
        labels = self._history.keys[column].labels
        text, instance = query(labels), labels["instance"]
        if labels["job"] in ("node", "ping"):
            # A ping belongs to the machine that waits for the answer.
            host = labels.get("source", instance.partition(":")[0])
            return Subject(Entity(EntityKind.HOST, host), labels, text, host=host)
        service = labels.get("service", self._shop.entrance if instance == SHOP_URL else None)
        if service is None:
            return Subject(Entity(EntityKind.INSTANCE, instance), labels, text)
        where = instance.partition(":")[0] if "service" in labels else None
        return Subject(
            Entity(EntityKind.SERVICE, service), labels, text, host=where, service=service
        )
