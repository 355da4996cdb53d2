"""How long `iir --help` takes, next to a bare interpreter."""

import statistics
import subprocess
import sys
import time
from typing import Any

RUNS = 15


def run() -> dict[str, Any]:
    """Return the median seconds of each, and their difference to the bare interpreter."""
    bare = _median([sys.executable, "-c", "pass"])
    ours = _median([sys.executable, "-m", "it_incident_response", "--help"])
    return {
        "python -c pass, s": round(bare, 3),
        "iir --help, s": round(ours, 3),
        "ratio": round(ours / bare, 1),
    }


def _median(command: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
