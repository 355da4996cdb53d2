"""One incident with a known origin, and metric findings made from a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from it_incident_response.analysis.metric_findings import find_in_matrix, unit_of
from it_incident_response.analysis.series_shape import SHAPES, Question
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.evidence import Evidence, MetricFinding, Signal
from it_incident_response.domain.topology import Topology


@dataclass(frozen=True)
class RankingCase:
    """What was seen, and which service it began in."""

    name: str
    group: str
    """Kind of the symptom or fault."""
    truth: str
    services: frozenset[str]
    """All that could be named."""
    evidence: tuple[Evidence, ...]
    topology: Topology
    began: datetime


def metric_evidence(
    times: np.ndarray,
    values: np.ndarray,
    series: Sequence[tuple[Entity, Signal]],
    *,
    start: float,
    began: float,
    now: float,
) -> list[Evidence]:
    """Return the finding of every row."""
    question = Question(float(times[0]), start, began, now)
    units = [unit_of(signal) for _, signal in series]
    columns = find_in_matrix(times, values, units, question)
    found = []
    for row, (entity, signal) in enumerate(series):
        onset = columns.onset[row]
        finding = MetricFinding(
            signal=signal,
            entity=entity,
            shape=SHAPES[columns.shape[row]],
            baseline=_known(columns.baseline[row]),
            current=_known(columns.current[row]),
            peak=_known(columns.peak[row]),
            effect=float(columns.effect[row]),
            baseline_end=datetime.fromtimestamp(start, tz=UTC),
            samples=_drawn(times, values[row], now),
            onset=None if np.isnan(onset) else datetime.fromtimestamp(float(onset), tz=UTC),
        )
        found.append(
            Evidence(
                id=f"m{row:04d}",
                incident_id="case",
                source="metrics",
                summary=f"{signal} of {entity}: {finding.shape}",
                finding=finding,
                observed_at=datetime.fromtimestamp(now, tz=UTC),
            )
        )
    return found


def _drawn(times: np.ndarray, values: np.ndarray, now: float) -> tuple[tuple[float, float], ...]:
    kept = np.isfinite(values) & (times <= now)
    return tuple(zip(times[kept][-60:].tolist(), values[kept][-60:].tolist(), strict=True))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
