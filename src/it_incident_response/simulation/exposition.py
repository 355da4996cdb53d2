"""Writes the world's current series in the Prometheus text format (version 0.0.4)."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from it_incident_response.simulation.history import History, SeriesKey

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def text_format(history: History) -> str:
    """Return all series that have a sample now, grouped by metric."""
    rows = history.latest(1)
    values = rows[-1].tolist() if len(rows) else []
    return "\n".join([*_lines(zip(history.keys, values, strict=False)), ""])


def _lines(samples: Iterable[tuple[SeriesKey, float]]) -> Iterator[str]:
    families: dict[str, list[str]] = {}
    for key, value in samples:
        if not math.isnan(value):
            line = f"{series_text(key)} {number_text(value)}"
            families.setdefault(family_of(key.name), []).append(line)
    for family in sorted(families):
        yield f"# TYPE {family} {type_of(family, families[family])}"
        yield from families[family]


def series_text(key: SeriesKey) -> str:
    """Return name and labels as the text format writes them."""
    inside = ",".join(f'{k}="{v.translate(_ESCAPES)}"' for k, v in key.labels.items())
    return f"{key.name}{{{inside}}}" if inside else key.name


def number_text(value: float) -> str:
    """Return a number as Prometheus prints it: shortest, without an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")


def family_of(name: str) -> str:
    """Return the metric family of a series: a histogram's parts belong together."""
    for part in ("_bucket", "_sum", "_count"):
        if name.startswith("http_request_duration_seconds") and name.endswith(part):
            return name.removesuffix(part)
    return name


def type_of(family: str, lines: list[str]) -> str:
    """Return the type of a metric family."""
    if any(line.startswith(f"{family}_bucket{{") for line in lines):
        return "histogram"
    is_counter = family.endswith("_total") or family == "node_vmstat_oom_kill"
    return "counter" if is_counter else "gauge"
