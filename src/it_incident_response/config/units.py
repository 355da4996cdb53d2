"""Durations (`30s`, `5m`, `24h`, `90d`) and sizes (`50MB`, `1GiB`) as people write them."""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_DURATION_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|[smhdw])")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]{1,3})")
_DURATION_ADVICE = "write for example 30s, 5m, 1h30m, 24h or 90d"
_SIZE_ADVICE = "write for example 512KB, 50MB or 2GiB"


def parse_duration(value: object) -> float:
    """Return seconds; a number alone is seconds. Raises `ValueError` with an example.

    Units: ms, s, m, h, d, w; they combine in any order (`1h30m`). Not negative, not infinite.
    """
    number = _plain_number(value)
    if number is None:
        text = str(value).strip() if isinstance(value, str) else ""
        parts = _DURATION_PART.findall(text)
        if not parts or "".join(n + unit for n, unit in parts) != text:
            raise ValueError(f"{_shown(value)} is not a duration; {_DURATION_ADVICE}")
        number = sum(float(n) * _SECONDS[unit] for n, unit in parts)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{_shown(value)} is not a duration of 0 or more; {_DURATION_ADVICE}")
    return number


def parse_size(value: object) -> int:
    """Return bytes; a number alone is bytes. Raises `ValueError` with an example.

    Units: B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024).
    """
    number = _plain_number(value)
    if number is None:
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        unit = _BYTES.get(match[2].upper()) if match else None
        if match is None or unit is None:
            raise ValueError(f"{_shown(value)} is not a size; {_SIZE_ADVICE}")
        number = float(match[1]) * unit
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{_shown(value)} is not a size of 0 or more; {_SIZE_ADVICE}")
    return int(number)


def format_duration(seconds: float) -> str:
    """Return the shortest exact way to write a duration: 5400 -> `90m`."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def format_size(size_bytes: int) -> str:
    """Return the shortest exact way to write a size: 50000000 -> `50MB`."""
    for unit in ("TB", "TIB", "GB", "GIB", "MB", "MIB", "KB", "KIB"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit.replace('IB', 'iB')}"
    return f"{size_bytes}B"


def _plain_number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds."""
Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes."""
