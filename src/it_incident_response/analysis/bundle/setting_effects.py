"""What a change does to settings: numbers, switches, names."""

import re
from collections.abc import Iterable

from it_incident_response.analysis.bundle.diff_sides import IDENTIFIER, Effect, Sides
from it_incident_response.analysis.bundle.symptoms import Symptom

_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])-?\d[\d_]*(?:\.\d+)?")
_UNIT = re.compile(r"(?<=\d)\s*\*?\s*(?:time\.)?(ms|s|m|h|Millisecond|Second|Minute|Hour)s?\b")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_UNITS |= {"Millisecond": 0.001, "Second": 1, "Minute": 60, "Hour": 3600}
_STRING = re.compile(r"[\"'`]([^\"'`\n]{1,80})[\"'`]")
_SWITCH = re.compile(r"\b(?:true|false|True|False|on|off|enabled|disabled)\b")
_WIRE = re.compile(
    r"json:|yaml:|proto|@JsonProperty|xml:|bson:|alias|Column\(|field|key|header|enum"
)

_CAPS = re.compile(
    r"max|limit|size|capacity|pool|conn|worker|thread|replica|quota|heap|memory|cpu|concurren|"
    r"buffer|partition|shard|fds?\b|ulimit|requests?\b",
    re.I,
)
_IDLE = re.compile(r"idle|health|keep-?alive|period|interval", re.I)
_TIMES = re.compile(r"timeout|deadline", re.I)
_TTL = re.compile(r"ttl|expir|max_?age", re.I)
_TRIES = re.compile(r"retr|attempt", re.I)
_EVERY = re.compile(r"interval|period|every|poll|cron|schedule|batch", re.I)


def setting_effects(sides: Sides) -> list[Effect]:
    """Return what is done to settings that stand on both sides, and to names on the wire."""
    return [*_numbers(sides), *_switches(sides), *_names(sides)]


def _numbers(sides: Sides) -> Iterable[Effect]:
    """Yield settings that stand on both sides with another number."""
    before = {_without_numbers(line): line for line in sides.removed}
    for line in sides.added:
        old = before.get(_without_numbers(line))
        if old is None:
            continue
        pairs = zip(_values(old), _values(line), strict=False)
        first, second = next(((a, b) for a, b in pairs if a != b), (None, None))
        if first is None or second is None:
            continue
        yield from _changed(line, first, second)


def _changed(line: str, before: float, after: float) -> Iterable[Effect]:
    name = " ".join(IDENTIFIER.findall(line)[:3])[:60]
    words = f"sets {name} from {before:g} to {after:g}"
    if "/v" in line or re.search(r"\bv?\d+\.\d+\.\d+", line):
        yield Effect("version", "takes another version of a library", {Symptom.DECODING: 0.3}, 0.2)
    elif _TTL.search(line):
        shows = {
            Symptom.CACHE: 1.0,
            Symptom.LATENCY: 0.5,
            Symptom.DATABASE: 0.4,
            Symptom.STALE: 0.5,
            Symptom.AUTH: 0.3,
        }
        yield Effect("lifetime", words, shows)
    elif _TIMES.search(line):
        shows = {
            Symptom.LATENCY: 1.0,
            Symptom.CONNECTION: 0.5,
            Symptom.RETRIES: 0.5,
            Symptom.POOL: 0.4,
            Symptom.OVERLOAD: 0.4,
        }
        yield Effect("timeout", words, shows)
    elif _TRIES.search(line):
        yield Effect(
            "retries", words, {Symptom.RETRIES: 1.0, Symptom.OVERLOAD: 0.6, Symptom.THROTTLING: 0.5}
        )
    elif _IDLE.search(line):
        yield Effect(
            "idle", words, {Symptom.CONNECTION: 0.3, Symptom.POOL: 0.2, Symptom.LATENCY: 0.2}, 0.4
        )
    elif _CAPS.search(line):
        shows = {
            Symptom.POOL: 1.0,
            Symptom.MEMORY: 0.8,
            Symptom.OVERLOAD: 0.7,
            Symptom.THROTTLING: 0.6,
            Symptom.LATENCY: 0.5,
        }
        shows |= {Symptom.CPU: 0.5, Symptom.QUEUE: 0.5, Symptom.DISK: 0.3}
        # More of a thing is as a rule harmless, less of it is not.
        yield Effect("limit", words, shows, 1.0 if after < before else 0.5)
    elif _EVERY.search(line):
        yield Effect(
            "interval", words, {Symptom.OVERLOAD: 0.6, Symptom.CPU: 0.6, Symptom.THROTTLING: 0.5}
        )
    else:
        yield Effect(
            "number", words, {Symptom.DATA: 0.5, Symptom.LATENCY: 0.2, Symptom.DISK: 0.2}, 0.5
        )


def _switches(sides: Sides) -> Iterable[Effect]:
    """Yield settings that stand on both sides and are switched the other way."""
    before = {_SWITCH.sub("?", line).strip(): line for line in sides.removed}
    for line in sides.added:
        old = before.get(_SWITCH.sub("?", line).strip())
        if old is not None and old.strip() != line.strip():
            name = " ".join(IDENTIFIER.findall(line)[:2])[:60]
            shows = {
                Symptom.SETTING: 0.8,
                Symptom.AUTH: 0.4,
                Symptom.CACHE: 0.4,
                Symptom.LATENCY: 0.3,
                Symptom.CPU: 0.3,
            }
            yield Effect("switch", f"switches {name}", shows)


def _names(sides: Sides) -> Iterable[Effect]:
    """Yield names on the wire or in configuration that were replaced by others."""
    before, after = _strings(sides.removed), _strings(sides.added)
    gone, come = before - after, after - before
    text = "\n".join((*sides.removed, *sides.added))
    if gone and come and len(gone) <= 6 and _WIRE.search(text):
        words = f"calls {', '.join(sorted(gone)[:2])} now {', '.join(sorted(come)[:2])}"
        shows = {
            Symptom.DECODING: 1.0,
            Symptom.DATABASE: 0.3,
            Symptom.SETTING: 0.4,
            Symptom.QUEUE: 0.3,
            Symptom.AUTH: 0.2,
        }
        yield Effect("renamed", words, shows)


def _without_numbers(line: str) -> str:
    return " ".join(_NUMBER.sub("#", _UNIT.sub("", line)).split())


def _values(line: str) -> list[float]:
    scale = _UNITS.get(m[1], 1) if (m := _UNIT.search(line)) else 1
    return [float(n.replace("_", "")) * scale for n in _NUMBER.findall(_UNIT.sub("", line))]


def _strings(lines: list[str]) -> set[str]:
    return {
        text for line in lines for text in _STRING.findall(line) if re.search(r"[A-Za-z]", text)
    }
