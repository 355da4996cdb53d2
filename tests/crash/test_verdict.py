"""The judge of the crash matrix must be able to find something wrong."""

from dataclasses import replace

import pytest

from tests.crash.points import STEPS, VICTIMS, all_points, cases, exhaustive
from tests.crash.targets import Ran
from tests.crash.verdict import Evidence, Row, judge

RAN = [Ran(f"i1/digest/{step}/1", f"seen-0-{step}") for step in range(1, STEPS + 1)]
GOOD = Evidence(
    expected=["one"],
    incidents={"one": ("i1", "resolved")},
    rows=[Row(ran.key, "i1", ran.step, "finished") for ran in RAN],
    ran=RAN,
)


def with_state(state: str, step: int = 3) -> list[Row]:
    return [replace(row, state=state) if row.step == step else row for row in GOOD.rows]


def test_what_is_as_promised_is_good() -> None:
    assert judge(GOOD).is_good


def test_an_attempt_that_ran_twice_is_found() -> None:
    assert judge(replace(GOOD, ran=[*RAN, RAN[2]])).duplicated


def test_a_step_that_ran_under_two_keys_is_found() -> None:
    again = Ran("i1/other/3/1", "seen-0-3")
    rows = [*GOOD.rows, Row(again.key, "i1", 3, "finished")]
    assert judge(replace(GOOD, ran=[*RAN, again], rows=rows)).duplicated


def test_a_row_that_says_finished_of_what_never_ran_is_found() -> None:
    found = judge(replace(GOOD, ran=RAN[:4]))
    assert any("never ran" in each for each in found.lost)
    assert any("4 of 5" in each for each in found.lost)


def test_a_row_that_says_failed_of_what_ran_is_found() -> None:
    assert judge(replace(GOOD, rows=with_state("failed"))).untrue


def test_what_ran_without_a_row_is_found() -> None:
    assert judge(replace(GOOD, rows=GOOD.rows[:4])).untrue


@pytest.mark.parametrize("state", ["started", "in_doubt"])
def test_a_row_that_nobody_settled_is_found(state: str) -> None:
    assert judge(replace(GOOD, rows=with_state(state))).left


def test_an_incident_that_is_gone_or_open_is_found() -> None:
    assert judge(replace(GOOD, incidents={})).lost
    assert judge(replace(GOOD, incidents={"one": ("i1", "resolving")})).left


def test_a_lock_and_a_broken_chain_are_found() -> None:
    assert judge(replace(GOOD, locks=["service a"])).left
    assert judge(replace(GOOD, is_chain_intact=False)).untrue


@pytest.mark.parametrize("victim", VICTIMS)
def test_every_state_is_met_and_a_seed_gives_the_same_again(victim: str) -> None:
    drawn = list(cases(victim, exhaustive(victim), 7))
    assert set(all_points()) <= {points[0] for points in drawn}
    assert drawn == list(cases(victim, exhaustive(victim), 7))
    assert sum(exhaustive(each) for each in VICTIMS) >= 200
