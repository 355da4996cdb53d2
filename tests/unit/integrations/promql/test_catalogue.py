"""The catalogue of queries: complete, right, and closed to what it does not know."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import Signal
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.errors import ConfigError
from it_incident_response.integrations.promql.catalogue import load_catalogue, shipped_catalogue
from it_incident_response.integrations.promql.targets import targets_of

INVENTORY = Inventory(
    hosts=(
        HostEntry(
            name="web-1",
            address="10.0.0.1",
            aliases=("web-1.example.net", "fe80::1"),
            services=(
                ServiceEntry(
                    name="checkout", unit="shop.service", aliases=("http://10.0.0.1/health", "co")
                ),
            ),
        ),
    )
)


def every_query(target='job="x"'):
    for key, candidates in shipped_catalogue().all().items():
        for candidate in candidates:
            yield key, candidate.filled(target, "5m")


def test_every_signal_can_be_read_of_something():
    assert {signal for signal, _ in shipped_catalogue().all()} == set(Signal) - {Signal.OTHER}


def test_every_query_parses_and_uses_its_target_in_every_selector():
    for key, query in every_query('job="x"'):
        found = []

        def visit(node, found=found):
            if isinstance(node, promql_parser.VectorSelector):
                found.append(node)

        promql_parser.walk(promql_parser.parse(query), visit)
        assert found, (key, query)
        for selector in found:
            matchers = [(m.name, m.value) for m in selector.matchers.matchers]
            assert ("job", "x") in matchers, (key, query)


def test_counters_are_never_read_bare():
    """A counter means something only as a rate, an increase or the count of its resets."""
    known_gauges = {
        "node_memory_MemTotal_bytes",
        "pg_stat_activity_count",
        "kafka_consumergroup_lag_sum",
        "jvm_thread_count",
    }
    for key, query in every_query():
        nodes = []
        promql_parser.walk(promql_parser.parse(query), nodes.append)
        for before, node in zip([None, *nodes], nodes, strict=False):
            if not isinstance(node, promql_parser.VectorSelector):
                continue
            is_counter = node.name.endswith(("_total", "_count", "_sum", "_bucket"))
            is_over_time = isinstance(before, promql_parser.MatrixSelector)
            is_counted = str(getattr(before, "op", "")) == "count"  # series: processors
            is_fine = is_over_time or is_counted or not is_counter or node.name in known_gauges
            assert is_fine, (key, query)


def test_the_time_of_a_probe_is_not_taken_for_the_network():
    latencies = [query for (signal, _), query in every_query() if signal is Signal.NETWORK_LATENCY]
    assert latencies
    assert not [query for query in latencies if "probe_duration_seconds" in query]


def test_ratios_are_fractions_of_something():
    texts = dict.fromkeys(query for (s, _), query in every_query() if s is Signal.MEMORY_USE)
    assert all("/" in query for query in texts)


@given(st.text(max_size=80), st.sampled_from(EntityKind))
def test_no_name_breaks_out_of_its_matcher(name, kind):
    for target in targets_of(Entity(kind, name), INVENTORY):
        selector = promql_parser.parse(f"up{{{target.matcher}}}")
        (read,) = selector.matchers.matchers
        assert read.name == target.label


def matching(entity: Entity, label: str, value: str) -> bool:
    import re

    for target in targets_of(entity, INVENTORY):
        (read,) = promql_parser.parse(f"up{{{target.matcher}}}").matchers.matchers
        if read.name == label:
            is_regex = read.op == promql_parser.MatchOp.Re
            return bool(re.fullmatch(read.value, value)) if is_regex else read.value == value
    return False


@pytest.mark.parametrize(
    ("instance", "is_ours"),
    [
        ("web-1", True),
        ("web-1:9100", True),
        ("10.0.0.1:9100", True),
        ("web-1.example.net:443", True),
        ("https://web-1:8443/health", True),
        ("http://10.0.0.1", True),
        ("[fe80::1]:9100", True),
        ("web-10:9100", False),
        ("web-1x", False),
        ("10.0.0.10:9100", False),
        ("10a0.0.1:9100", False),
        ("db-1:9100", False),
        ("http://db-1/web-1", False),
    ],
)
def test_a_host_is_found_by_name_address_and_alias(instance, is_ours):
    assert matching(Entity(EntityKind.HOST, "web-1"), "instance", instance) is is_ours


def test_a_host_outside_the_inventory_is_found_by_its_name():
    assert matching(Entity(EntityKind.HOST, "db-9"), "instance", "db-9:9100")


@pytest.mark.parametrize(
    ("label", "value", "is_ours"),
    [
        ("service", "checkout", True),
        ("service", "co", True),
        ("job", "checkout", True),
        ("instance", "http://10.0.0.1/health", True),
        ("name", "shop.service", True),
        ("name", "checkout.service", True),
        ("service", "other", False),
        ("name", "other.service", False),
    ],
)
def test_a_service_is_found_by_name_alias_and_unit(label, value, is_ours):
    assert matching(Entity(EntityKind.SERVICE, "checkout"), label, value) is is_ours


def written(tmp_path, text: str):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return [path]


def test_own_queries_are_tried_first(tmp_path):
    text = "kinds: [host]\nsignals: {cpu_use: ['my_cpu_share{$target}']}"
    catalogue = load_catalogue(written(tmp_path, text))
    first, second, *_ = catalogue.candidates(Signal.CPU_USE, EntityKind.HOST)
    assert first.template == "my_cpu_share{$target}"
    assert "node_cpu_seconds_total" in second.template
    shipped = shipped_catalogue().candidates(Signal.UP, EntityKind.SERVICE)
    assert catalogue.candidates(Signal.UP, EntityKind.SERVICE) == shipped


def test_values_cannot_smuggle_placeholders(tmp_path):
    text = "kinds: [host]\nsignals: {cpu_use: ['a{$target}']}"
    first = load_catalogue(written(tmp_path, text)).candidates(Signal.CPU_USE, EntityKind.HOST)[0]
    assert first.filled('x="$window"', "5m") == 'a{x="$window"}'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kinds: [host", "not YAML"),
        ("[]", "wrong"),
        ("kinds: [spaceship]\nsignals: {}", "kinds"),
        ("kinds: [host]\nsignals: {warmth: [a]}", "signals"),
        ("kinds: [host]\nsignals: {cpu_use: ['rate(a{$target}[5m']}", "cannot be parsed"),
        ("kinds: [host]\nsignals: {cpu_use: ['a']}", "needs $target"),
        ("kinds: [host]\nsignals: {cpu_use: ['a{$target,$other}']}", "needs $target"),
        ("kinds: [host]\nsignals: {cpu_use: ['{$target}']}", "name its metric"),
        ("kinds: [host]\nsignals: {cpu_use: ['a{$target}']}\nextra: 1", "extra"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(tmp_path, text, named):
    with pytest.raises(ConfigError, match=r"own\.yaml") as caught:
        load_catalogue(written(tmp_path, text))
    assert named in caught.value.message


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        load_catalogue([tmp_path / "none.yaml"])
