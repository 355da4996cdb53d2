"""Which metrics of a bundle left their usual range, and when each did."""

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from it_incident_response.analysis.bundle.metric_meaning import Meaning, meaning_of
from it_incident_response.domain.bundle import MetricSamples
from it_incident_response.domain.model import Value

BASELINE_SHARE = 0.15
"""Beginning of the series that is taken for normal: a leak may begin soon after."""
BASELINE_SAMPLES_MIN = 5
SAMPLES_MIN = 8
UNUSUAL = 6.0
"""Robust z; with a few dozen series of a few hundred samples, noise does not reach it."""
RELATIVE_FLOOR = 0.08
"""Spread that is never called unusual, as a share of the usual level."""
LASTING = 0.7
"""Share of the samples after the onset that must be unusual too."""


class MetricAnomaly(Value):
    """One metric that left its usual range and stayed away."""

    service: str
    metric: str
    meaning: Meaning
    onset: datetime
    before: float
    after: float
    """Median of the last tenth of what is unusual."""
    effect: float
    """Robust z of `after`, signed."""

    @property
    def is_bad(self) -> bool:
        """True for what a caller feels: failures and slowness that rise."""
        return self.meaning in (Meaning.FAILURE, Meaning.LATENCY) and self.after > self.before

    @property
    def ratio(self) -> float:
        """Level after over level before; infinite from nothing."""
        return self.after / self.before if self.before else float("inf")


def anomalies(metrics: Iterable[MetricSamples]) -> list[MetricAnomaly]:
    """Return the unusual metrics, the earliest first."""
    found = [found for samples in metrics if (found := _anomaly(samples)) is not None]
    return sorted(found, key=lambda item: (item.onset, -abs(item.effect)))


def _anomaly(samples: MetricSamples) -> MetricAnomaly | None:
    times = np.asarray(samples.times, dtype=np.float64)
    values = np.asarray(samples.values, dtype=np.float64)
    if values.size < SAMPLES_MIN:
        return None
    first = max(BASELINE_SAMPLES_MIN, int(values.size * BASELINE_SHARE))
    baseline = values[:first]
    centre = float(np.median(baseline))
    spread = 1.4826 * float(np.median(np.abs(baseline - centre)))
    scale = max(spread, RELATIVE_FLOOR * abs(centre), 0.01 * float(np.ptp(values)), 1e-9)
    if scale * UNUSUAL > float(np.max(np.abs(values - centre))):
        return None
    scores = (values - centre) / scale
    onset = _onset(scores)
    if onset is None:
        return None
    tail = values[onset:]
    worst = np.sort(tail)[::-1] if np.sum(scores[onset:]) > 0 else np.sort(tail)
    after = float(np.median(worst[: max(1, tail.size // 3)]))
    return MetricAnomaly(
        service=samples.service,
        metric=samples.metric,
        meaning=meaning_of(samples.metric),
        onset=datetime.fromtimestamp(float(times[onset]), UTC),
        before=centre,
        after=after,
        effect=(after - centre) / scale,
    )


def _onset(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int | None:
    """Return the first sample from which most are unusual on the same side, if there is one.

    From there it goes back while samples are on the way already: a ramp begins before it is far
    out.
    """
    for side in (1.0, -1.0):
        out = scores * side >= UNUSUAL
        if not out.any():
            continue
        share = np.cumsum(out[::-1])[::-1] / np.arange(out.size, 0, -1)
        lasting = np.flatnonzero(out & (share >= LASTING))
        start = int(lasting[0]) if lasting.size else int(np.argmax(out))
        while start > 0 and scores[start - 1] * side >= UNUSUAL / 3:
            start -= 1
        return start
    return None
