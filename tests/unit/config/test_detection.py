"""`detection`: rules of each kind, their defaults, and what is refused."""

import pytest
from pydantic import ValidationError

from it_incident_response.analysis.log_rules import Grouping, LogRuleKind
from it_incident_response.config.detection import DetectionSection
from it_incident_response.domain.evidence import LogLevel
from it_incident_response.domain.severity import Severity


def section(*rules, **more) -> DetectionSection:
    return DetectionSection.model_validate({"rules": list(rules), **more})


def rule(**more):
    return {"name": "R", "kind": "pattern"} | more


def test_nothing_is_detected_unless_a_rule_is_written():
    assert DetectionSection().log_rules == ()


def test_a_rule_of_each_kind_has_sensible_defaults():
    given = section(
        rule(name="A", contains="card processor", services=["payments"], within="10m", at_least=5),
        rule(name="B", kind="spike", severity="critical"),
        rule(name="C", kind="absence", contains="backup finished", within="25h"),
        rule(name="D", kind="template", level="warning", labels={"team": "shop"}),
    )
    pattern, spike, absence, template = given.log_rules
    assert (pattern.window_s, pattern.at_least, pattern.level) == (600, 5, LogLevel.ERROR)
    assert (spike.window_s, spike.at_least, spike.factor, spike.days) == (600, 20, 3.0, 7)
    assert spike.severity is Severity.CRITICAL
    assert (absence.kind, absence.level) == (LogRuleKind.ABSENCE, LogLevel.DEBUG)
    assert (template.factor, template.at_least, template.baseline_s) == (5.0, 3, 3600)
    assert template.per is Grouping.SERVICE


def test_times_are_written_as_everywhere():
    given = section(interval="2m", delay="30s", query_timeout="5s", resolve_after=5)
    settings = given.settings
    assert (settings.interval_s, settings.delay_s, settings.budget_s) == (120, 30, 5)
    assert settings.resolve_after == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (rule(kind="absence"), "write `within`"),
        (rule(kind="spike", within="7m"), "must divide an hour"),
        (rule(kind="spike", within="2h"), "must divide an hour"),
        (rule(days=3), "`days` has no use"),
        (rule(kind="absence", within="1h", at_least=3), "`at_least` has no use"),
        (rule(kind="template", per="host"), "`per` has no use"),
        (rule(kind="template", within="20m", baseline="30m"), "at least twice"),
        (rule(labels={"alertname": "x"}), "cannot be a label"),
        (rule(labels={"a b": "x"}), "cannot be a label"),
        (rule(name="two words"), "name"),
        (rule(contains=""), "contains"),
        (rule(contains="a\nb"), "contains"),
        (rule(kind="guess"), "kind"),
        (rule(nonsense=1), "nonsense"),
        (rule(level="loud"), "level"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(given, message):
    with pytest.raises(ValidationError, match=message):
        section(given)


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="two rules have the name 'R'"):
        section(rule(), rule(contains="x"))
