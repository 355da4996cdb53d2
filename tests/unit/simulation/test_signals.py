"""The fast port depth and PromQL over the same raw series have to tell the same story."""

import numpy as np
import pytest

from it_incident_response.domain.evidence import SIGNAL_UNITS, Signal
from it_incident_response.simulation.alert_rules import RULES
from it_incident_response.simulation.promql import Grid, evaluate
from it_incident_response.simulation.series_source import HistorySource
from tests.unit.simulation.worlds import young_world

TROUBLES = ("api_errors_after_deploy", "cpu_saturation", "database_connection_timeouts")


async def troubled(seed=7, faults=TROUBLES, seconds=900):
    world = young_world(seed)
    for kind in faults:
        world.inject(kind)
    await world.run(seconds)
    return world


@pytest.mark.parametrize("faults", [(), TROUBLES, ("service_down", "oom_kill", "cache_down")])
async def test_each_signal_equals_its_own_query(faults):
    world = await troubled(faults=faults)
    source = HistorySource(world.history)
    start, end = world.state.at - 600, world.state.at
    grid = Grid.over(start, end, 15.0)
    compared = 0
    for group in world.alerts.groups:
        if group.signal in (Signal.OOM_KILLS, Signal.RESTARTS):
            continue  # events: compared below, where they happen
        _, rows = world.history.between(start, end, before=group.lookback)
        values = group.compute(rows)[-len(grid.moments) :]
        for place, subject in enumerate(group.subjects):
            found = evaluate(subject.query, source, grid)
            assert len(found) <= 1, subject.query
            ours = values[:, place]
            theirs = np.full(len(grid.moments), np.nan)
            for labels, column in found.items():
                assert (
                    dict(subject.labels).items()
                    >= {k: v for k, v in labels if k != "__name__"}.items()
                )
                theirs = np.where(column.present, column.values, np.nan)
            both = np.isfinite(ours) & np.isfinite(theirs)
            # Where a process came or went, extrapolation differs from a plain difference.
            calm = both & np.isfinite(np.roll(ours, 1)) & _steady(world, subject, grid)
            np.testing.assert_allclose(ours[calm], theirs[calm], rtol=1e-6, atol=1e-9)
            compared += int(calm.sum())
    assert compared > 3000


def _steady(world, subject, grid):
    """Moments whose two-minute window has no start or end of a process of the subject's."""
    source = HistorySource(world.history)
    selector = f'changes(process_start_time_seconds{{service="{subject.service}"}}[5m]) > 0'
    if subject.service is None:
        return np.ones(len(grid.moments), dtype=bool)
    restless = np.zeros(len(grid.moments), dtype=bool)
    for column in evaluate(selector, source, grid).values():
        restless |= column.present
    query = f'min_over_time(up{{service="{subject.service}"}}[5m]) == 0'
    for column in evaluate(query, source, grid).values():
        restless |= column.present
    return ~restless


@pytest.mark.parametrize(
    "faults",
    [
        ("api_errors_after_deploy", "disk_full"),
        ("tls_certificate_expiry", "network_latency", "service_down"),
        ("memory_leak", "traffic_surge", "database_connection_timeouts"),
        ("oom_kill", "cpu_saturation", "dependency_outage"),
    ],
)
async def test_rules_hold_exactly_where_their_expressions_do(faults):
    world = await troubled(faults=faults, seconds=0)
    source = HistorySource(world.history)
    held = 0
    for _ in range(10):
        await world.run(150)
        grid = Grid.at(world.state.at)
        for rule in RULES:
            found = evaluate(rule.expr, source, grid)
            theirs = {frozenset((k, v) for k, v in labels if k != "__name__") for labels in found}
            ours = {
                frozenset(s.subject.labels.items())
                for s in world.alerts.active.values()
                if s.rule.name == rule.name
            }
            assert ours == theirs, f"{rule.name} at {world.state.at}: {ours ^ theirs}"
            held += len(ours)
    assert held > 10


async def test_events_are_counted_by_both():
    world = await troubled(faults=("oom_kill",), seconds=240)
    source = HistorySource(world.history)
    grid = Grid.at(world.state.at)
    kills = next(g for g in world.alerts.groups if g.signal is Signal.OOM_KILLS)
    values = kills.compute(world.history.latest(kills.lookback + 1))[-1]
    assert values.sum() == 1
    place = int(np.argmax(values))
    found = evaluate(kills.subjects[place].query, source, grid)
    assert next(iter(found.values())).values[0] == pytest.approx(1)


async def test_values_lie_in_their_units_bounds():
    world = await troubled()
    rows = world.history.latest(300)
    for group in world.alerts.groups:
        values = group.compute(rows)
        if SIGNAL_UNITS[group.signal] in ("ratio", "bool"):
            assert np.nanmin(values) >= -1e-9, group.signal
            assert np.nanmax(values) <= 1 + 1e-9, group.signal
