"""Correlation by itself: cost of 1,000 alerts against 200 open incidents, and purity of storms.

No server, no network, no database; so no peer either. A storm has 10,000 alerts of 50 causes;
purity is the share of alerts that are in an incident mostly of their own cause.
"""

import statistics
import time
from collections import Counter, defaultdict
from typing import Any

from tests.unit.analysis.alert_storm import Storm, StormShape, make_storm

from it_incident_response.analysis.correlation import CorrelationSettings, correlate
from it_incident_response.domain.topology import Topology

SEED = 1
BATCH = 1_000
SETTINGS = CorrelationSettings()
SHAPES = {
    "hosts and services": StormShape(),
    "all within 5 s": StormShape(spread_s=5),
    "pods on shared nodes": StormShape(kubernetes=True, shared_nodes=20),
}


def run() -> dict[str, Any]:
    """Return the cost of a batch, and of each storm incidents, purity and rate."""
    open_incidents, times = _batch_cost()
    cost = statistics.median(times) * 1e3
    report = {f"1,000 alerts against {open_incidents} open incidents, ms": round(cost)}
    for name, shape in SHAPES.items():
        storm = make_storm(SEED, shape)
        for topology, known in ((storm.topology, "known"), (Topology(), "unknown")):
            incidents, purity, seconds = _play(storm, topology)
            rate = len(storm.reports) / seconds
            report[f"{name}, topology {known}: incidents, purity, alerts/s"] = (
                f"{incidents}, {purity:.3f}, {rate:.0f}"
            )
    return report


def _play(storm: Storm, topology: Topology) -> tuple[int, float, float]:
    """Return incidents opened, purity, and the seconds that all batches took."""
    known, incidents, seconds = {}, {}, 0.0
    for start in range(0, len(storm.reports), BATCH):
        reports = storm.reports[start : start + BATCH]
        began = time.perf_counter()
        outcome = correlate(
            reports,
            {r.fingerprint: known[r.fingerprint] for r in reports if r.fingerprint in known},
            list(incidents.values()),
            topology,
            SETTINGS,
            reports[-1].received_at,
        )
        seconds += time.perf_counter() - began
        known |= {k.alert.fingerprint: k for k in outcome.alerts}
        incidents |= {i.id: i for i in outcome.incidents}
    members: dict[str, Counter[int]] = defaultdict(Counter)
    for fingerprint, stored in known.items():
        members[stored.incident_id][storm.causes[fingerprint]] += 1
    right = sum(max(causes.values()) for causes in members.values())
    return len(incidents), right / len(known), seconds


def _batch_cost() -> tuple[int, list[float]]:
    """Return how many incidents are open, and the seconds of a batch of 1,000, five times."""
    storm = make_storm(SEED, StormShape(causes=200, alerts=20_000, spread_s=60))
    half = len(storm.reports) // 2
    before = storm.reports[:half]
    opened = correlate(before, {}, [], storm.topology, SETTINGS, before[-1].received_at)
    known = {k.alert.fingerprint: k for k in opened.alerts}
    batch = storm.reports[half : half + BATCH]
    mine = {r.fingerprint: known[r.fingerprint] for r in batch if r.fingerprint in known}
    times = []
    for _ in range(5):
        began = time.perf_counter()
        correlate(batch, mine, opened.incidents, storm.topology, SETTINGS, batch[-1].received_at)
        times.append(time.perf_counter() - began)
    return len(opened.incidents), times
