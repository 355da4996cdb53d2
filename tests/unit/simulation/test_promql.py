"""PromQL against values worked out by hand from the documentation of Prometheus."""

import math

import numpy as np
import pytest

from it_incident_response.simulation.promql import Grid, PromqlError, RawSeries, evaluate
from it_incident_response.simulation.promql.vectors import make_labels

NAN = math.nan


class Shelf:
    """Series by hand: samples every 15 s from 0; NaN where there is none."""

    def __init__(self, *series):
        self.series = [
            RawSeries(
                make_labels({"__name__": name, **labels}),
                np.arange(len(values)) * 15.0,
                np.array(values, dtype=float),
            )
            for name, labels, values in series
        ]

    def select(self, matchers, start, end):
        return [
            s
            for s in self.series
            if all(m.matches(dict(s.labels).get(m.name, "")) for m in matchers)
        ]


COUNTER = [10.0 * i for i in range(21)]
RESET = [0.0, 30.0, 60.0, 10.0, 40.0, 70.0, 100.0, 130.0, 160.0]
SHELF = Shelf(
    ("requests_total", {"job": "api", "code": "200"}, COUNTER),
    ("requests_total", {"job": "api", "code": "500"}, [i * 1.0 for i in range(21)]),
    ("requests_total", {"job": "web", "code": "200"}, [5.0 * i for i in range(21)]),
    ("restarted_total", {}, RESET),
    ("temperature", {"room": "a"}, [20, 22, 24, 26, 28, 30, 32, 34, 36]),
    ("temperature", {"room": "b"}, [30, 29, 28, 27, 26, 25, 24, 23, 22]),
    ("gone", {}, [1.0, 1.0, NAN, NAN]),
    ("limit", {"room": "a", "unit": "C", "owner": "mia"}, [30.0] * 9),
    ("limit", {"room": "b", "unit": "C", "owner": "noor"}, [25.0] * 9),
    ("size", {"job": "api"}, [4.0] * 21),
    ("lat_bucket", {"le": "0.1"}, [50.0] * 9),
    ("lat_bucket", {"le": "0.5"}, [90.0] * 9),
    ("lat_bucket", {"le": "1"}, [100.0] * 9),
    ("lat_bucket", {"le": "+Inf"}, [100.0] * 9),
    ("odd", {"path": 'a"b\\c'}, [1.0] * 9),
)


