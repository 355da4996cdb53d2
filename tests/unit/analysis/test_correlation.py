import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from it_incident_response.analysis.correlation import CorrelationSettings, correlate
from it_incident_response.domain.alert import AlertStatus
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.labels import make_alert
from it_incident_response.domain.severity import Severity
from it_incident_response.domain.topology import Topology
from tests.unit.analysis.alert_storm import StormShape, make_storm

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOPOLOGY = Topology(
    calls={
        "shop": frozenset({"orders"}),
        "orders": frozenset({"orders-db"}),
        "left": frozenset({"shared"}),
        "right": frozenset({"shared"}),
    },
    runs_on={
        "shop": frozenset({"web-1", "web-2"}),
        "orders": frozenset({"app-1"}),
        "orders-db": frozenset({"db-1"}),
    },
)


def at(minutes):
    return NOW + timedelta(minutes=minutes)


def alert(
    name="ServiceDown", minutes=0.0, *, resolved=False, ends=None, annotations=None, **labels
):
    received = at(minutes if ends is None else max(minutes, ends))
    return make_alert(
        labels={"alertname": name, "job": "app", "cluster": "prod", **labels},
        annotations=annotations or {},
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        starts_at=at(minutes),
        ends_at=at(ends) if ends is not None else None,
        received_at=received,
        source="test",
    )


class World:
    """Keeps what a store would keep between batches."""

    def __init__(self, topology=TOPOLOGY, **changes):
        self.topology = topology
        self.settings = CorrelationSettings(**changes)
        self.known, self.incidents, self.links, self.events = {}, {}, [], []

    def take(self, *alerts, now=None):
        now = now or max(a.received_at for a in alerts)
        outcome = correlate(
            alerts, self.known, list(self.incidents.values()), self.topology, self.settings, now
        )
        self.known |= {k.alert.fingerprint: k for k in outcome.alerts}
        self.incidents |= {i.id: i for i in outcome.incidents}
        self.links += outcome.links
        self.events += outcome.events
        return outcome

    def put(self, incident):
        self.incidents[incident.id] = incident

    @property
    def only(self):
        (incident,) = self.incidents.values()
        return incident


def test_a_firing_alert_opens_an_incident_that_says_what_and_where():
    world = World()
    outcome = world.take(
        alert(service="shop", severity="page", annotations={"summary": "shop is gone"})
    )
    assert world.only.title == "ServiceDown on shop: shop is gone"
    assert world.only.severity is Severity.CRITICAL
    assert world.only.key == ""
    assert world.only.affected_systems == ("shop",)
    assert (world.only.firing_alerts, world.only.total_alerts) == (1, 1)
    assert outcome.wake == (world.only.id,)
    assert [event.kind for event in outcome.events] == ["incident.opened"]
    assert outcome.links[0].score == 1.0


def test_the_same_alert_again_changes_nothing():
    world = World()
    world.take(alert(service="shop"))
    assert world.take(alert(service="shop")).incidents == ()
    assert world.take(alert(service="shop"), alert(service="shop")).wake == ()
    assert len(world.incidents) == 1


def test_the_same_alert_twice_in_one_batch_is_one_alert():
    world = World()
    world.take(alert(service="shop"), alert(service="shop"))
    assert world.only.total_alerts == 1


