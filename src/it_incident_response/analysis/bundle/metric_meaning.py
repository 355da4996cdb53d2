"""What a metric means, told from its name: bundles give no units."""

import re
from enum import StrEnum

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


class Meaning(StrEnum):
    """The kinds of metric that are told apart."""

    FAILURE = "failure"
    LATENCY = "latency"
    LOAD = "load"
    USE = "use"
    LIMIT = "limit"
    LIFETIME = "lifetime"
    OTHER = "other"


_MEANINGS: tuple[tuple[Meaning, frozenset[str]], ...] = (
    (Meaning.LIFETIME, frozenset({"expiry", "expires", "expiration", "lifetime"})),
    (
        Meaning.FAILURE,
        frozenset(
            [
                "error",
                "errors",
                "failure",
                "failures",
                "failed",
                "fail",
                "panic",
                "panics",
                "oom",
                "killed",
                "throttle",
                "throttled",
                "throttles",
                "servfail",
                "nxdomain",
                "5xx",
                "500",
                "502",
                "503",
                "504",
                "4xx",
                "400",
                "401",
                "403",
                "404",
                "409",
                "429",
                "timeout",
                "timeouts",
                "dropped",
                "rejected",
                "rejections",
                "refused",
                "exception",
                "exceptions",
                "crash",
                "crashes",
                "restarts",
                "restart",
                "deadlock",
                "deadlocks",
                "unauthorized",
                "aborted",
                "lost",
                "corrupt",
                "invalid",
                "dlq",
                "evicted",
                "evictions",
                "unavailable",
                "misses",
                "miss",
                "stale",
            ]
        ),
    ),
    (
        Meaning.LATENCY,
        frozenset(
            [
                "latency",
                "duration",
                "wait",
                "p50",
                "p90",
                "p95",
                "p99",
                "p999",
                "response",
                "time",
                "age",
                "lag",
                "delay",
                "slow",
            ]
        ),
    ),
    (
        Meaning.LIMIT,
        frozenset(
            ["limit", "max", "maximum", "quota", "ceiling", "provisioned", "desired", "size"]
        ),
    ),
    (
        Meaning.USE,
        frozenset(
            [
                "cpu",
                "memory",
                "rss",
                "heap",
                "disk",
                "usage",
                "used",
                "utilization",
                "utilisation",
                "saturation",
                "queue",
                "depth",
                "backlog",
                "use",
                "inuse",
                "connections",
                "conns",
                "goroutines",
                "threads",
                "fds",
                "capacity",
                "inodes",
                "pending",
                "consumed",
                "pool",
                "count",
            ]
        ),
    ),
    (
        Meaning.LOAD,
        frozenset(
            [
                "requests",
                "request",
                "rps",
                "qps",
                "rate",
                "throughput",
                "calls",
                "messages",
                "sec",
                "second",
                "min",
            ]
        ),
    ),
)


def words_of(name: str) -> tuple[str, ...]:
    """Return the lower-case words of a name in snake, kebab, dotted or camel case."""
    return tuple(word.lower() for word in _WORDS.findall(name.replace("5xx", " 5xx ")[:200]))


def meaning_of(metric: str) -> Meaning:
    """Return what a metric means; the gravest meaning of its words counts."""
    words = set(words_of(metric)) | set(re.split(r"[^a-z0-9]+", metric.lower()[:200]))
    return next((meaning for meaning, known in _MEANINGS if words & known), Meaning.OTHER)
