"""What a difference of code or configuration does, as far as its text shows.

No language is parsed: lines that were taken away and lines that came are compared, and a dozen
kinds of effect are recognised that incidents come from. A change whose two sides hold the same
words in another order does nothing of note, whatever it touches.
"""

import re
from collections import Counter
from collections.abc import Iterable

from it_incident_response.analysis.bundle.diff_sides import Effect, Shows, Sides, sides_of
from it_incident_response.analysis.bundle.setting_effects import setting_effects
from it_incident_response.analysis.bundle.symptoms import Symptom

_GUARD = re.compile(
    r"\bif\b.*(?:[!=]==?\s*(?:nil|null|None|undefined)|is (?:not )?None|\blen\(|isEmpty|isNull|"
    r"!\s*ok\b|hasattr|isinstance|Optional)|\?\?|\?\.|\.orElse|unwrap_or|getOrDefault|"
    r"\.get\([^)]*,[^)]*\)"
)
_LOOP = re.compile(r"\b(?:for|while|foreach|forEach)\b|\.map\(|\.each\b")
_CALL_OUT = re.compile(
    r"\b\w*(?:Query|query|Get|get|Fetch|fetch|Find|find|Load|load|Select|Exec|execute|Put|put|Post|"
    r"Send|send|Call|Request|request|Invoke|Lookup|lookup|Publish|Write|save|Save|Do)\w*\("
)
_CONTEXT = re.compile(r"\bctx\b|\bawait\b|\bdb\b|client|conn|repo|store|session|http|catalog|\.api")
_BATCH = re.compile(r"batch|bulk|chunk|mget|pipeline|prefetch|preload|join|includes?\(|IN \(", re.I)
_RELEASE = re.compile(
    r"\bdefer\b|\.close\(|\.Close\(|\.release|\.Release|\.unlock|\.Unlock|cancel\(|\bwith\b|"
    r"\.dispose|\bfinally\b|\.Stop\(|\.removeListener|\.unsubscribe|\.delete\(|delete\(|evict",
    re.I,
)
_GROWS = re.compile(r"append\(|\.push\(|\.add\(|\.put\(|\.set\(|\[[^\]]+\]\s*=[^=]|\.append\(|\+=")
_GLOBAL = re.compile(
    r"^(?:var|static|private static|let|const|global|public static|export const)?\s*\w+.*"
    r"(?:=\s*(?:\[\]|\{\}|new (?:Hash)?Map|new (?:Array)?List|make\(map|dict\(|list\(|defaultdict|"
    r"sync\.Map|new Set)|\[\]\w+$|map\[\w+\][\w\[\]*.]+$)"
)
_BOUNDED = re.compile(
    r"\blru\b|max|limit|\bcap\b|evict|ttl|\bbounded|\bring\b|expire|WeakMap|prune", re.I
)
_LOCK = re.compile(r"\b(?:Lock|RLock|lock|synchronized|acquire|FOR UPDATE|LOCK TABLE|mutex)\b")
_BLOCKING = re.compile(
    r"sleep\(|Sleep\(|Thread\.join|\.Wait\(|readFileSync|execSync|\.block\(|\.get\(\)|"
    r"blocking|runBlocking|\w+Sync\("
)
_REGEX = re.compile(r"re\.compile|regexp?\.(?:MustCompile|Compile)|new RegExp|Pattern\.compile|/\(")
_PANIC = re.compile(r"\bpanic\(|\braise\b|\bthrow\b|assert\b|\.unwrap\(\)|\bmust[A-Z]\w*\(|\bas!")
_STRICT = re.compile(r"strict|required|validate|DisallowUnknown|enforce|verify|reject", re.I)
_CACHE = re.compile(r"cache|memo(?:ize)?\b", re.I)
_TOLERANCE = re.compile(
    r"leeway|toleran|skew|grace|jitter|back-?off|fallback|default|debounce|buffer|margin|slack|"
    r"retry|circuit|breaker|rate_?limit|throttle|semaphore|timeout|deadline",
    re.I,
)
_SQL = re.compile(r"\b(?:SELECT|UPDATE|INSERT|DELETE|WHERE|LIMIT|JOIN|ORDER BY|GROUP BY)\b")
_SCHEMA = re.compile(r"\b(?:ALTER|DROP|CREATE|RENAME|ADD COLUMN|NOT NULL|INDEX)\b|migrat", re.I)
_OPERATOR = re.compile(r"<=|>=|==|!=|&&|\|\||[<>!]|\bnot\b|\band\b|\bor\b")

_CALLS_IN_LOOP: Shows = {
    Symptom.FAN_OUT: 1.0,
    Symptom.LATENCY: 0.9,
    Symptom.THROTTLING: 0.6,
    Symptom.DATABASE: 0.5,
    Symptom.POOL: 0.4,
}
_QUERY: Shows = {
    Symptom.DATABASE: 0.9,
    Symptom.LATENCY: 0.6,
    Symptom.FAN_OUT: 0.5,
    Symptom.CPU: 0.2,
}
_CONDITION: Shows = {
    Symptom.DATA: 0.6,
    Symptom.AUTH: 0.5,
    Symptom.CRASH: 0.5,
    Symptom.RETRIES: 0.3,
    Symptom.OVERLOAD: 0.2,
}
_ADDED: tuple[tuple[str, str, re.Pattern[str], Shows, float], ...] = (
    (
        "lock_added",
        "waits for a lock",
        _LOCK,
        {
            Symptom.LOCKING: 1.0,
            Symptom.LATENCY: 0.6,
            Symptom.POOL: 0.4,
            Symptom.DATABASE: 0.3,
        },
        1.0,
    ),
    (
        "blocking_added",
        "blocks",
        _BLOCKING,
        {
            Symptom.LATENCY: 0.9,
            Symptom.CPU: 0.4,
            Symptom.POOL: 0.3,
            Symptom.OVERLOAD: 0.3,
        },
        0.7,
    ),
    (
        "pattern_added",
        "matches a pattern",
        _REGEX,
        {Symptom.CPU: 1.0, Symptom.LATENCY: 0.6},
        1.0,
    ),
    (
        "failure_added",
        "fails where it did not",
        _PANIC,
        {Symptom.CRASH: 0.7, Symptom.DATA: 0.3},
        0.6,
    ),
    (
        "stricter",
        "accepts less",
        _STRICT,
        {
            Symptom.DECODING: 0.8,
            Symptom.AUTH: 0.7,
            Symptom.CERTIFICATE: 0.3,
            Symptom.DATA: 0.3,
        },
        0.7,
    ),
)
"""What a change can bring: its name, in words, how it is seen, how it shows, and how sure."""


