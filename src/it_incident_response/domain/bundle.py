"""What a bundle holds, parsed: everything in it is text from outside."""

from collections.abc import Mapping

from pydantic import JsonValue

from it_incident_response.domain.evidence import LogLine
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.trace import Span


class BundleAlert(Value):
    """The alert that called somebody."""

    service: str | None = None
    metric: str | None = None
    summary: str = ""
    fired_at: UtcTime | None = None
    fields: Mapping[str, JsonValue] = {}
    """Everything that `alert.json` says."""


class MetricSamples(Value):
    """One metric of one service; times in Unix seconds, rising, values finite."""

    service: str
    metric: str
    times: tuple[float, ...]
    values: tuple[float, ...]


class Commit(Value):
    """A change of code or of files beside it."""

    sha: str
    at: UtcTime | None = None
    author: str | None = None
    message: str = ""
    files: tuple[str, ...] = ()
    diff: str = ""


class Deploy(Value):
    """A version that was brought to a service."""

    service: str
    at: UtcTime
    sha: str | None = None
    version: str | None = None


class FlagChange(Value):
    """A feature flag that was switched."""

    flag: str
    at: UtcTime
    service: str | None = None
    change: str = ""


class Pattern(Value):
    """A log pattern that came with the bundle, counted by whoever made it."""

    signature: str
    service: str | None = None
    is_more: bool = False
    """More frequent than before."""


class Notice(Value):
    """A passage of any further file: a status feed, node events..."""

    file: str
    at: UtcTime | None = None
    text: str


class Bundle(Value):
    """One frozen incident."""

    name: str
    alert: BundleAlert = BundleAlert()
    lines: tuple[LogLine, ...] = ()
    metrics: tuple[MetricSamples, ...] = ()
    spans: tuple[Span, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    commits: tuple[Commit, ...] = ()
    deploys: tuple[Deploy, ...] = ()
    flags: tuple[FlagChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    gaps: tuple[str, ...] = ()
    """What is missing or could not be read, and why."""
