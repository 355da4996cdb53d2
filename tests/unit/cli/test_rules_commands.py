import json

import pytest
from click.testing import CliRunner

from it_incident_response.cli import cli

RULE = """\
- id: queue-stuck
  cause: Nobody takes messages from the queue.
  kind: process
  when:
    any:
      - metric: {signal: queue_length, at_least: 1000}
  confidence: 0.7
  suggests:
    - {text: Restart the consumer., action: ACTION}
  source: our own post-mortems
  examples:
    - matches: true
      evidence: [{metric: queue_length, value: 5000}]
    - matches: false
      evidence: [{metric: queue_length, value: 10}]
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def run(*arguments):
    return CliRunner().invoke(cli, ["rules", *arguments], env={})


def test_list_shows_the_shipped_rules(written):
    result = run("list", "--json")
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    assert "disk-full" in [rule["id"] for rule in listed["rules"]]
    assert listed["problems"] == []
    assert "disk-full" in run("list").stdout


def test_the_shipped_rules_have_no_mistakes(written):
    result = run("lint", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["mistakes"] == []
    assert run("test").exit_code == 0


def test_a_rule_of_ones_own(written):
    path = written(RULE.replace("ACTION", "restart_service"))
    assert run("lint", path).exit_code == 0
    result = run("test", path, "--json")
    assert json.loads(result.stdout)["rules"] == {
        "queue-stuck": [
            {"example": 1, "matches": True, "passes": True},
            {"example": 2, "matches": False, "passes": True},
        ]
    }
    assert "1 match, 1 do not" in run("test", path).stdout


def test_lint_says_file_and_line_and_fails(written):
    path = written(RULE.replace("kind: process", "kind: gremlins"))
    result = run("lint", path)
    assert result.exit_code == 2
    assert "mine.yaml:3: kind" in result.output
    assert run("test", path).exit_code == 2
    assert "mine.yaml:3" in run("list", path).output


def test_lint_knows_the_actions_and_the_rules(written):
    unknown = RULE.replace("ACTION", "reboot_everything")
    path = written(unknown.replace("confidence: 0.7", "confidence: 0.7\n  explains: [no-such]"))
    result = run("lint", path, "--json")
    assert result.exit_code == 2
    mistakes = json.loads(result.stdout)["mistakes"]
    assert any("reboot_everything" in mistake for mistake in mistakes)
    assert any("no-such" in mistake for mistake in mistakes)


def test_examples_that_do_not_come_out_fail(written):
    path = written(RULE.replace("ACTION", "restart_service").replace("value: 10}", "value: 9999}"))
    result = run("test", path)
    assert result.exit_code == 2
    assert "example 2 matches and should not" in result.output


def test_what_is_not_there_is_an_error_without_a_traceback(written):
    missing = run("lint", "gone.yaml")
    assert missing.exit_code == 2
    assert "there is no such file or folder" in missing.output
    unknown = run("test", "--rule", "no-such-rule")
    assert unknown.exit_code == 2
    assert "Traceback" not in unknown.output
