"""Templates mined from streams: by shape, by what varies, bounded, the same every time."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from it_incident_response.analysis.log_mining.columns import column_of, grouped
from it_incident_response.analysis.log_mining.masking import LINE_LENGTH_MAX, mask
from it_incident_response.analysis.log_mining.miner import TemplateMiner
from it_incident_response.analysis.log_mining.scoring import mean_of, score

USERS = ["anna", "bert", "carla", "dirk", "elena", "fred"]


def templates(lines, **settings):
    miner = TemplateMiner(**settings)
    return [miner.template(int(found)) for found in miner.add(lines)]


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("took 12.5 s, 3 tries", "took <*> s, <*> tries"),
        ("from 10.0.0.1:5432 to /10.0.0.2", "from <*>:<*> to <*>"),
        ("open /var/log/a.log failed", "open <*> failed"),
        ("blk_-4411589101766563890 served", "<*> served"),
        ("job_1445_0020 is done", "<*> is done"),
        ("id 6fa459ea-ee8a-3ca4-894e-db77e160355e gone", "id <*> gone"),
        ("state = true, owner=null", "state = <*>, owner=<*>"),
        ("at db-1.eu.example.com:80", "at <*>:<*>"),
        ("java.net.SocketException: reset", "java.net.SocketException: reset"),
        ("org.acme.app.v2.Job started", "org.acme.app.v2.Job started"),
        ('user "alice bee" denied', 'user "<*>" denied'),
        ('1.2.3.4 "GET /a/b?c=1 HTTP/1.1" 200', '<*> "GET <*>" <*>'),
        ('{"msg":"no route","to":"10.0.0.1"}', '{"msg":"no route","to":"<*>"}'),
        ('level=warn msg="no route" to="a b"', 'level=warn msg="no route" to="<*>"'),
        ("flags=0x1f, lock=<memory:10, cores:-2>", "flags=<*>, lock=<memory:<*>, cores:<*>"),
        ("link 00:1b:44:11:3a:b7 up", "link <*> up"),
        ("see https://acme.example/x/1 please", "see https://<*> please"),
        ("read C:\\Users\\a\\b.txt twice", "read <*> twice"),
        ("ssh2 on tty2 by jk2_init()", "ssh2 on tty2 by jk2_init()"),
        ("on 2026-03-01 12:00:00", "on <*>-<*>-<*> <*>:<*>:<*>"),
        ("sent to anna@example.com.", "sent to <*>."),
        ("Sat Jun 18 02:23:10 2005 seen", "<*>:<*>:<*> seen"),
        ("version v1.12 of 2.6.5-1.358", "version <*> of <*>"),
    ],
)
def test_variables_are_masked_by_shape(line, masked):
    assert mask(line) == masked


@given(st.text(max_size=200))
def test_masking_is_settled_after_one_pass_over_plain_words(text):
    words = "".join(letter if letter.isalpha() else " " for letter in text)
    assert mask(words) == mask(mask(words))


def test_a_word_that_takes_many_values_is_a_variable():
    lines = [f"session opened for user {user} by 0" for user in USERS]
    assert set(templates(lines)) == {"session opened for user <*> by <*>"}


def test_a_later_value_joins_at_once_and_old_ids_lead_to_the_joint_template():
    miner = TemplateMiner()
    first = [int(miner.add([f"hello {user} there"])[0]) for user in USERS]
    later = int(miner.add(["hello zoe there"])[0])
    assert {miner.current(found) for found in first} == {later}
    assert miner.template(first[0]) == "hello <*> there"


def test_a_word_with_few_values_is_constant():
    lines = ["cache hit for 1", "cache miss for 2", "connection opened", "connection closed"]
    assert len(set(templates(lines * 5))) == 4


def test_states_in_capitals_and_first_words_stay_apart():
    states = ["NEW", "READY", "RUNNING", "DONE", "FAILED"]
    lines = [f"task moved to {state} now" for state in states]
    lines += [f"{name} startup succeeded" for name in ("crond", "sshd", "cupsd", "klogd", "ntpd")]
    assert len(set(templates(lines))) == 10


def test_something_constant_stays():
    assert len(set(templates([f"{user}" for user in USERS * 3]))) == len(USERS)


def test_numbered_words_are_variables_only_if_the_number_varies():
    found = templates([f"disk{n % 3} of eth0 is full" for n in range(9)])
    assert set(found) == {"<*> of eth0 is full"}


def test_lists_of_any_length_are_one_variable():
    lines = [f"delete {' '.join(str(n) for n in range(size))} now" for size in (1, 5, 40)]
    assert set(templates(lines)) == {"delete <*> now"}
    assert set(templates(["fans 1 2 3 4", "fans 9 8 7 6"])) == {"fans <*> <*> <*> <*>"}


def test_what_may_be_empty_is_a_variable():
    lines = ["from 10.0.0.1 () at 3", "from 10.0.0.2 (a.example.com) at 4"]
    assert set(templates(lines)) == {"from <*> (<*>) at <*>"}


def test_units_that_vary_belong_to_the_number():
    assert set(templates(["free 3 KB left", "free 2.5 MB left"])) == {"free <*> left"}
    assert set(templates(["free 3 KB left", "free 7 KB left"])) == {"free <*> KB left"}


def test_the_same_batches_give_the_same_ids():
    lines = [f"hello {user} of {n}" for n in range(50) for user in USERS]
    assert TemplateMiner().add(lines).tolist() == TemplateMiner().add(lines).tolist()


def test_only_distinct_texts_are_masked():
    found = grouped(column_of([f"took {n} ms" for n in range(5000)]))
    assert found.keys == ["took 0 ms"]
    assert (found.first, found.last) == (["took 0 ms"], ["took 4999 ms"])
    assert found.counts.tolist() == [5000]


def test_columns_and_lists_are_taken_alike():
    lines = ["a 1", "b 2", "a 3"]
    assert TemplateMiner().add(pl.Series(lines)).tolist() == TemplateMiner().add(lines).tolist()


def test_broken_text_is_survived():
    lines = ["bad \udcff byte 7", "\x1b[31mred\x1b[0m 5", "first\nsecond", "", " ", "x" * 10**7]
    found = templates(lines)
    assert found[1:5] == ["red <*>", "first", "", ""]
    assert all(len(text) <= 4 * LINE_LENGTH_MAX for text in found)
    assert TemplateMiner().add([]).tolist() == []


def word(draw):
    return "".join(draw.choice("bcdfghjklmnpqrstvwxz") for _ in range(9))


def test_distinct_patterns_without_end_stay_in_bounded_memory():
    draw = random.Random(5)
    miner = TemplateMiner(templates_max=500)
    for _ in range(4):
        miner.add([f"{word(draw)} {word(draw)} {word(draw)}" for _ in range(750)])
    assert len(miner) <= 500
    assert miner.forgotten >= 2000
    assert miner.template(1) is None


@settings(max_examples=40, deadline=None)  # the first example imports polars
@given(st.lists(st.text(max_size=60), max_size=40))
def test_every_line_of_any_text_gets_a_template(lines):
    miner = TemplateMiner()
    ids = miner.add(lines)
    assert len(ids) == len(lines)
    assert all(miner.template(int(found)) is not None for found in ids)
    assert sum(template.count for template in miner) == len(lines)


def test_scores_are_those_of_the_definition():
    true = ["a <*>", "a <*>", "b", "b", "c"]
    found = score(true, [1, 1, 2, 2, 2], ["a <*>", "a <*>", "b", "b", "b"])
    assert found.grouping_accuracy == pytest.approx(2 / 5)
    assert found.fga == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert found.pa == pytest.approx(4 / 5)
    assert found.fta == pytest.approx(found.fga)
    assert mean_of([found, score(["x"], [1], ["x"])]).pa == pytest.approx(0.9)


def test_right_groups_with_wrong_text_count_for_fga_only():
    found = score(["a <*>", "b"], [1, 2], ["a x", "b"])
    assert (found.fga, found.fta, found.pa) == (1.0, 0.5, 0.5)
