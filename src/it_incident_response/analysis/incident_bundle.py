"""A live incident as a bundle: what was kept of it, in the files that `iir investigate` reads.

What a record keeps is less than what was looked at: patterns instead of all lines, summaries of
calls instead of traces. The manifest says so; nothing is made up to look like raw data.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    SIGNAL_UNITS,
    Change,
    CommandOutput,
    Evidence,
    LogLevel,
    LogPattern,
    LogRate,
    MetricFinding,
    Signal,
    SourceGap,
    SpanFinding,
)
from it_incident_response.domain.incident import Incident

Document = Mapping[str, Any] | Sequence[Any]
F = TypeVar("F")

FORMAT = "iir-bundle"
FORMAT_VERSION = 1
SEVERITY_TEXT = {
    LogLevel.DEBUG: "DEBUG",
    LogLevel.INFO: "INFO",
    LogLevel.WARNING: "WARN",
    LogLevel.ERROR: "ERROR",
    LogLevel.FATAL: "FATAL",
}
_BAD = frozenset({LogLevel.WARNING, LogLevel.ERROR, LogLevel.FATAL})
_SHA = re.compile(r"[0-9a-f]{7,40}")
_SERVICE_FIRST = (EntityKind.SERVICE, EntityKind.JOB, EntityKind.POD, EntityKind.HOST)
_IN_NAME = ("seconds", "bytes", "ratio", "per_second")


def incident_documents(
    incident: Incident, alerts: Sequence[Alert], evidence: Sequence[Evidence]
) -> dict[str, Document]:
    """Return the bundle's documents by file name: rows of `logs.ndjson` and `metrics.csv` as lists.

    Nothing is redacted here: what is written outside must go through a redactor first.
    """
    first = min(alerts, key=lambda alert: alert.starts_at, default=None)
    changes = [item.finding for item in evidence if isinstance(item.finding, Change)]
    by_people = [change for change in changes if not change.is_ours]
    patterns = _of(evidence, LogPattern)
    documents: dict[str, Document] = {
        "alert.json": _alert(incident, first, evidence),
        "logs.ndjson": sorted(_lines(patterns), key=lambda row: str(row["timestamp"])),
        "metrics.csv": _metric_rows(evidence),
        "traces.json": _spans(evidence),
        "patterns.json": [_pattern(pattern) for pattern in patterns],
        "context/commits.json": [_commit(change) for change in by_people if _is_commit(change)],
        "context/deploys.json": [_deploy(c) for c in by_people if c.what in _DEPLOYS],
        "context/flags.json": [_flag(c) for c in by_people if c.what == "flag"],
        "context/changes.json": [_other(change) for change in changes if _is_other(change)],
        "observations.json": _observations(evidence),
    }
    optional = ("patterns.json", "context/changes.json", "observations.json")
    return {name: doc for name, doc in documents.items() if doc or name not in optional}


def manifest(
    incident: Incident,
    documents: Mapping[str, Document],
    evidence: Sequence[Evidence],
    *,
    product_version: str,
    exported_at: datetime,
) -> dict[str, Any]:
    """Return what the bundle is of, how it was made harmless, and what it lacks."""
    missing = [f"{name}: nothing was kept" for name, doc in documents.items() if not doc]
    missing += [f"{gap.source}: {gap.reason}" for gap in _of(evidence, SourceGap)]
    missing += [f"{e.source}: only in part: {e.summary}" for e in evidence if e.is_partial]
    missing.append("logs.ndjson holds the examples kept of each pattern, not every line")
    if documents.get("traces.json"):
        missing.append("traces.json: one span stands for all calls of an operation")
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "product_version": product_version,
        "incident": incident.key,
        "exported_at": _iso(exported_at),
        "redaction": "tokens, keys, e-mail addresses, card numbers and configured secrets",
        "counts": {name: len(doc) for name, doc in documents.items() if isinstance(doc, list)},
        "missing": list(dict.fromkeys(missing)),
    }


def rendered(name: str, document: Any) -> str:
    """Return a document as the text of its file."""
    import json

    if name.endswith(".csv"):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("timestamp", "service", "metric", "value"))
        writer.writerows(document)
        return text.getvalue()
    if name.endswith(".ndjson"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in document)
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _of(evidence: Sequence[Evidence], kind: type[F]) -> list[F]:
    return [item.finding for item in evidence if isinstance(item.finding, kind)]


def _alert(incident: Incident, alert: Alert | None, evidence: Sequence[Evidence]) -> dict[str, Any]:
    if alert is None:
        return {
            "service": next(iter(incident.affected_systems), None),
            "metric": None,
            "fired_at": _iso(incident.opened_at),
            "severity": incident.severity.value,
            "monitor": None,
            "summary": incident.title,
            "detail": incident.description,
        }
    return {
        "service": _subject(alert, evidence),
        "metric": alert.labels.get("metric") or alert.name,
        "fired_at": _iso(alert.starts_at),
        "severity": alert.severity.value,
        "monitor": alert.name,
        "summary": alert.annotations.get("summary") or incident.title,
        "detail": alert.annotations.get("description", ""),
        "labels": dict(alert.labels),
    }


def _subject(alert: Alert, evidence: Sequence[Evidence]) -> str | None:
    """Return what the alert is about, by the name that the other files use where they can."""
    ranked = sorted(
        alert.entities,
        key=lambda e: _SERVICE_FIRST.index(e.kind) if e.kind in _SERVICE_FIRST else 99,
    )
    measured = {f.entity for f in _of(evidence, MetricFinding)}
    told = {p.service for p in _of(evidence, LogPattern)}
    used = next((e for e in ranked if e in measured or e.name in told), None)
    chosen = used or next(iter(ranked), None)
    return chosen.name if chosen else None


def _lines(patterns: Sequence[LogPattern]) -> list[dict[str, Any]]:
    """Return the examples; the time of the first and of the last one is known, not between."""
    rows = []
    for pattern in patterns:
        last = len(pattern.examples) - 1
        for number, example in enumerate(pattern.examples):
            at = pattern.last_at if number and number == last else pattern.first_at
            rows.append(
                {
                    "timestamp": _iso(at),
                    "service": pattern.service or pattern.host,
                    "severity_text": SEVERITY_TEXT[pattern.level],
                    "msg": example,
                    "pattern_count": pattern.count,
                }
            )
    return rows


def _pattern(pattern: LogPattern) -> dict[str, Any]:
    return {
        "signature": pattern.template,
        "service": pattern.service or pattern.host,
        "count": pattern.count,
        "delta_vs_baseline": f"{pattern.count - pattern.baseline_count:+.0f}",
        "sentiment": "negative" if pattern.level in _BAD else "neutral",
        "level": SEVERITY_TEXT[pattern.level],
        "novelty": pattern.novelty.value,
        "first_at": _iso(pattern.first_at),
        "last_at": _iso(pattern.last_at),
        "exception": pattern.exception,
        "frame": pattern.frame,
    }


def _metric_rows(evidence: Sequence[Evidence]) -> list[tuple[str, str, str, str]]:
    """Return one row a sample; of two looks at one series the later one has the say."""
    samples: dict[tuple[str, str, float], float] = {}
    for finding in _of(evidence, MetricFinding):
        for at, value in finding.samples:
            samples[finding.entity.name, metric_name(finding), at] = value
    rows = sorted(samples.items(), key=lambda item: (item[0][2], item[0][:2]))
    return [
        (_iso(datetime.fromtimestamp(at, UTC)), service, metric, repr(value))
        for (service, metric, at), value in rows
    ]


def metric_name(finding: MetricFinding) -> str:
    """Return a name that says meaning and unit: `latency_p95_seconds`; a panel's own title."""
    if finding.signal is Signal.OTHER:
        return finding.title or finding.signal.value
    unit = SIGNAL_UNITS.get(finding.signal, "")
    name = finding.signal.value
    return name if unit not in _IN_NAME or name.endswith(unit) else f"{name}_{unit}"