@pytest.mark.parametrize(
    ("first", "second", "because"),
    [
        (alert(service="shop"), alert("HighErrorRate", 1, service="shop"), "same service shop"),
        (
            alert("HostOutOfMemory", instance="db-1:9100"),
            alert("HostOomKill", 1, instance="db-1:9100"),
            "same host db-1",
        ),
        (
            alert("HighLatency", service="orders"),
            alert("SlowQueries", 1, service="orders-db"),
            "service orders calls service orders-db",
        ),
        (
            alert("HostOutOfDiskSpace", instance="db-1:9100"),
            alert("SlowQueries", 1, service="orders-db"),
            "service orders-db runs on host db-1",
        ),
        (
            alert("QueryErrors", service="a", datname="orders", queue="q7"),
            alert("QueryErrors", 1, service="b", datname="orders", queue="q7"),
            "shares datname=orders",
        ),
        (
            alert("HighLatency", service="shop"),
            alert("HostHighCpuLoad", 1, instance="app-1:9100"),
            "service shop depends on host app-1, through orders",
        ),
        (
            alert("HostHighCpuLoad", instance="web-1:9100"),
            alert("HostHighCpuLoad", 1, instance="web-2:9100"),
            "hosts web-1 and web-2 both run service shop",
        ),
        (
            alert("PodCrash", pod="cart-7d9f8b6c55-x2x1z"),
            alert("PodOom", 1, pod="cart-7d9f8b6c55-k9k1z"),
            "same service cart",
        ),
    ],
)
def test_alerts_of_one_cause_join_and_say_why(first, second, because):
    world = World()
    world.take(first)
    outcome = world.take(second)
    assert len(world.incidents) == 1
    assert because in outcome.links[0].reason
    assert world.settings.join_score <= outcome.links[0].score < 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            alert("HighLatency", service="a", namespace="n", environment="prod", team="x"),
            alert("HighLatency", service="b", namespace="n", environment="prod", team="x"),
        ),
        (
            alert("HostOutOfDiskSpace", instance="h1:9100", device="/dev/sda1", fstype="ext4"),
            alert("HostOutOfDiskSpace", instance="h2:9100", device="/dev/sda1", fstype="ext4"),
        ),
        (
            alert("PodOom", pod="a-7d9f8b6c55-x2x1z", node="n1", namespace="x"),
            alert("PodOom", pod="b-7d9f8b6c55-x2x1z", node="n1", namespace="x"),
        ),
        (
            alert("A", job="kube-state-metrics", instance="10.0.0.1:80", deployment="a"),
            alert("B", job="kube-state-metrics", instance="10.0.0.1:80", deployment="b"),
        ),
        # Neighbours, but half an hour apart.
        (alert("HighLatency", service="orders"), alert("SlowQueries", 30, service="orders-db")),
        # Two calls apart, and not at the same moment.
        (alert("HighLatency", service="shop"), alert("SlowQueries", 4, service="orders-db")),
        # Neither depends on the other: they only call the same service.
        (alert("HighLatency", service="left"), alert("HighLatency", service="right")),
    ],
)
def test_alerts_that_share_only_a_place_stay_apart(first, second):
    world = World()
    world.take(first)
    world.take(second)
    assert len(world.incidents) == 2


def test_callers_of_a_shared_dependency_join_once_it_alerts():
    topology = Topology(calls={f"caller-{i}": frozenset({"db"}) for i in range(4)})
    world = World(topology)
    world.take(alert("HighLatency", 0, service="caller-0"))
    world.take(alert("SlowQueries", 1, service="db"))
    for i in range(1, 4):
        world.take(alert("HighLatency", 1 + i / 2, service=f"caller-{i}"))
    assert world.only.total_alerts == 5


def test_a_chain_of_weak_links_does_not_snowball():
    chain = {f"s{i}": frozenset({f"s{i - 1}"}) for i in range(1, 30)}
    world = World(Topology(calls=chain))
    for i in range(30):
        world.take(alert("HighLatency", i / 10, service=f"s{i}"))
    assert max(incident.total_alerts for incident in world.incidents.values()) <= 3


def test_resolved_alerts_count_down_and_the_last_one_wakes():
    world = World()
    world.take(alert("A", service="shop"), alert("B", service="shop"))
    first = world.take(alert("A", service="shop", resolved=True, ends=5))
    assert world.only.firing_alerts == 1
    assert first.wake == ()
    last = world.take(alert("B", service="shop", resolved=True, ends=6))
    assert world.only.firing_alerts == 0
    assert last.wake == (world.only.id,)
    assert world.only.status is IncidentStatus.INVESTIGATING, "closing needs verification"
    assert world.take(alert("B", service="shop", resolved=True, ends=6)).incidents == ()


def test_a_resolution_of_an_unknown_alert_opens_nothing():
    world = World()
    outcome = world.take(alert(resolved=True, ends=1, service="shop"))
    assert outcome.incidents == ()
    assert outcome.alerts == ()


def ended_world(status, ended_at=6.0):
    world = World()
    world.take(alert(service="shop"))
    world.take(alert(service="shop", resolved=True, ends=5))
    incident = world.only.moved_to(IncidentStatus.RESOLVED, at(ended_at))
    if status is IncidentStatus.CLOSED:
        incident = incident.moved_to(status, at(ended_at))
    world.put(incident)
    return world


@pytest.mark.parametrize("status", [IncidentStatus.RESOLVED, IncidentStatus.CLOSED])
def test_firing_again_within_the_window_reopens(status):
    world = ended_world(status)
    outcome = world.take(alert(minutes=30, service="shop"))
    assert world.only.status is IncidentStatus.INVESTIGATING
    assert world.only.reopened_count == 1
    assert world.only.firing_alerts == 1
    assert outcome.wake == (world.only.id,)
    assert "incident.reopened" in [event.kind for event in outcome.events]
    assert outcome.links == (), "it is a member already"


