"""Measures how well and how fast log templates are mined, on labelled logs."""

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from it_incident_response.analysis.log_mining.miner import TemplateMiner
from it_incident_response.analysis.log_mining.scoring import Scores, score
from it_incident_response.errors import InputRejected

PATTERN = "*_2k.log_structured_corrected.csv"
BATCH_LINES = 65_536
_COLUMNS = ("Content", "EventTemplate")
_FIELD_LENGTH_MAX = 16 * 1024 * 1024
_PEER_MASKS = [
    rf"((?<=[^A-Za-z0-9])|^)({shape})((?=[^A-Za-z0-9])|$)"
    for shape in (r"\d{1,3}(?:\.\d{1,3}){3}", r"0x[A-Fa-f0-9]+", r"[-+]?\d+")
]

Say = Callable[[str], None]


class LabelledLog(NamedTuple):
    """One system's lines and their true templates."""

    name: str
    lines: list[str]
    templates: list[str]


class _Parser(Protocol):
    def add(self, batch: Sequence[str]) -> object: ...


def labelled_logs(folder: Path) -> list[LabelledLog]:
    """Read every labelled log of a folder, by name; raises `InputRejected`."""
    if not folder.is_dir():
        raise InputRejected(f"{folder} is not a folder", hint=f"It should hold {PATTERN} files.")
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        raise InputRejected(
            f"{folder} has no labelled logs", hint=f"They are files named {PATTERN}."
        )
    return [_labelled_log(path) for path in paths]


def scores_of(log: LabelledLog) -> Scores:
    """Mine one log from scratch and score what was found."""
    miner = TemplateMiner()
    ids = [miner.current(int(found)) for found in miner.add(log.lines)]
    texts = {found: miner.template(found) or "" for found in set(ids)}
    return score(log.templates, ids, [texts[found] for found in ids])


def stream_of(logs: Sequence[LabelledLog], total: int) -> Iterator[list[str]]:
    """Repeat the lines of all logs, one log after the other, until there are `total`."""
    lines = [line for log in logs for line in log.lines]
    for start in range(0, total, BATCH_LINES):
        rows = range(start, min(start + BATCH_LINES, total))
        yield [lines[row % len(lines)] for row in rows]


def lines_per_second(parser: _Parser, batches: Iterator[Sequence[str]], say: Say) -> float:
    """Return how many lines the parser takes in a second of processor time, of all its threads.

    Other work on the machine does not count, nor does making the batches.
    """
    lines, spent, told = 0, 0.0, 0.0
    for batch in batches:
        began = time.process_time()
        parser.add(batch)
        spent += time.process_time() - began
        lines += len(batch)
        if spent - told > 5.0:
            told = spent
            say(f"  {lines:,} lines, {lines / spent:,.0f} a second")
    return lines / max(spent, 1e-9)


class Drain3:
    """The peer, with masks for addresses, hexadecimal and decimal numbers, else its defaults.

    Without masks it is quicker and finds a quarter fewer of the templates (docs/log-patterns.md).
    """

    def __init__(self, *, is_masking: bool = True) -> None:
        """Raise ImportError where the extra `eval` is not installed."""
        from drain3 import TemplateMiner as Peer
        from drain3.masking import MaskingInstruction
        from drain3.template_miner_config import (
            TemplateMinerConfig,
        )

        config = TemplateMinerConfig()
        config.mask_prefix, config.mask_suffix = "<", ">"
        if is_masking:
            config.masking_instructions = [MaskingInstruction(mask, "*") for mask in _PEER_MASKS]
        self._peer = Peer(config=config)

    def add(self, batch: Sequence[str]) -> list[int]:
        """Feed lines one by one, which is the only way it has; return their cluster ids."""
        add = self._peer.add_log_message
        return [add(line)["cluster_id"] for line in batch]

    def template(self, cluster_id: int) -> str:
        """Return the template of a cluster."""
        return str(self._peer.drain.id_to_cluster[cluster_id].get_template())


def _labelled_log(path: Path) -> LabelledLog:
    csv.field_size_limit(_FIELD_LENGTH_MAX)
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = [(row["Content"], row["EventTemplate"]) for row in csv.DictReader(file)]
    except KeyError as missing:
        raise InputRejected(
            f"{path.name} has no column {missing}", hint=f"It needs {' and '.join(_COLUMNS)}."
        ) from missing
    except (csv.Error, OSError) as error:
        raise InputRejected(f"{path.name} cannot be read: {error}") from error
    if not rows:
        raise InputRejected(f"{path.name} has no lines")
    if any(line is None or template is None for line, template in rows):
        raise InputRejected(f"{path.name} has a row with too few columns")
    lines, templates = zip(*rows, strict=True)
    return LabelledLog(path.name.partition("_2k")[0], list(lines), list(templates))
