"""Which kinds of trouble the texts and metrics of an incident speak of."""

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum


class Symptom(StrEnum):
    """Kinds of trouble; a cause of one kind shows as some of them and not as others."""

    LATENCY = "latency"
    FAN_OUT = "fan_out"
    MEMORY = "memory"
    POOL = "pool"
    THROTTLING = "throttling"
    AUTH = "auth"
    DECODING = "decoding"
    CRASH = "crash"
    CERTIFICATE = "certificate"
    NAMES = "names"
    OVERLOAD = "overload"
    CPU = "cpu"
    DISK = "disk"
    CACHE = "cache"
    LOCKING = "locking"
    CONNECTION = "connection"
    PROVIDER = "provider"
    NODE = "node"
    DATABASE = "database"
    RETRIES = "retries"
    SETTING = "setting"
    CLOCK = "clock"
    STALE = "stale"
    QUEUE = "queue"
    DATA = "data"


def _any(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


_SPOKEN: tuple[tuple[Symptom, re.Pattern[str]], ...] = (
    (
        Symptom.LATENCY,
        _any(r"latenc", r"\bslow", r"duration", r"\bp9[059]", r"deadline exceeded", r"timed? ?out"),
    ),
    (
        Symptom.FAN_OUT,
        _any(
            r"quer(?:y|ies)[_ ]count",
            r"n\+1",
            r"calls[_. ]in[_. ]request",
            r"quer(?:y|ies) per request",
            r"\bSELECT\b",
            r"repeated (?:quer|call)",
            r"identical (?:quer|statement|call)",
            r"per[- ]item",
            r"fan[- ]?out",
        ),
    ),
    (
        Symptom.MEMORY,
        _any(r"memory(?![ _-]?(?:svc|service))", r"\boom", r"\bheap", r"\brss\b", r"\bgc\b"),
    ),
    (
        Symptom.POOL,
        _any(
            r"\bpool",
            r"too many (?:connections|clients|open)",
            r"max[_ ]?conn",
            r"no (?:free|available|idle) (?:connection|worker|thread|slot)",
            r"file descriptor",
            r"emfile",
            r"exhausted",
        ),
    ),
    (
        Symptom.THROTTLING,
        _any(
            r"throttl",
            r"rate[ _-]?limit",
            r"too many requests",
            r"\b429\b",
            r"throughput ?exceeded",
            r"quota",
            r"capacity",
        ),
    ),
    (
        Symptom.AUTH,
        _any(
            r"\b40[13]\b",
            r"unauthori[sz]ed",
            r"forbidden",
            r"\bjwt\b",
            r"\btoken",
            r"permission denied",
            r"access ?denied",
            r"signature",
            r"credential",
            r"\bauth",
        ),
    ),
    (
        Symptom.DECODING,
        _any(
            r"deserial",
            r"unmarshal",
            r"decod",
            r"pars(?:e|ing) (?:error|fail)",
            r"failed to parse",
            r"schema",
            r"missing (?:required )?field",
            r"unknown field",
            r"unexpected (?:token|type|field|enum)",
            r"cannot read propert",
            r"incompatible",
            r"wire type",
        ),
    ),
    (
        Symptom.CRASH,
        _any(
            r"\bpanic",
            r"nil pointer",
            r"null ?pointer",
            r"nonetype",
            r"of (?:undefined|null)\b",
            r"segmentation|sigsegv",
            r"index out of (?:range|bounds)",
            r"unhandled exception",
            r"crash ?loop",
            r"attributeerror|typeerror|keyerror|indexerror|classcast",
        ),
    ),
    (
        Symptom.CERTIFICATE,
        _any(
            r"x509",
            r"certificate",
            r"\bcert\b",
            r"tls[_ ]cert",
            r"handshake",
            r"\bnotafter\b",
            r"pkix",
        ),
    ),
    (
        Symptom.NAMES,
        _any(
            r"no such host",
            r"enotfound|eai_again",
            r"name resolution",
            r"name or service not known",
            r"servfail|nxdomain",
            r"\bdns\b",
            r"lookup \S+",
            r"getaddrinfo",
            r"unknownhost",
        ),
    ),
    (
        Symptom.OVERLOAD,
        _any(
            r"overload",
            r"shedding|load shed",
            r"saturat",
            r"queue[ds]? (?:full|depth)",
            r"request queued",
            r"too busy",
            r"backpressure",
        ),
    ),
    (
        Symptom.CPU,
        _any(r"\bcpu", r"event loop", r"busy loop", r"spinning", r"backtrack", r"starvation"),
    ),
    (
        Symptom.DISK,
        _any(r"no space left", r"enospc", r"disk", r"\binode", r"read-only file", r"\bvolume\b"),
    ),
    (
        Symptom.CACHE,
        _any(r"cache", r"hit[ _]ratio", r"stampede", r"thundering", r"\bredis\b", r"memcache"),
    ),
    (
        Symptom.LOCKING,
        _any(r"deadlock", r"lock (?:wait|timeout)", r"\block(?:ed|s)?\b", r"contention", r"mutex"),
    ),
    (
        Symptom.CONNECTION,
        _any(
            r"connection (?:refused|reset|closed|aborted)",
            r"econn",
            r"broken pipe",
            r"unreachable",
            r"no route",
            r"packet loss",
            r"\beof\b",
        ),
    ),
    (
        Symptom.PROVIDER,
        _any(
            r"third[- ]party",
            r"provider",
            r"vendor",
            r"upstream (?:api|outage|incident|degrad)",
            r"status ?page",
            r"\bexternal\b",
            r"https?://(?!\S*(?:\.svc|\.local|\.internal|localhost))[\w-]+\.[\w.-]+",
            r"\bapi\.[a-z0-9-]+\.(?:com|io|net)",
        ),
    ),
    (
        Symptom.NODE,
        _any(
            r"node ?not ?ready",
            r"\bnode[- _](?:\S+ )?(?:lost|down|drain|cordon|fail|unreachable|pressure)",
            r"evict(?:ed|ing) pod|pods? evicted",
            r"preempt",
            r"\bspot\b",
            r"hardware",
            r"kernel",
            r"hypervisor",
            r"(?:memory|disk|pid) ?pressure",
            r"\baz\b|availability zone",
            r"kubelet",
        ),
    ),
    (
        Symptom.DATABASE,
        _any(
            r"\bsql",
            r"relation .* does not exist",
            r"column .* (?:does not exist|unknown)",
            r"unknown column",
            r"seq(?:uential)? scan",
            r"full table scan",
            r"constraint",
            r"duplicate key",
            r"migration",
            r"replica(?:tion)? lag",
            r"failover",
            r"\bindex\b",
            r"read[- ]only transaction",
        ),
    ),
    (Symptom.RETRIES, _any(r"\bretr(?:y|ies|ying)", r"attempt \d+", r"back-?off", r"retry storm")),
    (
        Symptom.SETTING,
        _any(
            r"config",
            r"missing env",
            r"environment variable",
            r"feature flag",
            r"\bflag\b",
            r"invalid (?:value|url|endpoint|host|port)",
            r"not configured",
        ),
    ),
    (
        Symptom.CLOCK,
        _any(r"clock", r"\bskew", r"not yet valid", r"\bntp\b", r"timestamp (?:in the|too)"),
    ),
    (Symptom.STALE, _any(r"\bstale", r"out of date", r"expired (?:entry|item)", r"inconsisten")),
    (
        Symptom.QUEUE,
        _any(
            r"\bqueue",
            r"backlog",
            r"consumer lag",
            r"oldest[ _]?message",
            r"\boffset",
            r"\bdlq\b",
            r"rebalanc",
        ),
    ),
    (
        Symptom.DATA,
        _any(
            r"\bround",
            r"mismatch",
            r"wrong (?:total|amount|price|value|result)",
            r"negative",
            r"overflow",
            r"precision",
            r"encoding",
            r"\btruncat",
        ),
    ),
)

TEXTS_MAX = 3000
LENGTH_MAX = 1000


def spoken_of(texts: Iterable[tuple[str, float]]) -> dict[Symptom, float]:
    """Return how much weighted texts speak of each kind of trouble: shares of all that is said."""
    total: Counter[Symptom] = Counter()
    for text, weight in texts:
        for symptom, pattern in _SPOKEN:
            if pattern.search(text[:LENGTH_MAX]):
                total[symptom] += weight  # type: ignore[assignment]
    whole = sum(total.values())
    return {symptom: value / whole for symptom, value in total.items()} if whole else {}


def speaks_of(text: str, symptom: Symptom) -> bool:
    """Return whether a text speaks of one kind of trouble."""
    return any(pattern.search(text[:LENGTH_MAX]) for known, pattern in _SPOKEN if known is symptom)
