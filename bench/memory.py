"""Peak memory of `iir serve` while 100,000 alerts of 1,000 fingerprints come in and are handled."""

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.alerts import batches, webhook
from bench.intake import FINGERPRINTS, PATH, QUIET
from bench.servers import post, responder, wait_handled

ALERTS = 100_000
BODY = 50


def run() -> dict[str, Any]:
    """Return the peak memory and how long it took until every alert was handled."""
    bodies = [webhook(group) for group in batches(FINGERPRINTS, BODY)]
    with (
        tempfile.TemporaryDirectory(prefix="iir-bench-") as name,
        responder(Path(name), QUIET) as server,
    ):
        idle = server.rss_peak_mb()
        began = time.monotonic()
        for number in range(ALERTS // BODY):
            post(server.url + PATH, bodies[number % len(bodies)])
        accepted = time.monotonic() - began
        wait_handled(server)
        handled = time.monotonic() - began
        peak = server.rss_peak_mb()
    return {
        "alerts": ALERTS,
        "fingerprints": FINGERPRINTS,
        "peak memory MB (idle MB)": f"{peak:.0f} ({idle:.0f})",
        "seconds until accepted, one sender": round(accepted, 1),
        "alerts/s until handled": round(ALERTS / handled),
    }
