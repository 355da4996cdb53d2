"""Which services, metrics and changes are suspected, and why."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from it_incident_response.analysis.ranking import rank
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import (
    AlertFact,
    Change,
    CommandOutput,
    Evidence,
    LogLevel,
    LogPattern,
    MetricFinding,
    Novelty,
    Shape,
    Signal,
    SpanFinding,
)
from it_incident_response.domain.suspect import SuspectKind
from it_incident_response.domain.topology import Topology

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = Topology(
    calls={
        "web": frozenset({"checkout", "search"}),
        "checkout": frozenset({"payment", "cart"}),
        "payment": frozenset({"bank"}),
    },
    runs_on={"payment": frozenset({"host-7"})},
)


def service(name):
    return Entity(EntityKind.SERVICE, name)


def evidence(finding, number=[0]):  # noqa: B006 - counts the evidence of this module
    number[0] += 1
    return Evidence(
        id=f"e{number[0]:04d}",
        incident_id="i",
        source="test",
        summary=f"{finding.kind} {number[0]}",
        finding=finding,
        observed_at=BEGAN,
    )


def metric(name, signal=Signal.LATENCY_P95, effect=30.0, onset_s=0.0, shape=Shape.LEVEL_SHIFT):
    return evidence(
        MetricFinding(
            signal=signal,
            entity=name if isinstance(name, Entity) else service(name),
            shape=shape,
            baseline=1.0,
            current=1.0 + effect,
            peak=1.0 + effect,
            effect=effect,
            onset=BEGAN + timedelta(seconds=onset_s),
        )
    )


def change(name, minutes_before, change_id="c1", **fields):
    return evidence(
        Change(
            change_id=change_id,
            what="deploy",
            entity=service(name) if name else None,
            at=BEGAN - timedelta(minutes=minutes_before),
            summary="new release",
            **fields,
        )
    )


def names(suspects, kind=SuspectKind.SERVICE):
    return [suspect.name for suspect in suspects if suspect.kind is kind]


def test_the_deepest_of_those_in_trouble_is_suspected():
    found = rank([metric("web"), metric("checkout"), metric("payment")], SHOP, began=BEGAN)
    assert names(found)[0] == "payment"
    top = found[0]
    assert any("checkout" in reason and "web" in reason for reason in top.reasons)
    assert top.evidence


def test_the_order_of_the_evidence_does_not_matter():
    given = [metric("web"), metric("payment", effect=9.0), metric("cart", onset_s=60)]
    assert rank(given, SHOP, began=BEGAN) == rank(given[::-1], SHOP, began=BEGAN)


def test_nothing_seen_suspects_nobody():
    assert rank([], SHOP, began=BEGAN) == ()
    assert rank([]) == ()
    assert rank([metric("web", shape=Shape.NORMAL)], SHOP, began=BEGAN) == ()


def test_without_a_topology_the_earlier_and_stronger_one_leads():
    found = rank([metric("web", onset_s=1200), metric("payment", onset_s=0)])
    assert names(found) == ["payment", "web"]
    found = rank([metric("web", effect=5), metric("payment", effect=90)])
    assert names(found) == ["payment", "web"]


def test_a_resource_that_ran_out_is_not_explained_by_a_callee():
    """A disk that is full is its own trouble, whatever the bank's latency."""
    given = [
        metric("checkout", Signal.DISK_USE, effect=60, shape=Shape.SATURATION),
        metric("web"),
        metric("bank", effect=5),
    ]
    assert names(rank(given, SHOP, began=BEGAN))[0] == "checkout"


def test_logs_and_traces_alone_are_enough():
    span = SpanFinding(
        service="payment",
        operation="charge",
        calls=50,
        errors=40,
        baseline_calls=50,
        is_deepest=True,
        error="timeout",
    )
    pattern = LogPattern(
        template="payment of <*> failed",
        level=LogLevel.ERROR,
        service="checkout",
        count=40,
        baseline_count=0,
        first_at=BEGAN,
        last_at=BEGAN,
        novelty=Novelty.NEW,
    )
    found = rank([evidence(pattern), evidence(span)], None, began=BEGAN)
    assert names(found) == ["payment", "checkout"]


def test_a_hosts_trouble_is_found_below_its_service():
    host = Entity(EntityKind.HOST, "host-7")
    given = [metric("payment"), metric("checkout"), metric(host, Signal.DISK_USE, effect=80)]
    assert names(rank(given, SHOP, began=BEGAN))[0] == "host-7"


def test_a_pods_trouble_is_its_services():
    pod = Entity(EntityKind.POD, "payment-5f55b6cf68-qmx8k")
    assert names(rank([metric(pod, Signal.CPU_USE)], SHOP, began=BEGAN)) == ["payment"]


def test_a_change_shortly_before_where_the_trouble_is_leads_the_changes():
    given = [
        metric("payment"),
        metric("checkout"),
        change("payment", 5, "near"),
        change("payment", 400, "long ago"),
        change("search", 2, "elsewhere"),
        change("payment", -30, "after"),
    ]
    found = rank(given, SHOP, began=BEGAN)
    assert (
        names(found, SuspectKind.CHANGE) == ["near", "long ago", "elsewhere"]
        or names(found, SuspectKind.CHANGE)[0] == "near"
    )
    assert "after" not in names(found, SuspectKind.CHANGE)
    near = next(suspect for suspect in found if suspect.name == "near")
    assert "5 min before" in near.reasons[0]