def _spans(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return a span for each operation whose calls were summarised, below one of its caller."""
    rows: list[dict[str, Any]] = []
    for number, item in enumerate(evidence):
        found = item.finding
        if not isinstance(found, SpanFinding):
            continue
        start = item.window.start if item.window else item.observed_at
        trace, parent = f"summary-{number}", None
        common = {"trace_id": trace, "start": _iso(start), "status": _status(found)}
        if found.caller:
            parent = f"{trace}-caller"
            rows.append(
                common
                | {"span_id": parent, "parent_id": None, "service": found.caller}
                | {"name": f"calls {found.service}", "duration_ms": _ms(found.p95_s)}
            )
        rows.append(
            common
            | {"span_id": trace, "parent_id": parent, "service": found.service}
            | {"name": found.operation, "duration_ms": _ms(found.p95_s)}
            | ({"error": found.error or "failed"} if found.errors else {})
            | {"summary_of": found.model_dump(mode="json", exclude={"kind", "error", "caller"})}
        )
    return rows


def _status(found: SpanFinding) -> str:
    return "ERROR" if found.errors else "OK"


def _ms(seconds: float | None) -> float:
    return round((seconds or 0.0) * 1000, 3)


_DEPLOYS = frozenset({"deploy", "release"})
_TOLD_APART = frozenset({"commit", "flag", *_DEPLOYS})


def _is_commit(change: Change) -> bool:
    """Return whether there is code or configuration to read: also a deploy that came with it."""
    return change.what == "commit" or bool(change.diff or change.files)


def _is_other(change: Change) -> bool:
    return change.is_ours or (change.what not in _TOLD_APART and not _is_commit(change))


def _commit(change: Change) -> dict[str, Any]:
    return {
        "sha": change.version or change.change_id,
        "author": change.author,
        "timestamp": _iso(change.at),
        "message": change.summary,
        "files_changed": list(change.files),
        "diff": change.diff,
    }


def _deploy(change: Change) -> dict[str, Any]:
    version = change.version or ""
    has_code = _is_commit(change)
    sha = (version or change.change_id) if has_code or _SHA.fullmatch(version) else None
    return {
        "timestamp": _iso(change.at),
        "service": _name(change.entity),
        "commit_sha": sha,
        "version": change.version,
        "summary": change.summary,
        "source": change.source,
    }


def _flag(change: Change) -> dict[str, Any]:
    return {
        "timestamp": _iso(change.at),
        "flag": change.change_id,
        "service": _name(change.entity),
        "change": change.summary,
        "actor": change.author,
    }


def _other(change: Change) -> dict[str, Any]:
    kept = change.model_dump(mode="json", include={"what", "summary", "author", "source"})
    told = {"timestamp": _iso(change.at), "service": _name(change.entity)}
    return told | kept | {"is_by_responder": change.is_ours}


def _observations(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Return what fits in no other file: rates of lines and what commands printed."""
    rows: list[dict[str, Any]] = []
    for item in evidence:
        if not isinstance(item.finding, LogRate | CommandOutput):
            continue
        row = {"timestamp": _iso(item.observed_at), "source": item.source, "seen": item.summary}
        if isinstance(item.finding, CommandOutput):
            row |= {"service": item.finding.entity.name, "output": item.finding.output}
        rows.append(row)
    return rows


def _name(entity: Entity | None) -> str | None:
    return entity.name if entity else None


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
