import pytest
from pydantic import ValidationError

from it_incident_response.analysis import rules_engine
from it_incident_response.analysis.case import build_case
from it_incident_response.analysis.diagnosis import diagnose
from it_incident_response.analysis.evidence_words import NOW, evidence_from
from it_incident_response.analysis.judging import State, judge
from it_incident_response.analysis.rule_model import Condition, Rule
from it_incident_response.analysis.rule_verdict import weigh
from it_incident_response.analysis.rules_engine import DiagnosticRule, RulesEngine
from it_incident_response.domain.incident import Incident
from it_incident_response.domain.severity import Severity
from it_incident_response.domain.topology import Topology

CALLS = Topology(
    calls={"shop": frozenset({"orders"}), "orders": frozenset({"db"})},
    runs_on={"db": frozenset({"db-1"}), "shop": frozenset({"web-1"})},
)


def case(*items, topology=CALLS):
    return build_case(evidence_from(items), topology, NOW)


def state(condition, *items):
    return judge(Condition.model_validate(condition), case(*items)).state


def rule(when, **more):
    examples = [{"matches": True}, {"matches": False}]
    fields = {"id": "some-rule", "cause": "c", "kind": "process", "confidence": 0.9, "source": "s"}
    return Rule.model_validate({**fields, "when": when, "examples": examples, **more})


class TestTheGuide:
    def test_its_two_rules(self):
        engine = RulesEngine()
        found = engine.diagnose([{"message": "Connection TIMEOUT", "level": "ERROR"}], [])
        assert found == {
            "root_cause": "Database connection timeout",
            "confidence": 0.92,
            "remediation": [
                "Increase connection pool size",
                "Tune database connection timeout",
                "Check network latency",
            ],
            "rule_matched": "Database Timeout Detection",
        }
        leak = engine.diagnose([], [{"memory_usage": 95, "trend": "increasing"}])
        assert leak["root_cause"] == "Memory leak in application"

    def test_a_condition_for_the_other_kind_of_record_does_not_break_it(self):
        logs = [{"message": "all is well", "level": "INFO"}]
        metrics = [{"cpu_usage": 20}]  # memory_usage is missing: None > 90 raises
        assert RulesEngine().diagnose(logs, metrics) is None
        assert RulesEngine().diagnose([{"level": 3}, {}], [{"memory_usage": "much"}]) is None

    def test_nothing_is_none(self):
        assert RulesEngine().diagnose([], []) is None

    def test_ones_own_rules_as_in_the_guide(self):
        mine = DiagnosticRule(
            name="Queue",
            condition=lambda metrics: any(m["queue"] > 5 for m in metrics),
            root_cause="Queue is stuck",
            confidence_base=0.5,
            remediation_actions=["Restart the consumer"],
        )
        engine = RulesEngine(rules=[mine])
        assert engine.diagnose([{"message": "x"}], [{"queue": 9}])["rule_matched"] == "Queue"
        assert engine.diagnose([{"message": "x"}], [{"queue": 1}]) is None

    def test_yaml_rules_answer_when_no_python_rule_does(self):
        found = RulesEngine().diagnose(
            [{"message": "write: No space left on device", "level": "ERROR", "service": "db"}],
            [{"disk_usage": 99, "host": "db-1"}],
        )
        assert found["rule_matched"] == "disk-full"
        assert set(found) == {"root_cause", "confidence", "remediation", "rule_matched"}
        assert 0.8 < found["confidence"] < 1
        assert found["remediation"]

    def test_python_and_yaml_rules_mix(self):
        python = DiagnosticRule("P", lambda logs: False, "never", 0.5)
        yaml_rule = rule({"any": [{"metric": {"signal": "cpu_use", "at_least": 0.9}}]})
        found = RulesEngine(rules=[python, yaml_rule]).diagnose([], [{"cpu_usage": 97}])
        assert found["rule_matched"] == "some-rule"

    def test_records_that_make_no_sense_are_left_out(self):
        logs = [{"message": None}, {"message": "x" * 99_999, "level": []}]
        assert RulesEngine().diagnose(logs, [{"cpu_usage": True}, {"cpu_usage": "95"}]) is None


