"""Log rules judged on counts: patterns, spikes, absences, templates; the labels of their alerts."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.analysis.log_detection import (
    BREACHES_APART_MAX,
    MANY,
    Seen,
    absence_breaches,
    pattern_breaches,
    spike_breaches,
    template_breaches,
    template_memory,
)
from it_incident_response.analysis.log_rules import (
    Grouping,
    LogRule,
    LogRuleKind,
    alert_labels,
    concerns_line,
)
from it_incident_response.domain.evidence import LogLevel, LogLine, TimeWindow
from it_incident_response.domain.labels import fingerprint
from it_incident_response.ports import LogQuery

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = TimeWindow(start=NOW - timedelta(minutes=5), end=NOW)


def rule(kind, **more) -> LogRule:
    return LogRule(name="R", kind=kind, **more)


def seen(count, service="api", host=None, ago_s=60.0):
    return Seen(NOW - timedelta(seconds=ago_s), count, service, host)


def test_a_pattern_needs_enough_lines_of_one_service():
    pattern = rule(LogRuleKind.PATTERN, at_least=5)
    items = [seen(3), seen(2, ago_s=200), seen(4, service="web")]
    (breach,) = pattern_breaches(pattern, items, WINDOW)
    assert breach.labels["service"] == "api"
    assert breach.count == 5
    assert breach.since == NOW - timedelta(seconds=200)


def test_a_pattern_may_be_counted_by_host_or_altogether():
    items = [seen(3, host="a"), seen(3, host="b"), seen(3, service="web", host="b")]
    by_host = pattern_breaches(rule(LogRuleKind.PATTERN, per=Grouping.HOST), items, WINDOW)
    assert {(b.labels["service"], b.labels["host"]) for b in by_host} == {
        ("api", "a"),
        ("api", "b"),
        ("web", "b"),
    }
    (whole,) = pattern_breaches(
        rule(LogRuleKind.PATTERN, per=Grouping.RULE, at_least=9), items, WINDOW
    )
    assert "service" not in whole.labels


def spike(**more):
    return rule(LogRuleKind.SPIKE, at_least=20, window_s=300.0, **more)


def test_a_spike_is_far_above_the_same_hour_of_earlier_days():
    history = {("api", None): [10.0, 12.0, 8.0, 11.0] * 21}
    (breach,) = spike_breaches(spike(), [seen(90)], history, 84, WINDOW)
    assert breach.expected == 10.5
    assert breach.p_value < 1e-6
    assert spike_breaches(spike(), [seen(25)], history, 84, WINDOW) == []


def test_a_spike_needs_the_least_number_and_a_known_past():
    assert spike_breaches(spike(), [seen(19)], {}, 84, WINDOW) == []
    assert len(spike_breaches(spike(), [seen(20)], {}, 84, WINDOW)) == 1
    assert spike_breaches(spike(), [seen(9_000)], {}, 3, WINDOW) == []


def test_windows_without_lines_count_as_empty():
    history = {("api", None): [100.0, 100.0]}
    assert spike_breaches(spike(), [seen(100)], history, 2 * 12, WINDOW)
    assert spike_breaches(spike(), [seen(100)], history, 2, WINDOW) == []


def test_an_absence_is_of_each_expected_service():
    absence = rule(LogRuleKind.ABSENCE, services=("backup", "billing"), contains="finished")
    (breach,) = absence_breaches(absence, [seen(1, service="billing")], WINDOW, is_any_line=True)
    assert breach.labels["service"] == "backup"
    assert "collecting" not in breach.text
    both = absence_breaches(absence, [], WINDOW, is_any_line=False)
    assert len(both) == 2
    assert "collecting may have broken" in both[0].text


def test_an_absence_of_a_rule_without_services_is_of_the_rule():
    (breach,) = absence_breaches(rule(LogRuleKind.ABSENCE), [], WINDOW, is_any_line=True)
    assert set(breach.labels) == {"alertname", "severity", "detector"}
    for per in Grouping:
        wide = rule(LogRuleKind.ABSENCE, per=per)
        assert absence_breaches(wide, [seen(1, host="a")], WINDOW, is_any_line=True) == []


def test_an_absence_may_be_of_a_host():
    hosts = rule(LogRuleKind.ABSENCE, per=Grouping.HOST, hosts=("a", "b"))
    (breach,) = absence_breaches(hosts, [seen(1, host="a")], WINDOW, is_any_line=True)
    assert breach.labels["host"] == "b"


def lines(message, count, *, end=NOW, span_s=200.0, service="api"):
    return [
        LogLine(
            at=end - timedelta(seconds=1 + span_s * n / count),
            message=message,
            level=LogLevel.ERROR,
            service=service,
        )
        for n in range(count)
    ]


def template(**more):
    return rule(LogRuleKind.TEMPLATE, **({"at_least": 3, "factor": 5.0} | more))


LAST = NOW - timedelta(microseconds=1)
HOUR_AGO = NOW - timedelta(seconds=3900)


def test_a_new_template_is_a_breach_and_a_known_one_is_not():
    memory = template_memory(template())
    memory.learn(lines("pool exhausted", 5, end=NOW - timedelta(minutes=30)), is_known=True)
    memory.learn(lines("quorum is lost", 4) + lines("pool exhausted", 4), is_known=False)
    (breach,) = template_breaches(template(), memory, HOUR_AGO, LAST)
    assert breach.template == "quorum is lost"
    assert breach.count == 4
    assert breach.labels["template_id"]
    assert breach.since == min(line.at for line in lines("quorum is lost", 4))


def test_too_few_lines_of_a_new_template_are_nothing():
    memory = template_memory(template())
    memory.learn(lines("quorum is lost", 2), is_known=False)
    assert template_breaches(template(), memory, HOUR_AGO, LAST) == []


def test_a_template_is_not_new_for_ever():
    memory = template_memory(template())
    for minutes in range(0, 120, 5):
        end = NOW - timedelta(minutes=minutes)
        memory.learn(lines("quorum is lost", 4, end=end), is_known=False)
    assert template_breaches(template(), memory, NOW - timedelta(hours=5), LAST) == []


def test_a_known_template_that_surges_is_a_breach():
    memory = template_memory(template())
    for minute in range(10, 65, 5):
        usual = lines("slow query", 6, end=NOW - timedelta(minutes=minute))
        memory.learn(usual, is_known=True)
    memory.learn(lines("slow query", 120), is_known=False)
    (breach,) = template_breaches(template(), memory, HOUR_AGO, LAST)
    assert breach.p_value < 1e-4
    assert breach.expected == 6
    assert breach.count == 120


def test_very_many_new_templates_are_one_breach_a_service():
    memory = template_memory(template())
    for number in range(40):
        text = " ".join(
            chr(97 + number % 26) * 3 + chr(97 + n) + str(number > 25) for n in range(5)
        )
        memory.learn(lines(text, 3), is_known=False)
    assert len(memory) > BREACHES_APART_MAX
    (breach,) = template_breaches(template(), memory, HOUR_AGO, LAST)
    assert breach.labels["template_id"] == MANY
    assert breach.count == 120


def test_the_identity_of_an_alert_holds_nothing_that_changes():
    history = {("api", None): [1.0] * 12}
    one = spike_breaches(spike(), [seen(90)], history, 12, WINDOW)[0]
    other = spike_breaches(spike(), [seen(700, ago_s=3)], history, 12, WINDOW)[0]
    assert fingerprint(one.labels) == fingerprint(other.labels)


@given(st.text(max_size=400), st.text(max_size=400))
def test_what_is_seen_cannot_forge_a_rules_labels(service, host):
    labels = alert_labels(
        rule(LogRuleKind.PATTERN, labels={"team": "a"}), service=service, host=host
    )
    assert labels["alertname"] == "R"
    assert labels["team"] == "a"
    assert all(len(value) <= 256 for value in labels.values())


def test_a_phrase_is_found_whatever_its_case():
    query = LogQuery(window=WINDOW, contains="Out of Memory")
    assert concerns_line(query, "kernel: out of memory: killed")
    assert not concerns_line(query, "memory out of order")
