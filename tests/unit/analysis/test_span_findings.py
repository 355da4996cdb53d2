"""Which calls failed or became slow, and where that began."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.span_findings import calls_in, find_in_spans
from it_incident_response.domain.trace import Span

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def span(trace, own, service, *, parent=None, at=0.0, took=0.1, error=None, name="call"):
    return Span(
        trace_id=trace,
        span_id=own,
        parent_id=parent,
        service=service,
        operation=name,
        start=START + timedelta(seconds=at),
        duration_s=took,
        is_error=error is not None,
        error=error,
    )


def request(trace, *, error=None, own=0.1, behind=0.05):
    """Return shop calling pricing, which fails or takes `behind` seconds."""
    return [
        span(trace, "a", "shop", took=own + behind, error=error and "502"),
        span(trace, "b", "pricing", parent="a", at=own / 2, took=behind, error=error),
    ]


QUIET = [s for n in range(20) for s in request(f"q{n}")]


def test_the_failure_begins_at_the_deepest_failed_span():
    now = [s for n in range(10) for s in request(f"t{n}", error="refused")]
    first, second = find_in_spans(now, QUIET)
    assert (first.service, first.is_deepest, first.error) == ("pricing", True, "refused")
    assert (first.caller, first.calls, first.errors, first.baseline_calls) == ("shop", 10, 10, 20)
    assert (second.service, second.is_deepest) == ("shop", False)
    assert first.examples == ("t0", "t1", "t2")


def test_who_only_waits_is_not_slow():
    now = [s for n in range(10) for s in request(f"t{n}", behind=2.0)]
    (slow,) = find_in_spans(now, QUIET)
    assert (slow.service, slow.is_deepest) == ("pricing", True)
    assert abs(slow.p95_s - 2.0) < 1e-6
    assert abs(slow.baseline_p95_s - 0.05) < 1e-6


def test_overlapping_children_are_taken_off_once():
    parent = span("t", "a", "shop", took=1.0)
    children = [span("t", f"c{n}", "db", parent="a", at=0.2, took=0.5) for n in range(3)]
    usual = [span("u", "a", "shop", took=0.1)]
    (slow,) = [f for f in find_in_spans([parent, *children], usual) if f.service == "shop"]
    assert abs(slow.p95_s - 0.5) < 1e-6


def test_the_usual_is_no_news():
    assert find_in_spans(QUIET, QUIET) == ()
    failing = [s for n in range(10) for s in request(f"t{n}", error="refused")]
    assert find_in_spans(failing, failing) == ()


def test_a_query_for_each_item_is_told():
    now = [span("t", "a", "shop", took=1.0)]
    now += [
        span("t", f"c{n}", "shop", parent="a", at=n / 50, took=0.01, name="SELECT")
        for n in range(40)
    ]
    before = [
        span("u", "a", "shop", took=1.0),
        span("u", "c", "shop", parent="a", took=0.01, name="SELECT"),
    ]
    (told,) = find_in_spans(now, before)
    assert told.operation == "SELECT"
    assert "up to 40 times by one request" in told.error


def test_calls_between_services_are_edges():
    assert calls_in(QUIET).calls == {"shop": frozenset({"pricing"})}


def test_cycles_missing_parents_and_doubles_end():
    odd = [
        span("t", "a", "x", parent="b", error="e"),
        span("t", "b", "y", parent="a", error="e"),
        span("t", "c", "z", parent="nobody", error="e"),
        span("t", "d", "z", parent="d", error="e"),
        span("t", "c", "z", parent="nobody", error="e"),
    ]
    assert {f.service for f in find_in_spans(odd, [])} == {"x", "y", "z"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from("1234"),
            st.sampled_from("1234 "),
            st.floats(-10, 10),
            st.floats(0, 10),
        ),
        max_size=30,
    )
)
def test_own_time_is_never_more_than_the_span(rows):
    spans = [span(t, i, f"s{i}", parent=p.strip() or None, at=a, took=d) for t, i, p, a, d in rows]
    longest = max((s.duration_s for s in spans), default=0.0)
    for finding in find_in_spans(spans, []):
        assert 0 <= finding.p95_s <= longest + 1e-6
