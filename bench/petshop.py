"""Reads the PetShop issues: five-minute metrics of a shop's services, their calls, root nodes."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.ranking_case import RankingCase, metric_evidence
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import AlertFact, Evidence, Signal
from it_incident_response.domain.topology import Topology

STEP_S = 300.0
SEEN_FOR_S = 600.0
"""Time from the alert to our look."""
SIGNALS = {
    ("latency", "Average"): Signal.LATENCY_P95,
    ("latency", "p95"): Signal.LATENCY_P95,
    ("latency", "p99"): Signal.LATENCY_P95,
    ("availability", "Average"): Signal.ERROR_RATIO,
    ("requests", "Sum"): Signal.REQUEST_RATE,
}
_Column = tuple[str, str, str]
_Table = tuple[list[float], dict[_Column, list[float]]]


def cases(folder: Path) -> Iterator[RankingCase]:
    """Yield the issues of every scenario."""
    for scenario in sorted(path.parent for path in folder.glob("*/graph.csv")):
        topology = _topology(scenario / "graph.csv")
        quiet = _table(scenario / "noissue" / "metrics.csv")
        for issue in sorted((scenario / "train").iterdir()):
            yield _case(issue, quiet, topology)


def _case(issue: Path, quiet: _Table, topology: Topology) -> RankingCase:
    truth = json.loads((issue / "target.json").read_text())
    symptom = truth["target"]
    began = datetime.fromtimestamp(symptom["timestamp"], tz=UTC)
    evidence = [_alert(symptom["node"], began)]
    times, columns = _table(issue / "metrics.csv")
    before = [times[0] - STEP_S * place for place in range(len(quiet[0]), 0, -1)]
    until = began.timestamp() + SEEN_FOR_S
    wanted = [name for name in columns if name[1:] in SIGNALS and name in quiet[1]]
    values = np.array([[*quiet[1][name], *columns[name]] for name in wanted])
    evidence += metric_evidence(
        np.array([*before, *times]),
        np.array([_in_unit(name, row) for name, row in zip(wanted, values, strict=True)]),
        [(Entity(EntityKind.SERVICE, name[0]), SIGNALS[name[1:]]) for name in wanted],
        start=times[0],
        began=began.timestamp(),
        now=until,
    )
    nodes = frozenset(name[0] for name in columns)
    return RankingCase(
        f"{issue.parent.parent.name}/{issue.name}",
        symptom["metric"],
        truth["root_cause"]["node"],
        nodes,
        tuple(evidence),
        topology,
        began,
    )


def _in_unit(name: _Column, values: np.ndarray) -> np.ndarray:
    if name[1] == "availability":
        return 1 - values / 100
    return values / STEP_S if name[1] == "requests" else values


def _alert(node: str, began: datetime) -> Evidence:
    fact = AlertFact(
        fingerprint="f",
        name="symptom",
        entities=(Entity(EntityKind.SERVICE, node),),
        starts_at=began,
    )
    return Evidence(
        id="alert",
        incident_id="case",
        source="alert",
        summary=f"alert on {node}",
        finding=fact,
        observed_at=began,
    )


def _table(path: Path) -> _Table:
    rows = list(csv.reader(path.open()))
    names = list(zip(rows[0][1:], rows[1][1:], rows[2][1:], strict=True))
    body = [row for row in rows[3:] if row[0] not in ("", "unix_timestamp")]
    columns = {
        name: [float(row[place + 1] or "nan") for row in body] for place, name in enumerate(names)
    }
    return [float(row[0]) for row in body], columns


def _topology(path: Path) -> Topology:
    rows = list(csv.reader(path.open()))
    names = rows[0][1:]
    calls = {
        row[0]: frozenset(
            name for name, cell in zip(names, row[1:], strict=True) if float(cell or 0)
        )
        for row in rows[1:]
    }
    return Topology(calls={name: callees for name, callees in calls.items() if callees})
