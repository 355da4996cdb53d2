"""Causes that no change of code made: expiry, names, traffic, providers, machines, flags."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from it_incident_response.analysis.bundle.anomalies import MetricAnomaly
from it_incident_response.analysis.bundle.failure import Failure, split_words
from it_incident_response.analysis.bundle.metric_meaning import Meaning, words_of
from it_incident_response.analysis.bundle.symptoms import Symptom, speaks_of
from it_incident_response.domain.bundle import Bundle, FlagChange, Notice
from it_incident_response.domain.model import Value

SURGE = 1.8
"""Rise of the calls that come in from which they alone may explain an overload."""
NEAR = timedelta(minutes=15)
_OF_MACHINES = "node", "notready", "evict", "preempt", "pressure", "hardware", "kubelet", "zone"
FLAG_NEAR = timedelta(minutes=5)


class OutsideCause(Value):
    """A cause that is no commit."""

    kind: str
    service: str | None
    mechanism: str
    remediation: str
    score: float
    cited: tuple[tuple[str, str, str], ...]
    """Source, summary and reference of each piece of evidence."""


def outside_causes(bundle: Bundle, failure: Failure) -> list[OutsideCause]:
    """Return the causes that something speaks for, the likeliest first."""
    looks: Sequence[Callable[[Bundle, Failure], OutsideCause | None]] = (
        _certificate,
        _names,
        _traffic,
        _node,
        _provider,
        _full,
        _clock,
        _flag,
    )
    found = [cause for look in looks if (cause := look(bundle, failure)) is not None]
    return sorted(found, key=lambda cause: -cause.score)


def _certificate(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    said = _lines(failure, lambda t: speaks_of(t, Symptom.CERTIFICATE) and "expire" in t.lower())
    if alert := _alert_says(bundle, Symptom.CERTIFICATE, "expire"):
        said = [alert, *said]
    run_out = [
        a for a in failure.anomalies if a.meaning is Meaning.LIFETIME and a.after <= a.before
    ]
    ended = [a for a in run_out if a.after <= 0]
    if not said and not ended:
        return None
    words = "a certificate has expired: handshakes fail from its end on"
    return OutsideCause(
        kind="certificate",
        service=run_out[0].service if run_out else failure.first_service,
        mechanism=words,
        remediation="rotate-cert",
        score=2.2 * bool(said) + 1.0 * (len(said) > 1) + 2.5 * bool(ended) + 0.5 * bool(run_out),
        cited=(*said[:4], *(_metric(a) for a in run_out[:2])),
    )


def _names(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    said = _lines(failure, lambda t: speaks_of(t, Symptom.NAMES))
    services = {line.service for line in failure.lines if speaks_of(line.example, Symptom.NAMES)}
    resolvers = [a for a in failure.anomalies if "dns" in f"{a.service} {a.metric}".lower()]
    notices = _notices(bundle, failure, "dns", "resolver", "name resolution")
    if not said and not resolvers:
        return None
    return OutsideCause(
        kind="external",
        service=resolvers[0].service if resolvers else None,
        mechanism="names cannot be resolved: services fail at once that share only the resolver",
        remediation="escalate-upstream",
        score=1.0 * bool(said)
        + 1.0 * min(2, max(0, len(services) - 1))
        + 2.0 * bool(resolvers)
        + 1.5 * bool(notices),
        cited=(*said[:4], *(_metric(a) for a in resolvers[:2]), *notices[:2]),
    )


def _traffic(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    """More calls came in from outside, and came first; callees being called more proves nothing."""
    called = {name for names in failure.topology.calls.values() for name in names}
    loads = [
        a
        for a in failure.anomalies
        if a.meaning is Meaning.LOAD and a.ratio >= SURGE and a.before > 0
    ]
    doors = [a for a in loads if a.service not in called or a.service == failure.first_service]
    if not doors or failure.onset is None:
        return None
    first = min(doors, key=lambda a: a.onset)
    is_first = first.onset <= failure.onset + timedelta(minutes=2)
    is_door = first.service not in called
    overload = failure.spoken.get(Symptom.OVERLOAD, 0.0) + failure.spoken.get(Symptom.CPU, 0.0)
    if not is_first or not is_door and len(loads) < 2:
        return None
    words = f"{first.ratio:.1f} times the usual number of calls came in"
    return OutsideCause(
        kind="traffic",
        service=first.service,
        mechanism=f"{words}, more than there is capacity for",
        remediation="scale",
        score=1.5 + 1.5 * is_door + 0.5 * min(2, len(loads) - 1) + 3.0 * min(0.5, overload),
        cited=tuple(_metric(a) for a in loads[:4]),
    )


def _node(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    said = _lines(failure, lambda t: speaks_of(t, Symptom.NODE))
    notices = _notices(
        bundle,
        failure,
        "node",
        "notready",
        "evict",
        "preempt",
        "pressure",
        "host",
        "hardware",
        "zone",
    )
    if not notices and len(said) < 2:
        return None
    return OutsideCause(
        kind="resource",
        service=failure.first_service,
        mechanism="the machine below failed or was taken away; what ran on it went with it",
        remediation="drain-node",
        score=2.5 * bool(notices) + 0.5 * min(2, len(notices)) + 0.8 * min(2, len(said)),
        cited=(*notices[:4], *said[:3]),
    )


def _provider(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    notices = _notices(
        bundle,
        failure,
        "degraded",
        "outage",
        "incident",
        "elevated",
        "investigating",
        "partial",
        "unavailable",
        "major",
    )
    said = _lines(failure, lambda t: speaks_of(t, Symptom.PROVIDER))
    if not notices and not said:
        return None
    return OutsideCause(
        kind="external",
        service=failure.first_service,
        mechanism="a system that others run is failing",
        remediation="escalate-upstream",
        score=2.5 * bool(notices) + 0.5 * min(2, len(notices)) + 0.7 * min(3, len(said)),
        cited=(*notices[:4], *said[:4]),
    )


def _full(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    said = _lines(failure, lambda t: "no space" in t.lower() or "enospc" in t.lower())
    quota = _lines(failure, lambda t: "quota" in t.lower() and speaks_of(t, Symptom.THROTTLING))
    used = [a for a in failure.anomalies if "disk" in a.metric.lower() and a.after > a.before]
    if not said and not quota:
        return None
    words = "a disk is full" if said else "a quota is used up"
    return OutsideCause(
        kind="resource",
        service=failure.first_service,
        mechanism=words,
        remediation="scale",
        score=1.2 * min(2, len(said) + len(quota)) + 1.5 * bool(used),
        cited=(*said[:3], *quota[:3], *(_metric(a) for a in used[:2])),
    )


def _clock(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    moved = [a for a in failure.anomalies if {"clock", "ntp"} & set(words_of(a.metric))]
    if not moved:
        return None
    return OutsideCause(
        kind="resource",
        service=moved[0].service,
        mechanism="a machine's clock is wrong",
        remediation="resync-clock",
        score=3.5,
        cited=tuple(_metric(a) for a in moved[:3]),
    )


def _flag(bundle: Bundle, failure: Failure) -> OutsideCause | None:
    """A flag that was switched just before, of what failed, and of which the failure speaks."""
    if failure.onset is None:
        return None
    words = {word for line in failure.lines[:40] for word in split_words(line.example)}
    words |= set(split_words(bundle.alert.summary))
    common = {w for s in failure.services for w in split_words(s)}
    best: tuple[float, FlagChange] | None = None
    for flag in bundle.flags:
        since = failure.onset - flag.at
        if since < -timedelta(minutes=1) or since > NEAR:
            continue
        own = [w for w in split_words(flag.flag) if w not in common]
        spoken = len(set(own) & words) / max(1, len(set(own)))
        named = any(flag.flag.lower() in line.example.lower() for line in failure.lines)
        near = since <= FLAG_NEAR
        is_here = flag.service == failure.first_service
        score = 0.9 * near + 0.8 * is_here + 1.5 * spoken + 1.0 * named
        if best is None or score > best[0]:
            best = (score, flag)
    if best is None:
        return None
    score, flag = best
    return OutsideCause(
        kind="config_change",
        service=flag.service,
        mechanism=f"the flag {flag.flag} was switched ({flag.change}) shortly before",
        remediation="feature-flag-disable",
        score=score,
        cited=(("flag", f"{flag.flag} {flag.change}", f"context/flags.json {flag.flag}"),),
    )


Cited = tuple[str, str, str]


def _lines(failure: Failure, says: Callable[[str], bool]) -> list[Cited]:
    return [
        (
            "log",
            f"{line.count}x {line.service or '?'}: {line.example[:200]}",
            f"logs.ndjson from {line.first_at.isoformat()}",
        )
        for line in failure.lines
        if says(line.example)
    ]


def _alert_says(bundle: Bundle, symptom: Symptom, word: str) -> Cited | None:
    for name, value in bundle.alert.fields.items():
        if isinstance(value, str) and speaks_of(value, symptom) and word in value.lower():
            return ("alert", value[:300], f"alert.json {name}")
    return None


def _notices(bundle: Bundle, failure: Failure, *words: str) -> list[Cited]:
    """Return passages of further files that are near in time and have one of the words."""
    return [
        ("notice", notice.text[:300], f"{notice.file} {notice.at.isoformat() if notice.at else ''}")
        for notice in bundle.notices
        if _is_near(notice, failure) and any(word in notice.text.lower() for word in words)
    ]


def _is_near(notice: Notice, failure: Failure) -> bool:
    if notice.at is None or failure.onset is None:
        return False
    return -NEAR <= notice.at - failure.onset <= NEAR


def _metric(anomaly: MetricAnomaly) -> Cited:
    return (
        "metric",
        f"{anomaly.metric} of {anomaly.service}: {anomaly.before:.4g} to {anomaly.after:.4g} "
        f"since {anomaly.onset:%H:%M:%S} UTC",
        f"metrics.csv {anomaly.service},{anomaly.metric}",
    )


def cited_metrics(anomalies: Iterable[MetricAnomaly]) -> list[Cited]:
    """Return metrics as evidence."""
    return [_metric(anomaly) for anomaly in anomalies]
