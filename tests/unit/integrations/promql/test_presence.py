"""Which data an expression needs, so that missing data never look like recovery."""

import promql_parser
import pytest

from it_incident_response.integrations.promql.needs import NotTakenApart
from it_incident_response.integrations.promql.presence import presence_needs

LABELS = {"alertname": "A", "instance": "web-1:9100", "job": "node", "severity": "page"}
OWN = r'instance=~"web-1:9100|",job=~"node|"'


def names(expression: str, labels=LABELS, ignored=()) -> list[str]:
    return list(presence_needs(expression, labels, ignored).names())


@pytest.mark.parametrize(
    ("expression", "needed"),
    [
        ("up == 0", [f'count({{__name__="up",{OWN}}})']),
        ('up{job="node"} == 0', [f'count({{__name__="up",job="node",{OWN}}})']),
        ("rate(errors_total[5m]) > 1", [f'count({{__name__="errors_total",{OWN}}})']),
        ("x offset 1h > 1", [f'count({{__name__="x",{OWN}}} offset 3600000ms)']),
        ("x offset -1m > 1", [f'count({{__name__="x",{OWN}}} offset -60000ms)']),
        ('{__name__=~"a.*"} > 1', [f'count({{__name__=~"a.*",{OWN}}})']),
        ("vector(1) > time()", []),
        ("absent(up)", []),
        ("absent_over_time(up[5m])", []),
        ('-(sum by (job) (x{a!="b"})) > 1', [f'count({{__name__="x",a!="b",{OWN}}})']),
        ("max_over_time(x[5m:1m]) > 1", [f'count({{__name__="x",{OWN}}})']),
    ],
)
def test_each_selector_is_asked_for_with_the_alerts_own_labels(expression, needed):
    found = names(expression)
    assert [query.replace("\\\\", "\\") for query in found] == needed
    for query in found:
        promql_parser.parse(query)


def test_outcomes_are_not_demanded():
    (query,) = names('http_requests_total{code=~"5..",job="api"} > 0', {"code": "500"})
    assert query == 'count({__name__="http_requests_total",job="api"})'


def test_labels_that_the_rule_sets_do_not_restrict():
    (query,) = names("up == 0", {"team": "shop", "job": "a"}, ignored={"team"})
    assert query == 'count({__name__="up",job=~"a|"})'


@pytest.mark.parametrize(
    ("expression", "existing", "is_met"),
    [
        ("a / b > 1", "ab", True),
        ("a / b > 1", "a", False),
        ("a > 1 and b", "b", False),
        ("a > 1 or b > 1", "b", True),
        ("a > 1 or b > 1", "", False),
        ("a > 1 or vector(0)", "", False),
        ("a > 1 unless b", "a", True),
        ("a > 1 unless b", "b", False),
        ("(a or b) / c", "bc", True),
        ("(a or b) / c", "ab", False),
        ("absent(a)", "", True),
        ("topk(3, a) > quantile(0.9, b)", "ab", True),
        ("topk(3, a) > quantile(0.9, b)", "a", False),
    ],
)
def test_what_suffices(expression, existing, is_met):
    needs = presence_needs(expression, {})
    assert needs.are_met({f'count({{__name__="{name}"}})' for name in existing}) is is_met


@pytest.mark.parametrize(
    "expression",
    ["", "up ==", "up @ 1000", 'x{a="1" or b="2"}', "max_over_time(x[5m:1m] offset 1h)"],
)
def test_what_cannot_be_judged_says_so(expression):
    with pytest.raises(NotTakenApart):
        presence_needs(expression, {})


def test_an_expression_with_very_many_selectors_is_not_judged():
    with pytest.raises(NotTakenApart, match="more than 16"):
        presence_needs(" + ".join(f"m{number}" for number in range(17)), {})


def test_hostile_labels_stay_in_their_string():
    hostile = 'x"} or vector(1) # \n|.*'
    (query,) = names("up == 0", {"instance": hostile})
    selector = promql_parser.parse(query).expr
    assert [(m.name, m.op == promql_parser.MatchOp.Re) for m in selector.matchers.matchers] == [
        ("__name__", False),
        ("instance", True),
    ]