@pytest.mark.parametrize(
    ("condition", "item", "expected"),
    [
        ({"alert": {"name": ["disk full"]}}, {"alert": "DiskAlmostFull"}, State.MET),
        ({"alert": {"name": ["cert* expir*"]}}, {"alert": "SslCertificateWillExpireSoon"}, "met"),
        ({"alert": {"name": ["disk"]}}, {"alert": "DiscoBall"}, "unmet"),
        ({"alert": {"mentions": ["no room"]}}, {"alert": "A", "text": "There is NO ROOM."}, "met"),
        ({"alert": {"component": "disk"}}, {"alert": "HostOutOfDiskSpace"}, "met"),
        ({"alert": {"component": "disk"}}, {"alert": "HostOutOfMemory"}, "unmet"),
        ({"alert": {"label": {"job": "red*"}}}, {"alert": "A", "labels": {"job": "redis"}}, "met"),
        ({"alert": {"name": ["a"], "lasting": "10m"}}, {"alert": "A", "minutes": 5}, "unmet"),
        ({"alert": {"name": ["a"], "lasting": "4m"}}, {"alert": "A", "minutes": 5}, "met"),
        ({"log": {"contains": ["refused"]}}, {"log": "Connection REFUSED"}, "met"),
        ({"log": {"contains": ["x"], "level": "error"}}, {"log": "x", "level": "info"}, "unmet"),
        ({"log": {"contains": ["x"], "count": 20}}, {"log": "x", "count": 19}, "unmet"),
        ({"log": {"contains": ["x"], "surge": 3}}, {"log": "x", "baseline": 4}, "unmet"),
        ({"log": {"contains": ["x"], "surge": 3}}, {"log": "x", "count": 12, "baseline": 4}, "met"),
        ({"log": {"contains": ["fail"], "words": ["db"]}}, {"log": "db call failed"}, "met"),
        ({"log": {"contains": ["fail"], "words": ["db"]}}, {"log": "call failed"}, "unmet"),
        ({"log": {"contains": ["x"]}}, {"gap": "logs"}, "unknown"),
        ({"metric": {"signal": "up", "at_most": 0}}, {"metric": "up", "value": 0}, "met"),
        ({"metric": {"signal": "up", "at_most": 0}}, {"metric": "up", "value": 1}, "unmet"),
        ({"metric": {"signal": "up", "at_most": 0}}, {"metric": "up"}, "unknown"),
        ({"metric": {"signal": "up", "at_most": 0}}, {"gap": "metrics"}, "unknown"),
        (
            {"metric": {"signal": "cpu_use", "times": 2}},
            {"metric": "cpu_use", "value": 0.5, "baseline": 0.2},
            "met",
        ),
        (
            {"metric": {"signal": "request_rate", "times": 0.5}},
            {"metric": "request_rate", "value": 9, "baseline": 20},
            "met",
        ),
        (
            {"metric": {"signal": "cpu_use", "shape": ["trend"]}},
            {"metric": "cpu_use", "value": 0.5, "baseline": 0.2, "shape": "level_shift"},
            "unmet",
        ),
        (
            {"metric": {"signal": "cpu_use", "effect": -4}},
            {"metric": "cpu_use", "value": 0.1, "baseline": 0.5, "shape": "level_shift"},
            "met",
        ),
        ({"change": {"what": ["deploy"]}}, {"change": "deploy", "minutes": 30}, "met"),
        ({"change": {"what": ["x"], "within": "9m"}}, {"change": "x", "minutes": 30}, "unmet"),
        ({"change": {"what": ["deploy"]}}, {"change": "flag"}, "unmet"),
        ({"change": {"what": ["deploy"]}}, {"gap": "changes"}, "unknown"),
        (
            {"command": {"fact": "ActiveState", "equals": ["failed"]}},
            {"command": "c", "facts": {"ActiveState": "failed"}},
            "met",
        ),
        (
            {"command": {"fact": "use:*", "at_least": 95}},
            {"command": "df", "facts": {"use:/": "40%", "use:/var": "97%"}},
            "met",
        ),
        (
            {"command": {"fact": "use:*", "at_least": 95}},
            {"command": "df", "facts": {"use:/": "40%"}},
            "unmet",
        ),
        ({"command": {"fact": "Result", "equals": ["failed"]}}, {"gap": "host web-1"}, "unknown"),
        (
            {"log": {"contains": ["no space left"]}},
            {"command": "journalctl --unit=x", "output": "write: No space left on device"},
            "met",
        ),
    ],
)  # fmt: skip
def test_conditions(condition, item, expected):
    assert state(condition, item) is State(expected)


