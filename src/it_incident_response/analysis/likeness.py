"""How alike two metrics move: what moves with the symptom belongs to the incident."""

from collections.abc import Sequence

import numpy as np

from it_incident_response.domain.evidence import MetricFinding

PAIRS_MIN = 5
UNLIKE = 0.3
"""Weight of a metric that does not move with the symptom at all."""
LIMIT_Z = 4.0
"""Deviations count up to this: one sample must not make the whole likeness."""

_Samples = tuple[tuple[float, float], ...]


def likeness(finding: MetricFinding, symptoms: Sequence[MetricFinding]) -> float:
    """Return `UNLIKE` to 1: how closely a metric moves with any of the symptoms' metrics.

    Pearson's correlation of the samples, without regard to the sign, after MonitorRank (Kim et
    al. 2013). The samples of one are compared with the nearest of the other, half a step apart at
    most. 1 where there is too little to compare.
    """
    known = [
        abs(r)
        for r in (_correlation(finding.samples, s.samples) for s in symptoms)
        if r is not None
    ]
    return UNLIKE + (1 - UNLIKE) * max(known) if known else 1.0


def _correlation(one: _Samples, other: _Samples) -> float | None:
    if min(len(one), len(other)) < PAIRS_MIN:
        return None
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    place = np.clip(np.searchsorted(b[:, 0], a[:, 0]), 1, len(b) - 1)
    place -= a[:, 0] - b[place - 1, 0] < b[place, 0] - a[:, 0]
    near = np.abs(b[place, 0] - a[:, 0]) <= max(_step(a), _step(b)) / 2
    if np.count_nonzero(near) < PAIRS_MIN:
        return None
    first, second = _scaled(a[near, 1]), _scaled(b[place[near], 1])
    if first is None or second is None:
        return None
    return float(np.mean(first * second))


def _step(samples: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    return float(np.median(np.diff(samples[:, 0])))


def _scaled(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    """Return deviations with mean 0 and variance 1, outliers drawn in; None for a constant."""
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(2):
            spread = float(np.std(values))
            if not np.isfinite(spread) or spread <= 1e-12 * max(1.0, float(np.abs(values).max())):
                return None
            values = np.clip((values - values.mean()) / spread, -LIMIT_Z, LIMIT_Z)
    return np.asarray((values - values.mean()) / values.std(), dtype=np.float64)
