"""Peak memory of `iir serve` while 100,000 alerts of 1,000 fingerprints come in and are handled."""

import json
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.alerts import batches, webhook
from bench.intake import FINGERPRINTS, QUIET
from bench.servers import Server, responder

ALERTS = 100_000
BODY = 50
HANDLED_WITHIN_S = 600.0


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
            _post(server, bodies[number % len(bodies)])
        accepted = time.monotonic() - began
        _wait_handled(server)
        handled = time.monotonic() - began
        peak = server.rss_peak_mb()
    return {
        "alerts": ALERTS,
        "fingerprints": FINGERPRINTS,
        "peak memory MB (idle MB)": f"{peak:.0f} ({idle:.0f})",
        "seconds until accepted, one sender": round(accepted, 1),
        "alerts/s until handled": round(ALERTS / handled),
    }


def _post(server: Server, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    url = server.url + "/webhooks/alertmanager"
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def _wait_handled(server: Server) -> None:
    deadline = time.monotonic() + HANDLED_WITHIN_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(server.url + "/readyz", timeout=30) as answer:
            if json.load(answer)["inbox_depth"] == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the inbox was not empty after {HANDLED_WITHIN_S:g} s")