def test_something_seen_at_a_dependency_not_at_a_caller():
    seen = {"metric": "error_ratio", "value": 0.4, "baseline": 0, "shape": "level_shift"}
    there = {"metric": {"signal": "error_ratio", "at_least": 0.1}}
    alert = {"alert": "HighErrorRate", "service": "orders"}
    down = {"neighbour": {"where": "dependency", "sees": there}}
    up = {"neighbour": {"where": "caller", "sees": there}}
    assert state(down, alert, seen | {"service": "db"}) is State.MET
    assert state(down, alert, seen | {"host": "db-1"}) is State.MET
    assert state(down, alert, seen | {"service": "shop"}) is State.UNKNOWN
    assert state(up, alert, seen | {"service": "shop"}) is State.MET


def test_one_thing_before_another():
    condition = {
        "before": {
            "first": {"change": {"what": ["deploy"]}},
            "then": {"metric": {"signal": "error_ratio", "effect": 4}},
            "within": "10m",
        }
    }
    errors = {"metric": "error_ratio", "value": 0.4, "baseline": 0, "shape": "level_shift"}
    assert (
        state(condition, {"change": "deploy", "minutes": 12}, errors | {"minutes": 5}) is State.MET
    )
    late = {"change": "deploy", "minutes": 5}
    assert state(condition, late, errors | {"minutes": 12}) is State.UNMET
    early = {"change": "deploy", "minutes": 40}
    assert state(condition, early, errors | {"minutes": 5}) is State.UNMET


def test_a_silent_source_is_no_evidence_of_health():
    two = rule(
        {
            "all": [
                {"alert": {"name": ["down"]}, "strength": "strong"},
                {"log": {"contains": ["panic"]}, "strength": "strong"},
            ]
        }
    )
    alone = weigh(two, case({"alert": "Down"}, {"gap": "logs"}))
    denied = weigh(two, case({"alert": "Down"}, {"log": "all is well"}))
    both = weigh(two, case({"alert": "Down"}, {"log": "panic: x"}))
    assert denied.log_odds < alone.log_odds < both.log_odds
    assert not alone.is_match
    assert [j.condition.kind for j in alone.unknown] == ["log"]
    assert both.is_match
    assert both.probability == pytest.approx(0.9)


def test_what_a_rule_excludes_counts_against_it():
    excluding = rule(
        {
            "any": [{"alert": {"name": ["down"]}}],
            "none": [{"metric": {"signal": "up", "at_least": 1}}],
        }
    )
    assert weigh(excluding, case({"alert": "Down"})).is_match
    verdict = weigh(excluding, case({"alert": "Down"}, {"metric": "up", "value": 1}))
    assert not verdict.is_match
    assert verdict.probability < 0.2
    assert [e.id for e in verdict.contradicting] == ["e2"]


def test_more_of_the_choices_make_it_likelier():
    choices = rule(
        {
            "any": [
                {"alert": {"name": ["down"]}, "strength": "strong"},
                {"metric": {"signal": "up", "at_most": 0}, "strength": "strong"},
                {"log": {"contains": ["refused"]}, "strength": "weak"},
            ]
        }
    )
    weak = weigh(choices, case({"log": "refused"}))
    one = weigh(choices, case({"alert": "Down"}))
    two = weigh(choices, case({"alert": "Down"}, {"metric": "up", "value": 0}))
    assert weak.probability < 0.3 < one.probability < two.probability
    assert one.probability == pytest.approx(0.9)


def test_a_rule_of_one_needs_everything_at_one_place():
    when = {
        "all": [
            {"metric": {"signal": "cpu_use", "at_least": 0.9}},
            {"metric": {"signal": "memory_use", "at_least": 0.9}},
        ]
    }
    items = [
        {"metric": "cpu_use", "value": 0.95, "host": "web-1"},
        {"metric": "memory_use", "value": 0.95, "host": "db-1"},
    ]
    assert weigh(rule(when), case(*items)).is_match
    one = rule(when, of_one=True, about=["host"])
    assert not weigh(one, case(*items)).is_match
    same = weigh(one, case(items[0], {**items[1], "host": "web-1"}))
    assert same.is_match
    assert same.entity.name == "web-1"


