"""5,000 series of a day at one sample a minute, on one core, beside one series at a time."""

import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from it_incident_response.analysis.metric_findings import find, find_all, find_in_matrix
from it_incident_response.analysis.series_shape import SHAPES, Question
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Shape, Signal, SignalSeries

SERIES = 5_000
SAMPLES = 1_440
END = datetime(2026, 3, 2, tzinfo=UTC)
TIMES = END.timestamp() - 60.0 * np.arange(SAMPLES - 1, -1, -1)
QUESTION = Question(TIMES[0], TIMES[-1] - 6 * 3_600, TIMES[-1] - 3_600, TIMES[-1])
ALONE = 250
"""Series for those who go one by one; their time is scaled up."""
RUNS = 3


def run() -> dict[str, Any]:
    """Return processor seconds for all series; the smallest of three runs."""
    values = _values()
    units = ["number"] * SERIES
    whole = _seconds(lambda: find_in_matrix(TIMES, values, units, QUESTION))
    holes = values.copy()
    holes[np.random.default_rng(2).random(values.shape) < 0.02] = np.nan
    gaps = _seconds(lambda: find_in_matrix(TIMES, holes, units, QUESTION))
    series = [_series(row) for row in values]
    when = _when()
    objects = _seconds(lambda: find_all(series, **when), runs=1)
    scale = SERIES / ALONE
    alone = _seconds(lambda: [find(one, **when) for one in series[:ALONE]], runs=1) * scale
    naive = _seconds(lambda: [_naive(row) for row in values[:ALONE]], runs=1) * scale
    shapes = find_in_matrix(TIMES, values, units, QUESTION).shape
    return {
        "series x samples": f"{SERIES} x {SAMPLES}",
        "matrix, CPU s": round(whole, 2),
        "matrix with 2 % of the samples missing, CPU s": round(gaps, 2),
        "from series to findings (values of the domain), CPU s": round(objects, 2),
        "the same `find`, one by one, CPU s (ratio)": f"{alone:.1f} ({alone / objects:.0f})",
        "plain numpy loop, same medians, slopes and rhythm, CPU s (ratio)": (
            f"{naive:.1f} ({naive / whole:.0f})"
        ),
        **_peer(values, whole, scale),
        "findings": {s.value: int((shapes == code).sum()) for code, s in enumerate(SHAPES)},
        "peak memory of this process, MB": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ),
    }


def _values() -> np.ndarray[Any, Any]:
    """Return noise on levels; every tenth series has an hourly rhythm, every fiftieth a shift."""
    rng = np.random.default_rng(1)
    values = rng.lognormal(2, 1, (SERIES, 1)) * (1 + 0.1 * rng.standard_normal((SERIES, SAMPLES)))
    values[::10] *= 1 + 0.5 * np.sin(2 * np.pi * TIMES / 3_600)
    values[1::50, -90:] *= 3
    return values


def _series(row: np.ndarray[Any, Any]) -> SignalSeries:
    return SignalSeries.model_construct(
        signal=Signal.OTHER,
        entity=Entity(EntityKind.HOST, "h"),
        source="bench",
        query="q",
        times=_TIMES_TUPLE,
        values=tuple(row.tolist()),
        title=None,
    )


_TIMES_TUPLE = tuple(TIMES.tolist())


def _when() -> dict[str, datetime]:
    moments = [datetime.fromtimestamp(moment, tz=UTC) for moment in QUESTION]
    return dict(zip(("baseline_start", "incident_start", "began", "now"), moments, strict=True))


def _naive(values: np.ndarray[Any, Any]) -> Shape:
    """Judge one series as a script would: no rows, no blocks, `numpy.correlate` for the rhythm."""
    inside = QUESTION.start <= TIMES
    baseline, now = values[~inside], values[inside]
    centre = np.median(baseline)
    scale = 1.4826 * np.median(np.abs(baseline - centre))
    deviation = baseline - baseline.mean()
    correlation = np.correlate(deviation, deviation, mode="full")[baseline.size - 1 :]
    lag = int(np.argmax(correlation[8 : baseline.size // 3])) + 8
    if correlation[lag] > correlation[0] / 2:
        profile = [np.median(baseline[phase::lag]) for phase in range(lag)]
        now = now - np.asarray(profile)[(np.arange(now.size) + baseline.size) % lag] + centre
    chosen = np.linspace(0, now.size - 1, 60).astype(int)
    first, second = np.triu_indices(60, k=1)
    np.median((now[chosen][second] - now[chosen][first]) / (second - first))
    return Shape.LEVEL_SHIFT if abs(np.median(now[-60:]) - centre) > 3.5 * scale else Shape.NORMAL


def _peer(values: np.ndarray[Any, Any], ours: float, scale: float) -> dict[str, Any]:
    """Return the time of ruptures' PELT (L2, penalty by BIC), where that is installed."""
    try:
        import ruptures
    except ImportError:
        return {"ruptures": "not installed"}

    def detect() -> None:
        for row in values[: ALONE // 10]:
            scaled = (row - row.mean()) / row.std()
            ruptures.KernelCPD(kernel="linear").fit(scaled).predict(pen=3 * np.log(SAMPLES))

    seconds = _seconds(detect, runs=1) * scale * 10
    return {"ruptures, change points alone, CPU s (ratio)": f"{seconds:.1f} ({seconds / ours:.0f})"}


def _seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)