def test_firing_again_after_the_window_opens_a_new_one():
    world = ended_world(IncidentStatus.RESOLVED)
    world.take(alert(minutes=200, service="shop"))
    assert len(world.incidents) == 2
    assert {i.reopened_count for i in world.incidents.values()} == {0}


def test_firing_again_opens_a_new_one_when_the_old_is_gone():
    world = ended_world(IncidentStatus.CLOSED)
    old = world.only.id
    world.incidents.clear()
    world.take(alert(minutes=200, service="shop"))
    assert world.only.id != old


def test_a_new_kind_of_alert_does_not_join_an_ended_incident():
    world = ended_world(IncidentStatus.RESOLVED)
    world.take(alert("Other", 7, service="shop"))
    assert len(world.incidents) == 2


def test_an_incident_closed_by_a_person_while_it_fires_stays_closed():
    world = World()
    world.take(alert(service="shop"))
    world.put(world.only.moved_to(IncidentStatus.CLOSED, at(1)))
    world.take(alert(service="shop").model_copy(update={"received_at": at(20)}), now=at(20))
    assert world.only.status is IncidentStatus.CLOSED


def test_an_alert_that_still_fires_long_after_the_resolution_reopens():
    world = World()
    world.take(alert(service="shop"))
    world.put(world.only.moved_to(IncidentStatus.RESOLVED, at(1)))
    world.take(alert(service="shop").model_copy(update={"received_at": at(3)}), now=at(3))
    assert world.only.status is IncidentStatus.RESOLVED, "its own resolution may be on the way"
    world.take(alert(service="shop").model_copy(update={"received_at": at(20)}), now=at(20))
    assert world.only.status is IncidentStatus.INVESTIGATING
    assert world.only.firing_alerts == 1


class TestLateDelivery:
    def test_an_older_episode_does_not_resolve_the_newer(self):
        world = World()
        world.take(alert(minutes=10, service="shop"))
        world.take(alert(minutes=0, service="shop", resolved=True, ends=5), now=at(11))
        assert world.only.firing_alerts == 1
        assert world.known[next(iter(world.known))].alert.is_firing

    def test_an_older_firing_does_not_reopen(self):
        world = World()
        world.take(alert(minutes=10, service="shop"))
        world.take(alert(minutes=10, service="shop", resolved=True, ends=12))
        world.take(alert(minutes=2, service="shop"), now=at(30))
        assert world.only.firing_alerts == 0

    def test_the_same_firing_right_after_its_resolution_is_late(self):
        world = World()
        world.take(alert(service="shop"))
        world.take(alert(service="shop", resolved=True, ends=5))
        late = alert(service="shop").model_copy(update={"received_at": at(6)})
        world.take(late, now=at(6))
        assert world.only.firing_alerts == 0
        again = alert(service="shop").model_copy(update={"received_at": at(30)})
        world.take(again, now=at(30))
        assert world.only.firing_alerts == 1, "half an hour later it is no late delivery"

    def test_a_start_moved_back_by_merging_still_resolves(self):
        world = World()
        world.take(alert(minutes=1, service="shop"))
        world.take(alert(minutes=0.9, service="shop", resolved=True, ends=5))
        assert world.only.firing_alerts == 0


def test_flapping_is_recognised_and_ends():
    world = World()
    for minute in range(0, 12, 4):
        world.take(alert(minutes=minute, service="shop"))
        world.take(alert(minutes=minute, service="shop", resolved=True, ends=minute + 2))
    assert world.only.is_flapping
    assert "incident.flapping_began" in [event.kind for event in world.events]
    world.take(alert(minutes=300, service="shop"))
    world.take(alert(minutes=300, service="shop", resolved=True, ends=301))
    assert not world.only.is_flapping


def test_the_worst_alert_gives_severity_and_title():
    world = World()
    world.take(alert("Slow", service="shop", severity="info"))
    world.take(alert("Down", 1, service="shop", severity="critical"))
    world.take(alert("Slower", 2, service="shop", severity="warning"))
    assert world.only.severity is Severity.CRITICAL
    assert world.only.title.startswith("Down")


def test_an_alert_joins_an_incident_opened_by_hand_and_leaves_its_title():
    world = World()
    by_hand = Incident(
        id="0190",
        key="INC-000001",
        title="Customers complain",
        severity=Severity.LOW,
        affected_systems=("shop",),
        opened_at=NOW,
        updated_at=NOW,
    )
    world.put(by_hand)
    world.take(alert(minutes=2, service="shop", severity="critical"))
    assert world.only.title == "Customers complain"
    assert world.only.severity is Severity.CRITICAL
    assert world.only.total_alerts == 1


