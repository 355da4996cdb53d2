"""Log lines that follow from the state: kept as bursts, written out when they are asked for."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from it_incident_response.domain.evidence import LogLevel, LogLine
from it_incident_response.ports.clock import utc
from it_incident_response.ports.sources import LogQuery
from it_incident_response.simulation.physics import TICK_S
from it_incident_response.simulation.state import Instance, State

BURSTS_MAX = 60_000
_LINES_PER_BURST = 5
"""At most so many lines of one kind, instance and tick: logs are sampled, like real ones."""
_EVERY_TICKS = 4
"""Ordinary access lines are written for one tick in four."""


@dataclass(frozen=True)
class Burst:
    """Some lines of one kind from one instance within one tick."""

    at: float
    """Start of the tick, unix seconds."""
    kind: str
    service: str | None
    host: str
    count: int = 1
    detail: str = ""


Writer = Callable[[random.Random, Burst], str]


def _number(rng: random.Random, low: int = 100_000, high: int = 9_999_999) -> int:
    return rng.randint(low, high)


def _trace(rng: random.Random) -> str:
    return f"{rng.getrandbits(64):016x}"


_PATHS = ("/cart", "/checkout", "/products/{}", "/search?q={}", "/account/orders/{}", "/")


def _access(rng: random.Random, burst: Burst) -> str:
    path = rng.choice(_PATHS).format(_number(rng))
    status = 404 if rng.random() < 0.02 else 200
    return f'"GET {path} HTTP/1.1" {status} {rng.randint(300, 24000)} {rng.randint(8, 240)}ms'


def _failed_access(rng: random.Random, burst: Burst) -> str:
    path = rng.choice(_PATHS).format(_number(rng))
    return f'"GET {path} HTTP/1.1" 500 187 {rng.randint(20, 3000)}ms trace={_trace(rng)}'


def _pool_timeout(rng: random.Random, burst: Burst) -> str:
    return (
        f"request {_trace(rng)}: timeout after {rng.randint(3000, 3060)} ms waiting for a database "
        f"connection from pool main (size={burst.detail}, idle=0, waiting={rng.randint(3, 60)})"
    )


def _exception(rng: random.Random, burst: Burst) -> str:
    return (
        f"unhandled exception in request {_trace(rng)}: TypeError: unsupported operand type(s) "
        f"for +: 'NoneType' and 'int' (orders/totals.py line {rng.randint(88, 90)}, "
        f"version {burst.detail})"
    )


def _upstream_timeout(rng: random.Random, burst: Burst) -> str:
    return (
        f"request {_trace(rng)}: call to {burst.detail} timed out after "
        f"{rng.randint(3000, 6000)} ms"
    )


def _upstream_error(rng: random.Random, burst: Burst) -> str:
    status = rng.choice((500, 502, 503))
    return f"request {_trace(rng)}: call to {burst.detail} failed with status {status}"


def _refused(rng: random.Random, burst: Burst) -> str:
    return (
        f"request {_trace(rng)}: connect to {burst.detail} failed: connection refused "
        f"(attempt {rng.randint(1, 3)})"
    )


def _provider_timeout(rng: random.Random, burst: Burst) -> str:
    return (
        f"payment {_number(rng)}: POST https://api.cardprocessor.example/v1/charges: no answer "
        f"within {rng.randint(4000, 4050)} ms"
    )


def _overload(rng: random.Random, burst: Burst) -> str:
    return (
        f"request {_trace(rng)} rejected: all {burst.detail} workers busy, "
        f"{rng.randint(50, 400)} requests queued"
    )


def _no_space(rng: random.Random, burst: Burst) -> str:
    name = f"{burst.detail.rstrip('/')}/spool/upload-{_number(rng)}"
    return f"cannot write {name}: [Errno 28] No space left on device"


def _database_no_space(rng: random.Random, burst: Burst) -> str:
    return (
        f'could not extend file "base/16401/{_number(rng, 16000, 99999)}": '
        "No space left on device; HINT: Check free disk space."
    )


def _oom(rng: random.Random, burst: Burst) -> str:
    name, kib = burst.detail.split("|")
    pid = rng.randint(800, 32000)
    return (
        f"Out of memory: Killed process {pid} ({name}) total-vm:{int(int(kib) * 1.7)}kB, "
        f"anon-rss:{kib}kB, file-rss:0kB, UID:998 oom_score_adj:0"
    )


def _unit_failed(rng: random.Random, burst: Burst) -> str:
    unit, result = burst.detail.split("|")
    return f"{unit}: Main process exited; Failed with result '{result}'."


def _gc_pressure(rng: random.Random, burst: Burst) -> str:
    return (
        f"full garbage collection took {rng.randint(400, 2600)} ms, heap {burst.detail} after "
        "collection"
    )


def _tls_expired(rng: random.Random, burst: Burst) -> str:
    return (
        f"*{_number(rng)} SSL_do_handshake() failed (SSL: error:0A000415:SSL routines::sslv3 alert "
        f"certificate expired) while SSL handshaking, client: 203.0.113.{rng.randint(2, 250)}, "
        "server: 0.0.0.0:443"
    )


def _slow_query(rng: random.Random, burst: Burst) -> str:
    return (
        f"duration: {rng.randint(900, 6000)}.{rng.randint(100, 999)} ms  execute "
        f"orders_by_customer, parameters: $1 = '{_number(rng)}'"
    )


WRITERS: dict[str, tuple[LogLevel, Writer]] = {
    "access": (LogLevel.INFO, _access),
    "failed_access": (LogLevel.ERROR, _failed_access),
    "pool_timeout": (LogLevel.ERROR, _pool_timeout),
    "exception": (LogLevel.ERROR, _exception),
    "upstream_timeout": (LogLevel.ERROR, _upstream_timeout),
    "upstream_error": (LogLevel.WARNING, _upstream_error),
    "refused": (LogLevel.ERROR, _refused),
    "provider_timeout": (LogLevel.ERROR, _provider_timeout),
    "overload": (LogLevel.WARNING, _overload),
    "no_space": (LogLevel.ERROR, _no_space),
    "database_no_space": (LogLevel.ERROR, _database_no_space),
    "oom": (LogLevel.FATAL, _oom),
    "unit_failed": (LogLevel.ERROR, _unit_failed),
    "unit_started": (LogLevel.INFO, lambda rng, burst: f"Started {burst.detail}."),
    "gc_pressure": (LogLevel.WARNING, _gc_pressure),
    "tls_expired": (LogLevel.ERROR, _tls_expired),
    "slow_query": (LogLevel.WARNING, _slow_query),
    "certificate_renewed": (
        LogLevel.INFO,
        lambda rng, burst: "Certificate renewed and deployed; reloading nginx.",
    ),
}
"""Kind to its level and the function that writes one line of it."""


class LogBook:
    """The newest bursts, oldest first."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bursts: deque[Burst] = deque(maxlen=BURSTS_MAX)

    def add(self, burst: Burst) -> None:
        """Remember a burst."""
        self._bursts.append(burst)

    def observe(self, state: State, tick: int) -> None:
        """Remember what the instances wrote during the tick that ends now."""
        start = state.at - TICK_S
        for instance in state.instances:
            if instance.is_up:
                self._observe_instance(state, instance, start, tick)
        if state.certificate_has_expired:
            entrance = state.services[state.shop.entrance].instances[0]
            if entrance.is_up:
                self.add(Burst(start, "tls_expired", entrance.spec.name, entrance.host, 4))

    def _observe_instance(self, state: State, instance: Instance, start: float, tick: int) -> None:
        name, host = instance.spec.name, instance.host
        if instance.spec.has_http_metrics and tick % _EVERY_TICKS == 0 and instance.rate > 1:
            self.add(Burst(start, "access", name, host, 2))
        requests = instance.rate * TICK_S
        for trouble in instance.troubles:
            count = min(_LINES_PER_BURST, round(requests * trouble.share))
            kind = trouble.reason
            if kind == "no_space" and name == state.shop.database:
                kind = "database_no_space"
            if count:
                self.add(Burst(start, kind, name, host, count, trouble.detail))
        if instance.spec.has_http_metrics and instance.error_share > 0.03:
            self.add(Burst(start, "failed_access", name, host, 2))
        filled = instance.rss_bytes / instance.spec.memory_limit_bytes
        if filled > 0.82:
            self.add(Burst(start, "gc_pressure", name, host, 1, f"{filled:.0%}"))
        if name == state.shop.database and instance.latency_s > 0.05:
            self.add(Burst(start, "slow_query", name, host, 2))

    def lines(self, query: LogQuery) -> tuple[list[LogLine], bool]:
        """Return the newest matching lines, oldest first, and whether older ones were left out."""
        start, end = query.window.start.timestamp(), query.window.end.timestamp()
        ranks = list(LogLevel)
        lowest = ranks.index(query.minimum_level)
        found: list[LogLine] = []
        # The newest come first here, so that reading stops where the limit is reached.
        recent = takewhile(lambda burst: burst.at > start - TICK_S, reversed(self._bursts))
        for burst in recent:
            if not _is_wanted(burst, query) or ranks.index(WRITERS[burst.kind][0]) < lowest:
                continue
            found += [line for line in self._write(burst) if start <= line.at.timestamp() < end]
            if len(found) > query.limit + 200:
                break
        found.sort(key=lambda line: line.at)
        return found[-query.limit :], len(found) > query.limit

    def _write(self, burst: Burst) -> Iterator[LogLine]:
        key = f"{self._seed}/{burst.at}/{burst.kind}/{burst.service}/{burst.host}/{burst.detail}"
        rng = random.Random(key)  # noqa: S311 - reproducible, not secret
        level, write = WRITERS[burst.kind]
        for _ in range(burst.count):
            yield LogLine(
                at=utc(round(burst.at + rng.random() * TICK_S, 3)),
                message=write(rng, burst),
                level=level,
                service=burst.service,
                host=burst.host,
            )


def _is_wanted(burst: Burst, query: LogQuery) -> bool:
    if not query.services and not query.hosts:
        return True
    return burst.service in query.services or burst.host in query.hosts