def test_one_of_many_changes_is_weak():
    alone = rank([metric("payment"), change("payment", 20)], SHOP, began=BEGAN)
    among = rank(
        [metric("payment"), *[change("payment", 20 * k, f"c{k}") for k in range(1, 13)]],
        SHOP,
        began=BEGAN,
    )

    def score(found):
        return next(s.score for s in found if s.kind is SuspectKind.CHANGE and s.name == "c1")

    assert score(among) < score(alone) / 2


def test_what_we_changed_ourselves_is_not_suspected():
    given = [metric("payment"), change("payment", 5, is_ours=True)]
    assert names(rank(given, SHOP, began=BEGAN), SuspectKind.CHANGE) == []


def test_a_failed_unit_counts_as_trouble():
    output = CommandOutput(
        entity=service("cart"),
        command="systemctl show cart",
        exit_status=0,
        output="",
        facts={"ActiveState": "failed"},
    )
    assert names(rank([evidence(output)], SHOP, began=BEGAN)) == ["cart"]


def test_an_alert_that_ended_is_no_symptom():
    ended = AlertFact(
        fingerprint="f", name="Down", entities=(service("cart"),), starts_at=BEGAN, is_firing=False
    )
    assert rank([evidence(ended)], SHOP, began=BEGAN) == ()


@pytest.mark.parametrize("effect", [float("inf"), float("-inf"), 1e300, 0.0])
def test_senseless_effects_end_in_scores_between_0_and_1(effect):
    found = rank([metric("payment", effect=effect), metric("web")], SHOP, began=BEGAN)
    assert all(0 <= suspect.score <= 1 for suspect in found)


def moving(name, values, signal=Signal.LATENCY_P95):
    given = metric(name, signal)
    samples = tuple((BEGAN.timestamp() + 60 * k, float(v)) for k, v in enumerate(values))
    finding = given.finding.model_copy(update={"samples": samples})
    return given.model_copy(update={"finding": finding})


def alert(name):
    fact = AlertFact(fingerprint="f", name="Slow", entities=(service(name),), starts_at=BEGAN)
    return evidence(fact)


def test_what_moves_with_the_symptom_is_suspected_before_what_does_not():
    symptom = [1, 1, 5, 1, 1, 6, 7, 1, 1, 8]
    other = [7, 1, 1, 6, 1, 1, 1, 5, 6, 1]
    given = [alert("web"), moving("web", symptom), moving("search", symptom)]
    given.append(moving("checkout", other))
    found = names(rank(given, SHOP, began=BEGAN))
    assert found.index("search") < found.index("checkout")


def test_errors_are_explained_by_errors_rather_than_by_delay():
    given = [
        alert("web"),
        metric("web", Signal.ERROR_RATIO),
        metric("search", Signal.ERROR_RATIO),
        metric("checkout", Signal.LATENCY_P95, effect=45.0),
    ]
    assert names(rank(given, SHOP, began=BEGAN))[0] == "search"


def test_a_change_that_was_there_when_we_began_to_look_counts_less():
    def since(name, onset_s):
        given = metric(name, onset_s=onset_s)
        samples = tuple((BEGAN.timestamp() + 60 * k, 1.0 + k % 2) for k in range(-30, 10))
        update = {"baseline_end": BEGAN - timedelta(minutes=15), "samples": samples}
        return given.model_copy(update={"finding": given.finding.model_copy(update=update)})

    found = rank([since("search", -15 * 60 + 10), since("cart", -60)], None, began=BEGAN)
    assert names(found) == ["cart", "search"]


def span(name, before_s, after_s):
    return evidence(
        SpanFinding(
            service=name,
            operation="op",
            calls=50,
            errors=0,
            baseline_calls=50,
            p95_s=after_s,
            baseline_p95_s=before_s,
            is_deepest=True,
        )
    )


def test_seconds_weigh_more_than_milliseconds():
    """Ten times a millisecond explains no delay of seconds, three times a second does."""
    given = [span("cart", 0.001, 0.01), span("payment", 1.0, 3.0)]
    assert names(rank(given, SHOP, began=BEGAN))[0] == "payment"


SERVICES = st.sampled_from("abcdef")


@drawn(
    st.dictionaries(SERVICES, st.frozensets(SERVICES, max_size=4), max_size=6),
    st.lists(
        st.tuples(
            SERVICES,
            st.sampled_from(Signal),
            st.sampled_from(Shape),
            st.floats(-1e9, 1e9),
            st.integers(-3600, 3600),
        ),
        max_size=12,
    ),
)
def test_any_evidence_and_any_graph_give_ordered_scores(calls, seen):
    given = [
        metric(name, signal, effect, onset_s, shape)
        for name, signal, shape, effect, onset_s in seen
    ]
    given.append(change("a", 3))
    found = rank(given, Topology(calls=calls), began=BEGAN)
    for kind in SuspectKind:
        scores = [suspect.score for suspect in found if suspect.kind is kind]
        assert all(0 <= score <= 1 for score in scores)
        assert scores == sorted(scores, reverse=True)
    assert all(suspect.evidence and suspect.reasons for suspect in found)


def test_calls_in_a_circle_end():
    ring = Topology(calls={"a": frozenset({"b"}), "b": frozenset({"a"})})
    assert sorted(names(rank([metric("a"), metric("b")], ring, began=BEGAN))) == ["a", "b"]
