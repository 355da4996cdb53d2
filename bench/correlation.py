"""Measures correlation: cost of 1,000 alerts against 200 open incidents, and purity of storms.

Run with `python bench/bench_correlation.py [--seed N]`; no server, no network.
"""

import argparse
import statistics
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.unit.analysis.alert_storm import Storm, StormShape, make_storm

from it_incident_response.analysis.correlation import CorrelationSettings, correlate
from it_incident_response.domain.topology import Topology

SETTINGS = CorrelationSettings()
SHAPES = {
    "hosts and services": StormShape(),
    "all within 5 s": StormShape(spread_s=5),
    "pods on shared nodes": StormShape(kubernetes=True, shared_nodes=20),
}


def play(storm: Storm, batch: int, topology: Topology) -> tuple[int, float, list[float]]:
    """Return incidents opened, purity, and the seconds that each batch took."""
    known, incidents, times = {}, {}, []
    for start in range(0, len(storm.reports), batch):
        reports = storm.reports[start : start + batch]
        began = time.perf_counter()
        outcome = correlate(
            reports,
            {r.fingerprint: known[r.fingerprint] for r in reports if r.fingerprint in known},
            list(incidents.values()),
            topology,
            SETTINGS,
            reports[-1].received_at,
        )
        times.append(time.perf_counter() - began)
        known |= {k.alert.fingerprint: k for k in outcome.alerts}
        incidents |= {i.id: i for i in outcome.incidents}
    members: dict[str, Counter[int]] = defaultdict(Counter)
    for fingerprint, stored in known.items():
        members[stored.incident_id][storm.causes[fingerprint]] += 1
    right = sum(max(causes.values()) for causes in members.values())
    return len(incidents), right / len(known), times


def batch_cost(seed: int) -> list[float]:
    """Return the seconds for a batch of 1,000 reports against 200 open incidents, five times."""
    storm = make_storm(seed, StormShape(causes=200, alerts=20_000, spread_s=60))
    half = len(storm.reports) // 2
    before = storm.reports[:half]
    opened = correlate(before, {}, [], storm.topology, SETTINGS, before[-1].received_at)
    known = {k.alert.fingerprint: k for k in opened.alerts}
    batch = storm.reports[half : half + 1_000]
    mine = {r.fingerprint: known[r.fingerprint] for r in batch if r.fingerprint in known}
    times = []
    for _ in range(5):
        began = time.perf_counter()
        correlate(batch, mine, opened.incidents, storm.topology, SETTINGS, batch[-1].received_at)
        times.append(time.perf_counter() - began)
    print(f"open incidents: {len(opened.incidents)}")
    return times


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    times = batch_cost(seed)
    print(f"1,000 reports a batch: median {statistics.median(times) * 1e3:.0f} ms")
    print(f"{'storm: 10,000 alerts, 50 causes':34}{'topology':>9}{'batch':>7}", end="")
    print(f"{'incidents':>11}{'purity':>8}{'alerts/s':>10}")
    for name, shape in SHAPES.items():
        storm = make_storm(seed, shape)
        for topology, known in ((storm.topology, "known"), (Topology(), "none")):
            for batch in (100, 1_000):
                incidents, purity, times = play(storm, batch, topology)
                rate = len(storm.reports) / sum(times)
                print(f"{name:34}{known:>9}{batch:>7}{incidents:>11}{purity:>8.3f}{rate:>10.0f}")


if __name__ == "__main__":
    main()