def ask(query, at=120.0, shelf=SHELF):
    """Return {labels without braces: value} of a vector, or the number of a scalar."""
    value = evaluate(query, shelf, Grid.at(at))
    if isinstance(value, np.ndarray):
        return float(value[0])
    return {
        ",".join(f"{k}={v}" for k, v in labels): float(column.values[0])
        for labels, column in value.items()
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # selectors
        ('temperature{room="a"}', {"__name__=temperature,room=a": 36}),
        ('temperature{room!="a"}', {"__name__=temperature,room=b": 22}),
        ('temperature{room=~"a|c"}', {"__name__=temperature,room=a": 36}),
        ('temperature{room!~"a.*"}', {"__name__=temperature,room=b": 22}),
        ('{__name__=~"temp.*",room="b"}', {"__name__=temperature,room=b": 22}),
        ('temperature{room="a"} offset 30s', {"__name__=temperature,room=a": 32}),
        ('temperature{room="a"} @ 15', {"__name__=temperature,room=a": 22}),
        ('odd{path="a\\"b\\\\c"}', {'__name__=odd,path=a"b\\c': 1}),
        ("gone", {}),
        ("gone offset 105s", {"__name__=gone": 1}),
        # counters: 8 steps of 10 in exactly 120 s
        ('rate(requests_total{job="api",code="200"}[2m])', {"code=200,job=api": 80 / 120}),
        ('increase(requests_total{job="api",code="200"}[2m])', {"code=200,job=api": 80}),
        ('irate(requests_total{job="api",code="200"}[2m])', {"code=200,job=api": 10 / 15}),
        # a reset from 60 to 10 counts as 10: 60 + 10 + 150
        ("increase(restarted_total[2m])", {"": 220}),
        ("resets(restarted_total[2m])", {"": 1}),
        ("changes(restarted_total[2m])", {"": 8}),
        # gauges
        ('delta(temperature{room="a"}[2m])', {"room=a": 16}),
        ('idelta(temperature{room="b"}[2m])', {"room=b": -1}),
        ('deriv(temperature{room="a"}[2m])', {"room=a": 2 / 15}),
        ('predict_linear(temperature{room="a"}[2m], 60)', {"room=a": 44}),
        ('avg_over_time(temperature{room="a"}[1m])', {"room=a": 32}),
        ('min_over_time(temperature{room="b"}[1m])', {"room=b": 22}),
        ('max_over_time(temperature{room="b"}[1m])', {"room=b": 26}),
        ('sum_over_time(temperature{room="b"}[1m])', {"room=b": 120}),
        ('count_over_time(temperature{room="b"}[1m])', {"room=b": 5}),
        ('quantile_over_time(0.5, temperature{room="b"}[1m])', {"room=b": 24}),
        ('stddev_over_time(temperature{room="a"}[1m])', {"room=a": math.sqrt(8)}),
        ('last_over_time(temperature{room="a"}[1m])', {"__name__=temperature,room=a": 36}),
        ("present_over_time(gone[5m])", {"": 1}),
        ("count_over_time(gone[5m])", {"": 2}),
        # a subquery at 60, 75 ... 120, aligned to its step
        ('max_over_time(rate(requests_total{job="web"}[1m])[1m:15s])', {"code=200,job=web": 1 / 3}),
        ('avg_over_time((temperature{room="a"} * 2)[1m:30s])', {"room=a": 64}),
        # aggregation
        ("sum(temperature)", {"": 58}),
        ("sum by (job) (requests_total)", {"job=api": 88, "job=web": 40}),
        ("sum without (code) (requests_total)", {"job=api": 88, "job=web": 40}),
        ("avg(temperature)", {"": 29}),
        ("min(temperature)", {"": 22}),
        ("max(temperature)", {"": 36}),
        ("count by (job) (requests_total)", {"job=api": 2, "job=web": 1}),
        ("stddev(temperature)", {"": 7}),
        ("quantile(0.25, temperature)", {"": 25.5}),
        ("topk(1, temperature)", {"__name__=temperature,room=a": 36}),
        ("bottomk(1, temperature)", {"__name__=temperature,room=b": 22}),
        ("group(temperature)", {"": 1}),
        # operators
        ('temperature{room="a"} + 1', {"room=a": 37}),
        ('2 ^ temperature{room="b"}', {"room=b": 2**22}),
        ('temperature{room="a"} % 7', {"room=a": 1}),
        ("-temperature", {"room=a": -36, "room=b": -22}),
        ("temperature > 30", {"__name__=temperature,room=a": 36}),
        ("30 < temperature", {"__name__=temperature,room=a": 36}),
        ("temperature > bool 30", {"room=a": 1, "room=b": 0}),
        ("1 + 2 * 3", 7),
        ("1 > bool 2", 0),
        ("temperature / on (room) limit", {"room=a": 1.2, "room=b": 0.88}),
        ("temperature > on (room) limit", {"room=a": 36}),
        (
            "temperature - ignoring (unit, owner) limit",
            {"room=a": 6, "room=b": -3},
        ),
        (
            "temperature / on (room) group_left (owner) limit",
            {"owner=mia,room=a": 1.2, "owner=noor,room=b": 0.88},
        ),
        (
            'requests_total{job="api"} / on (job) group_left () size',
            {"code=200,job=api": 20, "code=500,job=api": 2},
        ),
        (
            'size / on (job) group_right () requests_total{job="api"}',
            {"code=200,job=api": 0.05, "code=500,job=api": 0.5},
        ),
        ('temperature and on (room) limit{owner="mia"}', {"__name__=temperature,room=a": 36}),
        ('temperature unless on (room) limit{owner="mia"}', {"__name__=temperature,room=b": 22}),
        (
            'temperature{room="a"} or on (room) limit',
            {
                "__name__=temperature,room=a": 36,
                "__name__=limit,owner=noor,room=b,unit=C": 25,
            },
        ),
        ("temperature and missing", {}),
        ("missing or vector(3)", {"": 3}),
        # functions
        ("time()", 120),
        ("scalar(sum(temperature))", 58),
        ("vector(7)", {"": 7}),
        ("abs(-temperature)", {"room=a": 36, "room=b": 22}),
        ("clamp_max(temperature, 30)", {"room=a": 30, "room=b": 22}),
        ("clamp(temperature, 25, 30)", {"room=a": 30, "room=b": 25}),
        ("round(temperature / 10)", {"room=a": 4, "room=b": 2}),
        ("timestamp(temperature offset 30s)", {"room=a": 90, "room=b": 90}),
        ('absent(missing{job="api",code=~"5.."})', {"job=api": 1}),
        ("absent(temperature)", {}),
        ('absent_over_time(missing{job="api"}[1m])', {"job=api": 1}),
        ("minute(vector(3720))", {"": 2}),
        ("day_of_week()", {"": 4}),
        (
            'label_replace(temperature{room="a"}, "floor", "$1-th", "room", "(.*)")',
            {"__name__=temperature,floor=a-th,room=a": 36},
        ),
        (
            'label_replace(temperature{room="a"}, "floor", "x", "room", "z")',
            {"__name__=temperature,room=a": 36},
        ),
        (
            'label_join(limit{room="a"}, "id", "-", "room", "unit")',
            {"__name__=limit,id=a-C,owner=mia,room=a,unit=C": 30},
        ),
        # rank 95 of 100 lies half way through (0.5, 1]; rank 50 at the end of the first bucket
        ("histogram_quantile(0.95, lat_bucket)", {"": 0.75}),
        ("histogram_quantile(0.5, lat_bucket)", {"": 0.1}),
        ("histogram_quantile(0.25, sum by (le) (lat_bucket))", {"": 0.05}),
        ("histogram_quantile(1.5, lat_bucket)", {"": math.inf}),
    ],
)
def test_value(query, expected):
    found = ask(query)
    assert found == pytest.approx(expected) if isinstance(expected, float | int) else True
    if isinstance(expected, dict):
        assert {k: pytest.approx(v) for k, v in expected.items()} == found


