"""Which calls failed or became slow, seen in traces, and where that began."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from it_incident_response.domain.evidence import SpanFinding
from it_incident_response.domain.topology import Topology
from it_incident_response.domain.trace import Span

SPANS_MAX = 200_000
"""Spans looked at; of more the first ones."""
TEXT_MAX = 500
EXAMPLES_KEPT = 3
SLOWER = 2.0
"""Own time over the usual own time from which an operation counts as slow."""
SLOWER_BY_S = 0.05
"""And by how many seconds at least: twice nothing is nothing."""
REPEATED_MIN = 10
"""Calls of the same operation by one span that count as one call for each item of a list."""

_Id = tuple[str, str]


@dataclass
class _Operation:
    calls: int = 0
    errors: int = 0
    begun: int = 0
    """Errors of spans none of whose children failed."""
    own_s: list[float] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)
    traces: dict[str, None] = field(default_factory=dict)
    repeated: int = 0
    """Most calls by one parent span."""

    def p95_s(self) -> float | None:
        ordered = sorted(self.own_s)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None


_Key = tuple[str, str, str | None]


def find_in_spans(spans: Sequence[Span], baseline: Sequence[Span]) -> tuple[SpanFinding, ...]:
    """Return a finding for each operation that fails or is slow, where it begins first.

    An operation is a service, its span's name and the calling service. Own time is a span's
    duration without the time that its children cover (overlapping ones once), so a caller that
    only waits is not slow. Slow is an own 95th percentile of twice the usual one.
    """
    now, before = _operations(spans), _operations(baseline)
    none = _Operation()
    found = [_finding(key, op, before.get(key, none)) for key, op in now.items()]
    telling = [item for item in found if _is_telling(item)]
    return tuple(sorted(telling, key=_rank))


def calls_in(spans: Iterable[Span]) -> Topology:
    """Return who calls whom: services of parent and child, where they differ."""
    listed = list(spans)[:SPANS_MAX]
    owner = {(span.trace_id, span.span_id): span.service for span in listed}
    calls: dict[str, set[str]] = defaultdict(set)
    for span in listed:
        caller = owner.get((span.trace_id, span.parent_id or ""))
        if caller is not None and caller != span.service:
            calls[caller].add(span.service)
    return Topology(calls={name: frozenset(called) for name, called in calls.items()})


def _operations(spans: Sequence[Span]) -> Mapping[_Key, _Operation]:
    unique = {(span.trace_id, span.span_id): span for span in spans[:SPANS_MAX]}
    children: dict[_Id, list[Span]] = defaultdict(list)
    for span in unique.values():
        if span.parent_id and span.parent_id != span.span_id:
            children[span.trace_id, span.parent_id].append(span)
    found: dict[_Key, _Operation] = defaultdict(_Operation)
    for identity, span in unique.items():
        parent = unique.get((span.trace_id, span.parent_id or ""))
        caller = parent.service if parent and parent.service != span.service else None
        _add(found[span.service, span.operation, caller], span, children.get(identity, []))
    _count_repeats(found, unique, children)
    return found


def _add(operation: _Operation, span: Span, children: Sequence[Span]) -> None:
    operation.calls += 1
    operation.own_s.append(_own_s(span, children))
    if not span.is_error:
        return
    operation.errors += 1
    operation.begun += not any(child.is_error for child in children)
    if span.error:
        operation.texts[span.error[:TEXT_MAX]] += 1
    if len(operation.traces) < EXAMPLES_KEPT:
        operation.traces[span.trace_id] = None


def _count_repeats(
    found: Mapping[_Key, _Operation],
    unique: Mapping[_Id, Span],
    children: Mapping[_Id, Sequence[Span]],
) -> None:
    for identity, own in children.items():
        parent = unique.get(identity)
        for (service, operation), count in Counter((c.service, c.operation) for c in own).items():
            caller = parent.service if parent and parent.service != service else None
            kept = found.get((service, operation, caller))
            if kept is not None:
                kept.repeated = max(kept.repeated, count)


def _own_s(span: Span, children: Sequence[Span]) -> float:
    """Return the seconds that no child covers; clocks of services differ, so children are cut."""
    start, end = span.start.timestamp(), span.start.timestamp() + max(0.0, span.duration_s)
    covered, reached = 0.0, start
    for child in sorted(children, key=lambda c: c.start):
        first = child.start.timestamp()
        last = min(end, first + max(0.0, child.duration_s))
        first = max(first, reached)
        if last > first:
            covered, reached = covered + last - first, last
    return max(0.0, end - start - covered)


def _finding(key: _Key, now: _Operation, before: _Operation) -> SpanFinding:
    service, operation, caller = key
    p95, usual = now.p95_s(), before.p95_s()
    is_slow = _is_slower(p95, usual)
    text = now.texts.most_common(1)[0][0] if now.texts else None
    if now.repeated >= max(REPEATED_MIN, 2 * before.repeated):
        many = f"called up to {now.repeated} times by one request"
        text = f"{text}; {many}" if text else many
    return SpanFinding(
        service=service[:TEXT_MAX],
        operation=operation[:TEXT_MAX],
        caller=caller,
        calls=now.calls,
        errors=now.errors,
        baseline_calls=before.calls,
        baseline_errors=before.errors,
        p95_s=p95,
        baseline_p95_s=usual,
        is_deepest=now.begun * 2 > now.errors > 0 or is_slow,
        error=text,
        examples=tuple(now.traces),
    )


def _is_slower(p95: float | None, usual: float | None) -> bool:
    if p95 is None or usual is None:
        return False
    return p95 >= SLOWER * usual and p95 - usual >= SLOWER_BY_S


def _is_telling(item: SpanFinding) -> bool:
    more = item.errors / item.calls > 1.5 * _share(item.baseline_errors, item.baseline_calls)
    is_repeated = item.error is not None and not item.errors
    return bool(item.errors) and more or _is_slower(item.p95_s, item.baseline_p95_s) or is_repeated


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _rank(item: SpanFinding) -> tuple[bool, float, int, str, str]:
    return (
        not item.is_deepest,
        -_share(item.errors, item.calls),
        -item.calls,
        item.service,
        item.operation,
    )
