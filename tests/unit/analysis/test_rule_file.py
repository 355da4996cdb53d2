from pathlib import Path

import pytest

from it_incident_response.actions import ACTIONS
from it_incident_response.analysis.rule_file import (
    load_rules,
    rule_paths,
    run_examples,
    shipped_paths,
)
from it_incident_response.analysis.rules_engine import RulesEngine
from it_incident_response.errors import RuleError

GOOD = """\
- id: queue-stuck
  cause: Nobody takes messages from the queue.
  kind: process
  when:
    all:
      - metric: {signal: queue_length, at_least: 1000}
        strength: strong
  confidence: 0.7
  suggests:
    - {text: Restart the consumer., action: restart_service}
  source: our own post-mortems
  examples:
    - matches: true
      evidence: [{metric: queue_length, value: 5000, baseline: 10, shape: trend}]
    - matches: false
      evidence: [{metric: queue_length, value: 10, baseline: 10}]
"""


def written(tmp_path, text, name="rules.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def problem(tmp_path, text):
    loaded = load_rules([written(tmp_path, text)])
    assert loaded.rules == ()
    (error,) = loaded.problems
    assert isinstance(error, RuleError)
    return str(error)


SHIPPED = load_rules(shipped_paths())


def test_the_shipped_rules_load_without_a_problem():
    assert [str(error) for error in SHIPPED.problems] == []
    assert len(SHIPPED.rules) >= 20


def test_the_scenarios_of_the_guide_and_the_issue_have_rules():
    assert {
        "database-connections-exhausted",
        "api-errors",
        "memory-leak",
        "disk-full",
        "certificate-expired",
        "certificate-expiring",
        "service-down",
        "cpu-saturation",
        "oom-kill",
        "network-latency",
        "bad-deploy-errors",
        "bad-deploy-latency",
        "traffic-surge",
        "external-dependency-outage",
        "cache-down",
    } <= {rule.id for rule in SHIPPED.rules}


@pytest.mark.parametrize("rule", SHIPPED.rules, ids=lambda rule: rule.id)
def test_shipped_rule(rule):
    assert all(result.passes for result in run_examples(rule))
    actions = {each.action for each in rule.suggests if each.action}
    assert actions <= set(ACTIONS)
    assert set(rule.explains) <= {other.id for other in SHIPPED.rules} - {rule.id}
    assert rule.suggests


def test_a_rule_of_ones_own_is_used_beside_the_shipped(tmp_path):
    written(tmp_path, GOOD)
    engine = RulesEngine.shipped(extra=[tmp_path])
    assert engine.problems == ()
    assert len(engine.rules) == len(SHIPPED.rules) + 1


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("signal: queue_length", "signal: queue_size"), 6, "signal"),
        (("at_least: 1000", "at_most_ever: 1"), 6, "at_most_ever"),
        (("confidence: 0.7", "confidence: 1.5"), 8, "confidence"),
        (("kind: process", "kind: gremlins"), 3, "kind"),
        (("id: queue-stuck", "id: Queue Stuck"), 1, "id"),
        (("cause: Nobody", "because: Nobody"), 2, "because"),
        (("strength: strong", "strength: mighty"), 7, "strength"),
        (("matches: false", "matches: true"), 1, "one that does not"),
        (("value: 10, base", "value: 9999, base"), 1, "example 2 matches and should not"),
        (("value: 5000", "value: 50"), 1, "example 1 should match and does not"),
        (("{metric: queue_length, value: 10,", "{metrics: 5,"), 1, "evidence 1 has none of"),
        (("metric: {signal: queue_length, at_least: 1000}", "eval: '1 + 1'"), 6, "eval"),
    ],
)
def test_what_is_wrong_with_a_rule_names_file_and_line(tmp_path, change, line, says):
    assert change[0] in GOOD
    message = problem(tmp_path, GOOD.replace(*change))
    assert f"rules.yaml:{line}:" in message
    assert says in message


def test_a_syntax_error_names_its_line_and_other_files_still_load(tmp_path):
    bad = written(tmp_path, GOOD + "\n- id: [unclosed\n", "bad.yaml")
    good = written(tmp_path, GOOD, "good.yaml")
    loaded = load_rules([bad, good])
    assert [rule.id for rule in loaded.rules] == ["queue-stuck"]
    assert "bad.yaml:" in str(loaded.problems[0])
    assert "not valid YAML" in str(loaded.problems[0])


def test_a_wrong_rule_does_not_take_its_neighbours_with_it(tmp_path):
    both = GOOD.replace("kind: process", "kind: gremlins") + GOOD.replace("queue-stuck", "other-id")
    loaded = load_rules([written(tmp_path, both)])
    assert [rule.id for rule in loaded.rules] == ["other-id"]
    assert len(loaded.problems) == 1


def test_an_id_is_used_once(tmp_path):
    loaded = load_rules([written(tmp_path, GOOD + GOOD)])
    assert len(loaded.rules) == 1
    assert "exists already" in str(loaded.problems[0])


@pytest.mark.parametrize(
    "text",
    ["just text", "key: value", "- 5", "- !!python/object/apply:os.system ['true']", "- &a [*a]"],
)
def test_what_is_no_list_of_rules_is_a_problem(tmp_path, text):
    assert "rules.yaml:1" in problem(tmp_path, text)


def test_files_that_cannot_be_read_are_problems(tmp_path):
    large = written(tmp_path, "# " + "x" * 1_100_000, "large.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    loaded = load_rules([large, binary, tmp_path / "gone.yaml"])
    assert len(loaded.problems) == 3
    assert load_rules([written(tmp_path, "", "empty.yaml")]) == ((), ())


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(RuleError, match="no such file or folder"):
        rule_paths(tmp_path / "gone")
    with pytest.raises(RuleError):
        RulesEngine.shipped(extra=[Path("/nowhere/rules")])