def test_rate_extrapolates_like_prometheus():
    # [100 s] up to 127 s holds the samples at 30 .. 120: 6 steps of 15 s, 60 in 90 s. Both ends
    # are nearer than 1.1 steps (3 s and 7 s), so the rise is stretched to the whole 100 s.
    found = ask('increase(requests_total{job="api",code="200"}[100s])', at=127.0)
    assert found == {"code=200,job=api": pytest.approx(60 * 100 / 90)}


def test_rate_does_not_extrapolate_below_zero():
    shelf = Shelf(("young_total", {}, [NAN] * 6 + [2.0, 22.0, 42.0]))
    # Samples at 90, 105, 120. Backwards at this rate zero is reached after 1.5 s, before the half
    # step (7.5 s) that would be added otherwise.
    found = ask("increase(young_total[2m])", shelf=shelf)
    assert found == {"": pytest.approx(40 * 31.5 / 30)}


def test_one_sample_gives_no_rate():
    shelf = Shelf(("young_total", {}, [NAN] * 8 + [2.0]))
    assert ask("rate(young_total[2m])", shelf=shelf) == {}


def test_old_samples_go_stale():
    assert ask("temperature", at=120 + 299) != {}
    assert ask("temperature", at=120 + 301) == {}


def test_zero_divided_by_zero_is_a_sample_that_is_not_a_number():
    found = ask("(temperature - temperature) / (temperature - temperature)")
    assert set(found) == {"room=a", "room=b"}
    assert all(math.isnan(value) for value in found.values())


def test_range_query_equals_instant_queries():
    query = (
        "histogram_quantile(0.9, lat_bucket) "
        'or sum by (job) (rate(requests_total{code!="500"}[1m]))'
        " > 0.4 or temperature unless on (room) (limit > 26) or topk(1, temperature)"
    )
    grid = Grid.over(0, 600, 7.0)
    whole = evaluate(query, SHELF, grid)
    for place, at in enumerate(grid.moments):
        alone = evaluate(query, SHELF, Grid.at(float(at)))
        there = {
            labels: float(column.values[place])
            for labels, column in whole.items()
            if column.present[place]
        }
        assert there == pytest.approx({k: float(v.values[0]) for k, v in alone.items()})


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sum(", "parse error"),
        ("temperature / limit / on () temperature", "many-to-many|many-to-one"),
        ("temperature * on () limit", "many-to-many"),
        ("requests_total * on (job) size", "many-to-one"),
        ('label_replace(temperature, "room", "x", "room", ".*")', "same labelset"),
        ('temperature{room=~"("}', "parse error|regex"),
        ("nosuchfunction(temperature)", "parse error"),
        ('count_values("x", temperature)', "not supported"),
        ("rate(temperature)", "parse error"),
        ('label_replace(temperature, "a b", "x", "room", ".*")', "label name"),
        ("(" * 70 + "1" + ")" * 70, "deep"),
        ("1 + " * 30_000 + "1", "longer"),
    ],
)
def test_errors_say_what_is_wrong(query, problem):
    with pytest.raises(PromqlError, match=problem):
        evaluate(query, SHELF, Grid.at(120.0))


def test_a_grid_is_bounded():
    with pytest.raises(PromqlError, match="points"):
        Grid.over(0, 1e9, 1)
    with pytest.raises(PromqlError, match="end"):
        Grid.over(10, 0, 1)
