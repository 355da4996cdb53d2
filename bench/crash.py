"""`kill -9` at 5,000 chosen journal states, and at random moments: is anything lost or done twice?

Every kill is of a real process, every state is one that an incident was held at when it came. The
same installations as in `tests/real/test_crash_matrix_real.py`, with states drawn by a seed.
IIR_BENCH_KILL_POINTS changes how many.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.crash.driver import Installation, Shape, run_all
from tests.crash.points import VICTIMS
from tests.real.stack.temporal import running_temporal

from bench.servers import Missing
from it_incident_response.errors import ConfigError
from it_incident_response.workflow.engine.server_binary import find_binary

POINTS = 5000
OF_AN_INSTALLATION = 64
"""Every admission of a step reads the last hour of the journal: small ones are quicker."""
SIZE = 16
AT_ONCE = 2


def run() -> dict[str, Any]:
    """Return the counts; nothing may be duplicated or lost."""
    try:
        find_binary(None)
    except ConfigError as error:
        raise Missing(str(error)) from error
    points = int(os.environ.get("IIR_BENCH_KILL_POINTS", str(POINTS)))
    with tempfile.TemporaryDirectory(prefix="iir-bench-") as name:
        folder = Path(name)
        with running_temporal(folder / "temporal") as server:
            installations = [
                _installation(folder, number, server.address)
                for number in range(-(-points // OF_AN_INSTALLATION))
            ]
            tally = asyncio.run(run_all(installations, AT_ONCE))
    return tally.lines()


def _installation(folder: Path, number: int, address: str) -> Installation:
    """Return one of many; workers die alone where the engine is not their child."""
    victim = VICTIMS[number % len(VICTIMS)]
    shape = Shape(victim, OF_AN_INSTALLATION, size=SIZE, seed=number, random_kills=2)
    place = folder / f"{number}-{victim}"
    return Installation(place, shape, address if victim == "worker" else None, f"iir{number}")
