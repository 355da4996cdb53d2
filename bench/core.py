"""Pure computation: rules over one incident, redaction of hostile text, a simulated hour."""

import asyncio
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from it_incident_response.analysis.case import build_case
from it_incident_response.analysis.evidence_words import evidence_from
from it_incident_response.analysis.rules_engine import RulesEngine
from it_incident_response.domain.topology import Topology
from it_incident_response.safety.redaction import Redactor
from it_incident_response.simulation import SimulatedWorld

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIECES = 80
HOSTILE = "token eyJ ://a: a@ bearer cookie password=x -----BEGIN 4111 1111 key=AKIA "


def run() -> dict[str, Any]:
    """Return medians."""
    text = HOSTILE * (1_000_000 // len(HOSTILE))
    redactor, engine = Redactor(), RulesEngine.shipped()
    quarter = _median(lambda: redactor.redact(text[: len(text) // 4]))
    whole = _median(lambda: redactor.redact(text))
    world = SimulatedWorld(7)
    return {
        f"{len(engine.rules)} shipped rules over {PIECES} pieces of evidence, ms": round(
            _rules(engine) * 1000, 1
        ),
        "redaction of hostile text, MB/s": round(len(text) / 1e6 / whole, 1),
        "redaction, time for 4 times the text (linear: 4)": round(whole / quarter, 1),
        "one simulated hour, s": round(_median(lambda: asyncio.run(world.run(3600))), 3),
    }


def _median(work: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _rules(engine: RulesEngine) -> float:
    """Return the seconds for the shipped rules over evidence taken from their own examples."""
    items = [item for r in engine.rules for example in r.examples for item in example.evidence]
    evidence = evidence_from(items[:PIECES])
    return _median(lambda: engine.weigh(build_case(evidence, Topology(), NOW)))