def effects_of(diff: str) -> list[Effect]:
    """Return what the change does, in no order; empty for one that only moves words."""
    sides = sides_of(diff)
    before, after = "\n".join(sides.removed), "\n".join(sides.added)
    found = setting_effects(sides)
    found += _lost(before, after)
    found += _come(sides, before, after)
    return found


def _lost(before: str, after: str) -> Iterable[Effect]:
    if _count(_GUARD, before) > _count(_GUARD, after):
        yield Effect("guard_removed", "takes away a check", {Symptom.CRASH: 1.0, Symptom.DATA: 0.3})
    if _count(_BATCH, before) > _count(_BATCH, after):
        shows = {
            Symptom.THROTTLING: 1.0,
            Symptom.FAN_OUT: 1.0,
            Symptom.LATENCY: 0.6,
            Symptom.DATABASE: 0.4,
        }
        yield Effect("batch_removed", "does one by one what was done together", shows)
    if _count(_RELEASE, before) > _count(_RELEASE, after):
        shows = {
            Symptom.POOL: 1.0,
            Symptom.MEMORY: 0.8,
            Symptom.LOCKING: 0.6,
            Symptom.CONNECTION: 0.3,
        }
        yield Effect("release_removed", "no longer gives something back", shows)
    if _count(_CACHE, before) > _count(_CACHE, after):
        shows = {
            Symptom.CACHE: 1.0,
            Symptom.LATENCY: 0.6,
            Symptom.FAN_OUT: 0.6,
            Symptom.DATABASE: 0.6,
            Symptom.OVERLOAD: 0.4,
        }
        yield Effect("cache_removed", "no longer keeps what it has fetched", shows)
    gone = {w.lower() for w in _TOLERANCE.findall(before)}
    gone -= {w.lower() for w in _TOLERANCE.findall(after)}
    if gone:
        shows = {
            Symptom.AUTH: 0.7,
            Symptom.CLOCK: 0.8,
            Symptom.RETRIES: 0.6,
            Symptom.OVERLOAD: 0.4,
            Symptom.LATENCY: 0.4,
            Symptom.CONNECTION: 0.3,
            Symptom.THROTTLING: 0.3,
        }
        yield Effect("tolerance_removed", f"takes away {', '.join(sorted(gone)[:3])}", shows)
    if _count(_LOCK, before) > _count(_LOCK, after):
        yield Effect(
            "lock_removed",
            "takes away a lock",
            {Symptom.CRASH: 0.7, Symptom.DATA: 0.8, Symptom.STALE: 0.5},
        )


def _come(sides: Sides, before: str, after: str) -> Iterable[Effect]:
    if _calls_in_loop(sides.added) > _calls_in_loop(sides.removed):
        yield Effect("call_in_loop", "calls another system once for each item", _CALLS_IN_LOOP)
    is_kept = any(_GLOBAL.match(line.strip()) for line in (*sides.added, *sides.context))
    grows = _count(_GROWS, after) > _count(_GROWS, before)
    if grows and is_kept and not _BOUNDED.search(after):
        shows = {Symptom.MEMORY: 1.0, Symptom.CPU: 0.2}
        yield Effect("grows_without_bound", "keeps ever more", shows)
    for name, words, pattern, shown, weight in _ADDED:
        if _count(pattern, after) > _count(pattern, before):
            yield Effect(name, words, shown, weight)
    if _SCHEMA.search(after) or _SCHEMA.search(before):
        shows = {Symptom.DATABASE: 1.0, Symptom.LOCKING: 0.6}
        yield Effect("schema", "changes the schema", shows, 0.8)
    if _sql(before) != _sql(after):
        yield Effect("query", "asks the database something else", _QUERY, 0.8)
    if _inverted(sides):
        yield Effect("condition", "decides the other way", _CONDITION, 0.7)


def _calls_in_loop(lines: list[str]) -> int:
    """Count calls to other systems on lines that stand deeper than a loop before them."""
    depth, calls = None, 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if depth is not None and indent <= depth and not line.strip().startswith(("}", ")", "]")):
            depth = None
        if depth is not None and _CALL_OUT.search(line) and _CONTEXT.search(line):
            calls += 1
        if depth is None and _LOOP.search(line):
            depth = indent
    return calls


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))


def _sql(text: str) -> Counter[str]:
    return Counter(_SQL.findall(text))


def _inverted(sides: Sides) -> bool:
    before = {_OPERATOR.sub("?", line).strip(): line.strip() for line in sides.removed}
    return any(
        (old := before.get(_OPERATOR.sub("?", line).strip())) is not None and old != line.strip()
        for line in sides.added
        if "if" in line or "while" in line or "return" in line
    )
