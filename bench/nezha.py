"""Reads the Nezha faults: minutely metrics of pods, and for some the traces and logs."""

import csv
import gzip
import io
import json
import lzma
import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.ranking_case import RankingCase, metric_evidence
from it_incident_response.analysis.log_patterns import template_of
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    Evidence,
    Finding,
    LogLevel,
    LogPattern,
    Novelty,
    Signal,
    SpanFinding,
)
from it_incident_response.domain.topology import Topology

MINUTE = 60.0
SEEN_FOR_S = 240.0
LOOK_BACK_S = 180.0
DISTURBED = (-60.0, 420.0)
"""Seconds around a fault that are not quiet."""
SIGNALS = {
    "CpuUsageRate(%)": (Signal.CPU_USE, 0.01),
    "MemoryUsageRate(%)": (Signal.MEMORY_USE, 0.01),
    "PodServerLatencyP95(s)": (Signal.LATENCY_P95, 1.0),
    "PodClientLatencyP95(s)": (Signal.LATENCY_P95, 1.0),
    "PodWorkload(Ops)": (Signal.REQUEST_RATE, 1.0),
}
CALLS_MIN = 5
SLOWER = 1.5
_Series = dict[tuple[str, Signal, str], dict[int, float]]


class _Span(NamedTuple):
    trace: str
    span: str
    parent: str
    service: str
    operation: str
    seconds: float


def cases(folder: Path) -> Iterator[RankingCase]:
    """Yield the injected faults."""
    faults = json.loads((folder / "fault_times.json").read_text())
    for date in sorted({case["date"] for case in _listed(folder)}):
        series = _metrics(folder, date)
        quiet = [fault["ts_utc"] for fault in faults if fault["date"] == date]
        normal = _normal(folder, date)
        for case in _listed(folder):
            if case["date"] == date:
                yield _case(folder, case, series, quiet, normal)


def _listed(folder: Path) -> list[dict]:
    return json.loads((folder / "cases.json").read_text())


def _case(
    folder: Path, case: dict, series: _Series, faults: list[float], normal: "_Normal"
) -> RankingCase:
    began = float(case["ts_utc"])
    evidence = _metric_evidence(series, began, faults)
    spans = _spans_of(folder, case)
    evidence += _span_evidence(spans, normal, began)
    evidence += _log_evidence(folder, case, normal, began)
    services = frozenset(name for name, _, _ in series)
    topology = normal.topology.united(_called(spans))
    return RankingCase(
        case["case"],
        f"{case['system']} {case['inject_type']}",
        case["service"],
        services,
        tuple(evidence),
        topology,
        datetime.fromtimestamp(began, tz=UTC),
    )


# Metrics -------------------------------------------------------------------------------------


