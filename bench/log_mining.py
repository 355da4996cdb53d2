"""Log templates: how many are right, how many lines a second, how much memory, next to Drain3.

Needs the labelled logs: the folder named by `LOG_MINING_DATA`, or ../shared/data/loghub.
"""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core, before polars is first imported

import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.servers import Missing
from it_incident_response.analysis.log_mining.miner import TemplateMiner
from it_incident_response.analysis.log_mining.scoring import Scores, mean_of, score
from it_incident_response.cli.log_evaluation import (
    BATCH_LINES,
    Drain3,
    LabelledLog,
    labelled_logs,
    lines_per_second,
    scores_of,
    stream_of,
)

FOLDER = Path(
    os.environ.get("LOG_MINING_DATA", Path(__file__).parents[2] / "shared" / "data" / "loghub")
)
STREAM_LINES = 2_000_000
VARIED_LINES = 500_000
MEMORY_LINES = 10_000_000
DISTINCT = 1_000_000
_DIGITS = re.compile(r"\d+")


def run() -> dict[str, Any]:
    """Return scores, speeds and memory; raises `Missing` without the data."""
    if not FOLDER.is_dir():
        raise Missing(f"no labelled logs in {FOLDER}; name a folder in LOG_MINING_DATA")
    logs = labelled_logs(FOLDER)
    return {
        f"ours, GA / FGA / PA / FTA, mean of {len(logs)} systems": _row(
            [scores_of(x) for x in logs]
        ),
        "ours, lines of each system in random order": _row([scores_of(_shuffled(x)) for x in logs]),
        "Drain3 with masks": _row([_peer_scores(x, is_masking=True) for x in logs]),
        "Drain3 without masks": _row([_peer_scores(x, is_masking=False) for x in logs]),
        **_speeds(logs),
        f"peak memory for {MEMORY_LINES:,} lines, MB": _memory_of("stream"),
        f"peak memory for {DISTINCT:,} distinct patterns, MB": _memory_of("distinct"),
    }


def _speeds(logs: Sequence[LabelledLog]) -> dict[str, Any]:
    streams: dict[str, Callable[[], Iterator[list[str]]]] = {
        "repeated": lambda: stream_of(logs, STREAM_LINES),
        "every number changed": lambda: map(_changed, stream_of(logs, VARIED_LINES)),
    }
    speeds: dict[str, Any] = {}
    for name, stream in streams.items():
        speeds[f"ours, lines/s on one core, {name}"] = _speed(TemplateMiner(), stream())
        speeds[f"Drain3 with masks, lines/s, {name}"] = _speed(Drain3(), stream())
        peer = Drain3(is_masking=False)
        speeds[f"Drain3 without masks, lines/s, {name}"] = _speed(peer, stream())
    return speeds


def _speed(parser: Any, batches: Iterator[list[str]]) -> int:
    return round(lines_per_second(parser, batches, lambda text: None))


def _changed(batch: list[str]) -> list[str]:
    """Return the lines with every number replaced by a random one of the same length."""
    draw = random.Random(batch[0])
    return [
        _DIGITS.sub(lambda found: "".join(draw.choices("0123456789", k=len(found[0]))), line)
        for line in batch
    ]


def _shuffled(log: LabelledLog) -> LabelledLog:
    rows = list(zip(log.lines, log.templates, strict=True))
    random.Random(1).shuffle(rows)
    lines, templates = zip(*rows, strict=True)
    return LabelledLog(log.name, list(lines), list(templates))


def _peer_scores(log: LabelledLog, *, is_masking: bool) -> Scores:
    peer = Drain3(is_masking=is_masking)
    ids = peer.add(log.lines)
    return score(log.templates, ids, [peer.template(found) for found in ids])


def _row(scores: Sequence[Scores]) -> str:
    return " / ".join(f"{value:.3f}" for value in mean_of(scores).as_dict().values())


def _memory_of(what: str) -> int:
    """Return the peak memory of a process of its own."""
    command = [sys.executable, "-m", "bench.log_mining", what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


def _peak_mb(what: str) -> int:
    miner = TemplateMiner()
    if what == "stream":
        for batch in stream_of(labelled_logs(FOLDER), MEMORY_LINES):
            miner.add(batch)
    else:
        draw = random.Random(1)
        for _ in range(0, DISTINCT, BATCH_LINES):
            miner.add([" ".join(_words(draw)) for _ in range(BATCH_LINES)])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _words(draw: random.Random) -> list[str]:
    return ["".join(draw.choices("bcdghjklmnpqrstvwxz", k=8)) for _ in range(6)]


if __name__ == "__main__":
    print(_peak_mb(sys.argv[1]))
