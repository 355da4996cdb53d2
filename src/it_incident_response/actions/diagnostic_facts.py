"""Pure parsers: from what a diagnostic command printed to named facts.

Output comes from outside: every parser takes any text, skips what it does not know, and bounds
what it returns.
"""

from collections.abc import Mapping
from itertools import islice

from it_incident_response.actions.unit_state import parse_properties

Facts = dict[str, str]

_MAX_ROWS = 20
_MAX_VALUE = 300
_MAX_FACTS = 60


def bounded(facts: Mapping[str, str]) -> Facts:
    """Return the first 60 facts, each name and value cut to 300 characters."""
    first = islice(facts.items(), _MAX_FACTS)
    return {name[:_MAX_VALUE]: value[:_MAX_VALUE] for name, value in first}


def unit_facts(output: str) -> Facts:
    """Return the properties of `systemctl show`, such as `ActiveState`: `failed`."""
    return bounded(parse_properties(output))


def log_facts(output: str) -> Facts:
    """Return `lines` and the `last_line` of a log."""
    lines = [line for line in output.splitlines() if line.strip()]
    facts = {"lines": str(len(lines))}
    return bounded(facts | ({"last_line": lines[-1]} if lines else {}))


def disk_facts(output: str) -> Facts:
    """Return `use:MOUNT` in percent for each file system of `df -P`, and `fullest`.

    Works for blocks and for inodes: the columns are the same. A file system without a percentage
    (`-`) is left out.
    """
    use: dict[str, int] = {}
    for line in output.splitlines()[1:]:
        columns = line.split(None, 5)
        if len(columns) == 6 and columns[4].endswith("%") and columns[4][:-1].isdecimal():
            use[columns[5]] = int(columns[4][:-1])
    fullest = sorted(use.items(), key=lambda item: -item[1])[:_MAX_ROWS]
    facts = {f"use:{mount}": f"{percent}%" for mount, percent in fullest}
    if fullest:
        facts["fullest"] = f"{fullest[0][0]} {fullest[0][1]}%"
    return bounded(facts)


def folder_facts(output: str) -> Facts:
    """Return `kib:FOLDER` for the largest folders of `du -k`."""
    rows = [line.partition("\t") for line in output.splitlines()]
    sizes = [(int(size), path) for size, _, path in rows if size.isdecimal() and path]
    return bounded(
        {f"kib:{path}": str(size) for size, path in sorted(sizes)[: -_MAX_ROWS - 1 : -1]}
    )


def memory_facts(output: str) -> Facts:
    """Return `MemTotal`, `MemAvailable`, `SwapTotal`, `SwapFree` in KiB and `used_ratio`.

    `used_ratio` is 1 - MemAvailable/MemTotal (proc(5)): what could not be had without swapping.
    """
    wanted = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    facts: Facts = {}
    for line in output.splitlines():
        name, _, rest = line.partition(":")
        value = rest.split()[0] if rest.split() else ""
        if name in wanted and value.isdecimal():
            facts[name] = value
    total, available = int(facts.get("MemTotal", 0)), facts.get("MemAvailable")
    if total and available is not None:
        facts["used_ratio"] = f"{1 - int(available) / total:.3f}"
    return bounded(facts)


def process_facts(output: str) -> Facts:
    """Return `process:1`..`process:5`: the first rows of `ps`, one line each."""
    rows = [" ".join(line.split()) for line in output.splitlines()[1:6]]
    return bounded({f"process:{number}": row for number, row in enumerate(rows, 1) if row})


def socket_facts(output: str) -> Facts:
    """Return `tcp`: the totals by state that `ss -s` prints in parentheses."""
    for line in output.splitlines():
        if line.startswith("TCP:"):
            return bounded({"tcp": line.removeprefix("TCP:").strip()})
    return {}


def uptime_facts(output: str) -> Facts:
    """Return `uptime_s` and `load_1`, `load_5`, `load_15` (proc(5))."""
    facts: Facts = {}
    for line in output.splitlines():
        columns = line.split()
        if len(columns) == 2 and _is_number(columns[0]):
            facts["uptime_s"] = columns[0]
        elif len(columns) == 5 and all(_is_number(text) for text in columns[:3]):
            facts |= {"load_1": columns[0], "load_5": columns[1], "load_15": columns[2]}
    return bounded(facts)


def certificate_facts(output: str) -> Facts:
    """Return `subject`, `notBefore` and `notAfter` as `openssl x509` prints them."""
    wanted = ("subject", "notBefore", "notAfter")
    pairs = (line.partition("=") for line in output.splitlines())
    return bounded({name: value.strip() for name, _, value in pairs if name in wanted})


def failed_unit_facts(output: str) -> Facts:
    """Return `failed`: the names of failed units, and `failed_count`."""
    names = [line.split()[0] for line in output.splitlines() if line.split()]
    return bounded({"failed_count": str(len(names)), "failed": " ".join(names[:_MAX_ROWS])})


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