def test_an_alert_between_two_incidents_of_its_batch_unites_them():
    world = World(Topology())
    world.take(
        alert("HostDown", instance="h1:9100"),
        alert("Errors", service="cart"),
        alert("Slow", service="cart", instance="h1:80"),
    )
    assert world.only.total_alerts == 3
    assert {link.incident_id for link in world.links} == {world.only.id}
    assert {known.incident_id for known in world.known.values()} == {world.only.id}
    assert {event.incident_id for event in world.events} == {world.only.id}


def test_an_alert_in_the_middle_of_a_chain_unites_both_ends():
    chain = ["edge", "site", "api", "pay", "bank"]
    calls = {one: frozenset({two}) for one, two in zip(chain, chain[1:], strict=False)}
    world = World(Topology(calls=calls))
    world.take(*(alert("HighErrorRate", service=name) for name in ("edge", "bank", "api")))
    assert world.only.total_alerts == 3
    reasons = [link.reason for link in world.links]
    assert reasons.count("opened this incident") == 1
    assert any("belongs to both" in reason for reason in reasons)


def test_in_a_crowd_of_incidents_a_neighbour_is_no_reason():
    names = [f"s{i}" for i in range(60)]
    calls = {one: frozenset({two}) for one, two in zip(names, names[1:], strict=False)}
    calls |= {name: calls.get(name, frozenset()) | {"s0"} for name in names[1:]}
    world = World(Topology(calls=calls))
    rng = random.Random(3)
    for name in rng.sample(names, 30):
        world.take(alert(f"Alert{name}", rng.uniform(0, 2), service=name))
    assert max(incident.total_alerts for incident in world.incidents.values()) <= 10


def test_hostile_text_becomes_a_title_on_one_line():
    world = World()
    world.take(
        alert("Bad\nname\x1b[31m", service="s\u202etxt", annotations={"summary": "x" * 9_999})
    )
    assert len(world.only.title) <= 200
    assert world.only.title.isprintable()
    assert "\u202e" not in world.only.title


def test_the_footprint_is_bounded():
    world = World()
    for i in range(600):
        world.take(alert("A", service="shop", instance=f"h{i}:80", **{f"label{i}": "x" * 900}))
    footprint = world.only.footprint
    assert len(footprint.entities) <= world.settings.entities_max
    assert len(footprint.core) <= world.settings.core_max
    assert len(footprint.model_dump_json()) < 100_000
    assert Entity(EntityKind.SERVICE, "shop") in footprint.core


def purity(storm, known):
    members = defaultdict(Counter)
    for fingerprint, stored in known.items():
        members[stored.incident_id][storm.causes[fingerprint]] += 1
    return sum(max(causes.values()) for causes in members.values()) / len(known)


@pytest.mark.parametrize(
    ("shape", "batch"),
    [
        (StormShape(), 1_000),
        (StormShape(), 100),
        (StormShape(alerts=3_000, spread_s=5), 500),
        (StormShape(alerts=3_000, kubernetes=True, shared_nodes=20), 1_000),
    ],
)
def test_a_storm_of_fifty_causes_gives_about_fifty_incidents(shape, batch):
    storm = make_storm(7, shape)
    world = World(storm.topology)
    for start in range(0, len(storm.reports), batch):
        chunk = storm.reports[start : start + batch]
        world.take(*chunk, now=chunk[-1].received_at)
    assert 45 <= len(world.incidents) <= 55
    assert purity(storm, world.known) > 0.98
    assert len(world.known) == shape.alerts
    counted = sum(incident.firing_alerts for incident in world.incidents.values())
    assert counted == sum(known.alert.is_firing for known in world.known.values())


def test_a_storm_without_topology_never_mixes_causes():
    storm = make_storm(8, StormShape(causes=20, alerts=2_000))
    world = World(Topology())
    world.take(*storm.reports, now=storm.reports[-1].received_at)
    assert purity(storm, world.known) == 1.0
    assert 20 <= len(world.incidents) <= 24


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_whatever_the_order_no_fingerprint_is_in_two_incidents(seed):
    rng = random.Random(seed)
    storm = make_storm(seed, StormShape(causes=4, alerts=60, flaps=0.3, duplicates=0.5))
    reports = storm.reports[:]
    rng.shuffle(reports)
    world = World(storm.topology)
    while reports:
        size = rng.randint(1, 30)
        world.take(*reports[:size], now=max(r.received_at for r in storm.reports))
        del reports[:size]
    by_fingerprint = Counter(link.fingerprint for link in world.links)
    assert set(by_fingerprint.values()) == {1}
    for incident in world.incidents.values():
        mine = [k for k in world.known.values() if k.incident_id == incident.id]
        assert incident.total_alerts == len(mine)
        assert incident.firing_alerts == sum(k.alert.is_firing for k in mine)
