"""A made-up incident to bend: a shop whose `basket` service fails at 12:30."""

from datetime import UTC, datetime, timedelta

from it_incident_response.domain.bundle import (
    Bundle,
    BundleAlert,
    Commit,
    Deploy,
    FlagChange,
    MetricSamples,
)
from it_incident_response.domain.evidence import LogLevel, LogLine

START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ONSET = START + timedelta(minutes=30)
MINUTES = 45


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def metric(service: str, name: str, before: float, after: float, *, since: int = 30):
    values = [(after if n >= since else before) * (1 + 0.01 * (n % 3)) for n in range(MINUTES)]
    times = tuple(at(n).timestamp() for n in range(MINUTES))
    return MetricSamples(service=service, metric=name, times=times, values=tuple(values))


def lines(service: str, text: str, *, minutes=range(30, 45), level=LogLevel.ERROR):
    return tuple(LogLine(at=at(n), message=text, level=level, service=service) for n in minutes)


def commit(sha: str, diff: str, *, message="change", file="services/basket/a.py", minute=10):
    return Commit(sha=sha, at=at(minute), message=message, files=(file,), diff=diff)


def deploy(sha: str, *, service="basket", minute=20):
    return Deploy(service=service, at=at(minute), sha=sha)


def flag(name: str, *, service="basket", minute=28):
    return FlagChange(flag=name, at=at(minute), service=service, change="off->on")


QUIET = lines("basket", "basket priced", minutes=range(30), level=LogLevel.INFO)


def bundle(**given) -> Bundle:
    """Return an incident of basket's errors, with the parts given in place of the usual ones."""
    usual = {
        "name": "made",
        "alert": BundleAlert(
            service="basket",
            metric="error_ratio",
            summary="basket fails",
            fired_at=at(35),
            fields={"service": "basket", "summary": "basket fails"},
        ),
        "metrics": (metric("basket", "error_ratio", 0.001, 0.6),),
        "lines": QUIET,
    }
    return Bundle(**(usual | given))