def _metrics(folder: Path, date: str) -> _Series:
    series: _Series = defaultdict(dict)
    for row in _rows(folder / "metrics" / f"{date}.csv.gz"):
        minute = int(_time(row["Time"]) // MINUTE)
        service = _service(row["PodName"])
        for column, (signal, factor) in SIGNALS.items():
            series[service, signal, column][minute] = float(row[column] or "nan") * factor
    _add_network(folder, date, series)
    return series


def _add_network(folder: Path, date: str, series: _Series) -> None:
    """Add to both ends of a call how much longer it takes for the caller than for the callee."""
    paths = [folder / "metrics" / f"{date}.{end}_50.csv.gz" for end in ("source", "destination")]
    if not all(path.exists() for path in paths):
        return
    source, target = ({int(_time(r["time"]) // MINUTE): r for r in _rows(p)} for p in paths)
    for minute in source.keys() & target.keys():
        for edge in set(source[minute]) - {"time", "timestamp"}:
            sent, served = source[minute][edge], target[minute].get(edge)
            if sent and served:
                for service in edge.split("_"):
                    series[service, Signal.NETWORK_LATENCY, edge][minute] = float(sent) - float(
                        served
                    )


def _metric_evidence(series: _Series, began: float, faults: list[float]) -> list[Evidence]:
    """Compare with the quiet minutes of the day, moved to just before the window."""
    first = int((began - LOOK_BACK_S) // MINUTE)
    last = int((began + SEEN_FOR_S) // MINUTE)
    minutes = sorted({minute for samples in series.values() for minute in samples})
    quiet = [m for m in minutes if not any(_disturbs(fault, m * MINUTE) for fault in faults)]
    window = [minute for minute in minutes if first <= minute <= last]
    names = sorted(series)
    values = np.array(
        [[series[name].get(minute, np.nan) for minute in (*quiet, *window)] for name in names]
    )
    before = [(first - place) * MINUTE for place in range(len(quiet), 0, -1)]
    return metric_evidence(
        np.array([*before, *(minute * MINUTE for minute in window)]),
        values,
        [(Entity(EntityKind.SERVICE, service), signal) for service, signal, _ in names],
        start=first * MINUTE,
        began=began,
        now=began + SEEN_FOR_S,
    )


def _disturbs(fault: float, moment: float) -> bool:
    return DISTURBED[0] - MINUTE <= moment - fault <= DISTURBED[1]


# Traces and logs -----------------------------------------------------------------------------


class _Normal(NamedTuple):
    own: dict[tuple[str, str], list[float]]
    templates: dict[tuple[str, str, LogLevel], int]
    topology: Topology


def _normal(folder: Path, date: str) -> _Normal:
    """Return what a quiet minute of the day, or of the system's other day, looks like."""
    traces = sorted((folder / "normal").glob(f"{date[:4]}*_trace.csv.gz"))
    logs = sorted((folder / "normal").glob(f"{date[:4]}*_log.csv.gz"))
    spans = [span for path in traces for span in _spans(path)]
    topology = _called(spans)
    dependencies = folder / "metrics" / f"{date}.dependency.csv.gz"
    if dependencies.exists():
        calls: dict[str, set[str]] = defaultdict(set)
        for row in _rows(dependencies):
            calls[row["Source"]].add(row["Target"])
        stated = Topology(calls={name: frozenset(callees) for name, callees in calls.items()})
        topology = topology.united(stated)
    own = {key: times for path in traces for key, times in _own_times(_spans(path)).items()}
    return _Normal(own, _templates(logs), topology)


def _spans_of(folder: Path, case: dict) -> list[_Span]:
    paths = sorted((folder / "cases" / case["case"]).glob("*_trace.csv.xz"))
    return [span for path in paths for span in _spans(path)]


def _spans(path: Path) -> list[_Span]:
    return [
        _Span(
            row["TraceID"],
            row["SpanID"],
            row["ParentID"],
            _service(row["PodName"]),
            row["OperationName"],
            (int(row["EndTimeUnixNano"]) - int(row["StartTimeUnixNano"])) / 1e9,
        )
        for row in _rows(path)
        if (row["EndTimeUnixNano"] or "").isdigit() and (row["StartTimeUnixNano"] or "").isdigit()
    ]


def _called(spans: list[_Span]) -> Topology:
    by_id = {(span.trace, span.span): span.service for span in spans}
    calls: dict[str, set[str]] = defaultdict(set)
    for span in spans:
        caller = by_id.get((span.trace, span.parent))
        if caller and caller != span.service:
            calls[caller].add(span.service)
    return Topology(calls={name: frozenset(callees) for name, callees in calls.items()})


def _own_times(spans: list[_Span]) -> dict[tuple[str, str], list[float]]:
    """Return each operation's time without its children's; a call's own time is the network's.

    That of a call between services counts for both ends, as nobody can tell which is to blame.
    """
    by_id = {(span.trace, span.span): span for span in spans}
    inside: dict[tuple[str, str], float] = defaultdict(float)
    remote: dict[tuple[str, str], str] = {}
    for span in spans:
        parent = by_id.get((span.trace, span.parent))
        if parent is not None:
            inside[parent.trace, parent.span] += span.seconds
            if parent.service != span.service:
                remote[parent.trace, parent.span] = span.service
    own: dict[tuple[str, str], list[float]] = defaultdict(list)
    for key, span in by_id.items():
        seconds = max(0.0, span.seconds - inside[key])
        own[span.service, span.operation].append(seconds)
        if key in remote:
            own[remote[key], f"network from {span.service}"].append(seconds)
    return own


def _span_evidence(spans: list[_Span], normal: _Normal, began: float) -> list[Evidence]:
    found = []
    for (service, operation), times in sorted(_own_times(spans).items()):
        before = normal.own.get((service, operation), [])
        if min(len(times), len(before)) < CALLS_MIN:
            continue
        usual, now = _p95(before), _p95(times)
        if now < SLOWER * usual or now - usual < 0.002:
            continue
        finding = SpanFinding(
            service=service,
            operation=operation,
            calls=len(times),
            errors=0,
            baseline_calls=len(before),
            p95_s=now,
            baseline_p95_s=usual,
            is_deepest=True,
        )
        found.append(_evidence(f"s{len(found):04d}", finding, began))
    return found


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def _log_evidence(folder: Path, case: dict, normal: _Normal, began: float) -> list[Evidence]:
    paths = sorted((folder / "cases" / case["case"]).glob("*_log.csv.xz"))
    found = []
    for (service, template, level), count in sorted(_templates(paths).items()):
        if normal.templates.get((service, template, level)):
            continue
        at = datetime.fromtimestamp(began, tz=UTC)
        finding = LogPattern(
            template=template[:400],
            level=level,
            service=service,
            count=count,
            baseline_count=0,
            first_at=at,
            last_at=at,
            novelty=Novelty.NEW,
        )
        found.append(_evidence(f"l{len(found):04d}", finding, began))
    return found


def _templates(paths: list[Path]) -> dict[tuple[str, str, LogLevel], int]:
    counts: dict[tuple[str, str, LogLevel], int] = defaultdict(int)
    for path in paths:
        for row in _rows(path):
            if row["Log"] and row["PodName"]:
                text = _message(row["Log"])
                counts[_service(row["PodName"]), template_of(text), _level(text)] += 1
    return counts


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["log"])
    except (ValueError, KeyError, TypeError):
        return text


def _level(text: str) -> LogLevel:
    head = text[:80].upper()
    if "ERROR" in head:
        return LogLevel.ERROR
    return LogLevel.WARNING if "WARN" in head else LogLevel.INFO


# Files ---------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[dict[str, str]]:
    opener = lzma.open if path.suffix == ".xz" else gzip.open
    with opener(path, "rb") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8", errors="replace"))


def _time(text: str) -> float:
    return datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def _service(pod: str) -> str:
    return pod.rsplit("-", 2)[0]


def _evidence(number: str, finding: Finding, began: float) -> Evidence:
    return Evidence(
        id=number,
        incident_id="case",
        source="case",
        summary=finding.kind,
        finding=finding,
        observed_at=datetime.fromtimestamp(began, tz=UTC),
    )