def thousand_rules():
    rules = []
    for number in range(1_000):
        word = f"problem{number}"
        rules.append(
            rule(
                {
                    "all": [{"alert": {"name": [f"service {word}", "down"]}}],
                    "any": [
                        {"log": {"contains": [f"{word} happened", "connection refused"]}},
                        {"metric": {"signal": "cpu_use", "at_least": 0.9}},
                    ],
                },
                id=f"rule-{number}",
            )
        )
    return rules


def test_of_a_thousand_rules_only_those_with_something_to_find_are_judged(monkeypatch):
    engine = RulesEngine(rules=thousand_rules())
    items = [{"alert": f"Service{n}Problem{n}", "host": f"h{n}"} for n in range(20)]
    items += [{"log": f"something problem{n} happened", "service": "s"} for n in range(20)]
    items += [{"metric": "cpu_use", "value": 0.2, "host": f"h{n}"} for n in range(40)]
    judged = []
    original = rules_engine.weigh

    def counted(rule, seen):
        judged.append(rule.id)
        return original(rule, seen)

    monkeypatch.setattr(rules_engine, "weigh", counted)
    found = engine.weigh(build_case(evidence_from(items), CALLS, NOW))
    assert len(found) >= 20
    assert len(judged) <= 60


def test_the_index_finds_what_judging_everything_finds():
    engine = RulesEngine.shipped()
    for each in engine.rules:
        for example in each.examples:
            seen = build_case(evidence_from(example.evidence), CALLS, NOW)
            found = {verdict.rule.id for verdict in engine.weigh(seen)}
            assert found == {r.id for r in engine.rules if weigh(r, seen) is not None}


@pytest.mark.parametrize(
    "item",
    [
        {"alert": "\x00\u202e$(reboot) {{ x }}", "text": "' OR 1=1; --" * 999},
        {"log": "a" * 50_000},
        {"command": "journalctl", "output": "x" * 500_000, "facts": {"n" * 500: "9" * 5_000}},
    ],
)
def test_hostile_evidence_is_only_text(item):
    assert isinstance(RulesEngine.shipped().weigh(case(item)), list)


@pytest.mark.parametrize(
    "items",
    [
        {"nothing": 1},
        {"alert": "A", "colour": "red"},
        {"metric": "no_such_signal", "value": 1},
        {"metric": "up", "value": 1, "shape": "round"},
        {"log": "x", "level": "loud"},
        {"log": "x", "count": "many"},
    ],
)
def test_evidence_that_cannot_be_read_is_named(items):
    with pytest.raises(ValueError, match="evidence 1"):
        evidence_from([items])


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"metric": {"signal": "up"}},
        {"command": {"fact": "x"}},
        {"alert": {"name": ["a"]}, "log": {"contains": ["b"]}},
        {"alert": {"name": ["a"], "lasting": "soon"}},
        {"alert": {"name": []}},
    ],
)
def test_conditions_that_say_nothing_are_refused(condition):
    with pytest.raises(ValidationError):
        Condition.model_validate(condition)


def test_conditions_can_be_said_in_words():
    condition = Condition.model_validate(
        {
            "before": {
                "first": {"change": {"what": ["deploy"]}},
                "then": {"log": {"contains": ["x"]}},
            }
        }
    )
    assert condition.describe() == "before first change what deploy, then log contains x"
    label = Condition.model_validate({"alert": {"label": {"job": "r*"}}})
    assert label.describe() == "alert label job=r*"


def test_python_rules_see_metrics_as_the_guide_names_them():
    seen = []
    rule_ = DiagnosticRule("Spy", lambda records: seen.extend(records), "never", 0.5)
    diagnose(
        Incident(id="1", key="", title="t", severity=Severity.LOW, opened_at=NOW, updated_at=NOW),
        evidence_from(
            [
                {"metric": "memory_use", "value": 0.95, "baseline": 0.5, "shape": "trend"},
                {"metric": "cpu_use", "value": 0.1, "baseline": 0.6, "shape": "level_shift"},
                {"metric": "disk_use", "value": 0.5},
                {"log": "timeout", "level": "error"},
            ]
        ),
        RulesEngine(rules=[rule_]),
        CALLS,
        now=NOW,
    )
    assert {"memory_usage": 95.0, "trend": "increasing"} in seen
    assert {"cpu_usage": 10.0, "trend": "decreasing"} in seen
    assert {"disk_usage": 50.0, "trend": "stable"} in seen
    assert {"message": "timeout", "level": "ERROR", "service": None} in seen
