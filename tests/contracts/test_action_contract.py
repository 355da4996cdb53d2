"""Every kind of action keeps the same promises; above all, no text becomes a command."""

import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from it_incident_response.actions import ACTIONS, DiagnosticCommand, parse_action
from it_incident_response.domain.action import (
    Action,
    ActionRecord,
    Reversibility,
    Risk,
)
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry
from it_incident_response.errors import InputRejected, TargetUnknown
from it_incident_response.executors.ssh_text import command_line

INVENTORY = Inventory(
    hosts=(
        HostEntry(
            name="web-1",
            address="10.0.0.1",
            aliases=("10.0.0.1:9100",),
            services=(
                ServiceEntry(name="checkout", unit="checkout.service", replicas=3),
                ServiceEntry(name="batch", unit="batch@nightly.service"),
            ),
            certificate_unit="renew.service",
            cleanable_paths=("/srv/data/cache",),
            certificate_paths=("/etc/ssl/web.pem",),
        ),
    ),
    depends_on={"checkout": ("payments",)},
)
ENTITIES = (Entity(EntityKind.SERVICE, "checkout"), Entity(EntityKind.HOST, "web-1"))


def samples() -> Iterator[Action]:
    """Yield what each kind proposes, and every diagnostic command there is."""
    for action_type in ACTIONS.values():
        yield from action_type.propose(ENTITIES, INVENTORY)
    needs = {
        DiagnosticCommand.UNIT_STATUS: {"unit": "checkout.service"},
        DiagnosticCommand.UNIT_LOG: {"unit": "checkout.service"},
        DiagnosticCommand.FOLDER_USAGE: {"path": "/srv/data/cache"},
        DiagnosticCommand.CERTIFICATE_DATES: {"path": "/etc/ssl/web.pem"},
    }
    for command in DiagnosticCommand:
        parameters = {"host": "web-1", "command": command, **needs.get(command, {})}
        record = ActionRecord(kind="run_diagnostic_command", parameters=parameters)
        yield parse_action(record, INVENTORY)


SAMPLES = tuple(dict.fromkeys(samples()))
every_action = pytest.mark.parametrize(
    "action",
    SAMPLES,
    ids=[" ".join(str(v) for v in a.record().parameters.values()) for a in SAMPLES],
)
every_kind = pytest.mark.parametrize("kind", sorted(ACTIONS))


def _vectors(action: Action) -> tuple[tuple[str, ...], ...]:
    return (*action.commands(), *action.probe_commands(), *action.preview_commands())


def _texts(action: Action) -> dict[str, str]:
    """Return the parameters that hold text."""
    return {k: v for k, v in action.record().parameters.items() if isinstance(v, str)}


@every_kind
def test_each_kind_has_a_sample_and_says_what_it_is(kind: str) -> None:
    action_type = ACTIONS[kind]
    assert action_type.kind == kind
    assert any(type(action) is action_type for action in SAMPLES)
    assert isinstance(action_type.risk, Risk)
    assert isinstance(action_type.reversibility, Reversibility)
    assert action_type.executor in {"ssh", "deployment"}
    assert 0 < action_type.time_limit_s <= 3600
    assert action_type.__doc__


@every_kind
def test_nothing_is_proposed_for_what_the_inventory_does_not_know(kind: str) -> None:
    strangers = (
        Entity(EntityKind.SERVICE, "stranger"),
        Entity(EntityKind.HOST, "web-2"),
        Entity(EntityKind.INSTANCE, "checkout; reboot"),
        Entity(EntityKind.MOUNT, "/"),
    )
    assert ACTIONS[kind].propose(strangers, INVENTORY) == ()
    assert ACTIONS[kind].propose(ENTITIES, Inventory()) == ()


@every_action
def test_an_action_survives_being_stored(action: Action) -> None:
    again = parse_action(
        ActionRecord.model_validate_json(action.record().model_dump_json()), INVENTORY
    )
    assert again == action
    assert again.commands() == action.commands()


@every_action
def test_an_action_is_refused_where_the_inventory_no_longer_lists_its_target(
    action: Action,
) -> None:
    with pytest.raises(TargetUnknown) as caught:
        parse_action(action.record(), Inventory())
    assert caught.value.hint


@every_action
def test_unknown_parameters_are_refused(action: Action) -> None:
    record = action.record()
    extra = record.model_copy(update={"parameters": {**record.parameters, "force": True}})
    with pytest.raises(InputRejected, match="force"):
        parse_action(extra, INVENTORY)


@every_action
def test_commands_are_plain_words(action: Action) -> None:
    for vector in _vectors(action):
        assert vector
        assert shlex.split(command_line(vector)) == list(vector)
        assert not any(set(word) & set("`$;|<>\"'\n\0") for word in vector)
    if action.executor == "ssh":
        assert action.commands()
        assert action.host == "web-1"
    else:
        assert action.host is None


@every_action
def test_what_only_looks_runs_only_programs_that_only_look(action: Action) -> None:
    """Words that change something stand only in `commands` of a changing action."""
    looks = [*action.probe_commands(), *action.preview_commands()]
    if action.risk is Risk.READ_ONLY:
        looks += action.commands()
    programs = {"cat", "df", "du", "find", "journalctl", "openssl", "ps", "ss", "systemctl"}
    changing = {"-delete", "-exec", "-execdir", "-fprint", "-fprintf", "-ok", "restart", "start"}
    changing |= {"stop", "kill", "--rotate", "--vacuum-size", "--flush", "-out"}
    for vector in looks:
        assert vector[0] in programs
        assert not changing & set(vector)
        if vector[0] == "systemctl":
            assert vector[1] in {"show", "list-units"}


@every_action
def test_it_says_in_one_sentence_what_changes(action: Action) -> None:
    text = action.describe()
    assert text.endswith(".")
    assert "\n" not in text
    assert action.target.name


@every_action
def test_undoing_twice_comes_back(action: Action) -> None:
    undo = action.undo()
    if undo is None:
        assert action.reversibility is not Reversibility.REVERSIBLE
        return
    assert undo.target == action.target
    assert undo.undo() == action
    parse_action(undo.record(), INVENTORY)


@every_action
@given(outputs=st.lists(st.text(), max_size=3), before=st.none() | st.lists(st.text(), max_size=3))
@settings(max_examples=30)
def test_any_probe_output_is_judged_without_an_error(
    action: Action, outputs: list[str], before: list[str] | None
) -> None:
    judged = action.took_effect(tuple(outputs), None if before is None else tuple(before))
    assert judged in (True, False, None)
    assert isinstance(action.describe_probe(tuple(outputs)), str)
    assert all(isinstance(note, str) for note in action.describe_preview(tuple(outputs)))


ATTACKS = (
    *("; reboot", "&& reboot", "| reboot", "$(reboot)", "`reboot`", "$HOME", "> /etc/passwd"),
    *("\n", "\r", "\0", "'", '"', "\\\n", "*", "?", "[a-z]", "{a,b}", "~root", "!", "#", "=", "&"),
    *("-rf", "--force", "../..", "/..", "/../etc", "//", " ", "\t", "%00", "\u202e", "é"),
)
hostile_texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(ATTACKS),
    st.tuples(st.sampled_from(ATTACKS), st.text(max_size=10)).map("".join),
)


@every_action
@given(data=st.data())
@settings(max_examples=60)
def test_no_other_text_gets_through_any_parameter(action: Action, data: st.DataObject) -> None:
    """Whatever is put in place of, before, after or inside a parameter: it is refused."""
    name = data.draw(st.sampled_from(sorted(_texts(action))))
    good, bad = _texts(action)[name], data.draw(hostile_texts)
    cut = data.draw(st.integers(0, len(good)))
    value = data.draw(st.sampled_from([bad, good + bad, bad + good, good[:cut] + bad + good[cut:]]))
    record = action.record()
    changed = record.model_copy(update={"parameters": {**record.parameters, name: value}})
    try:
        accepted = parse_action(changed, INVENTORY)
    except (InputRejected, TargetUnknown):
        return
    known = {"checkout", "batch", "payments", *DiagnosticCommand}
    assert value == good or value in known
    assert all(not word.startswith("-") for word in _texts(accepted).values())


@every_action
@given(data=st.data())
@settings(max_examples=60)
def test_what_the_types_let_through_is_one_harmless_word(
    action: Action, data: st.DataObject
) -> None:
    """Even where an inventory lists hostile names: the types come first."""
    name = data.draw(st.sampled_from(sorted(_texts(action))))
    good, bad = _texts(action)[name], data.draw(hostile_texts)
    parameters = {**action.record().parameters, name: data.draw(st.sampled_from([bad, good + bad]))}
    try:
        accepted = type(action).model_validate(parameters)
    except ValidationError:
        return
    value = str(getattr(accepted, name))
    assert not set(value) & set("`$;|&<>\"'()*?[]{}~!#% \t\r\n\0")
    assert not value.startswith("-")
    assert ".." not in value.split("/")
    for vector in _vectors(accepted):
        assert shlex.split(command_line(vector)) == list(vector)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_vector_is_read_back_by_a_shell_as_it_is_or_refused(vector: list[str]) -> None:
    try:
        line = command_line(vector)
    except InputRejected:
        assert any(set(word) & set("\0\n\r") for word in vector)
        return
    assert shlex.split(line) == vector
    assert "\n" not in line


def test_unknown_kinds_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputRejected, match="restart_service"):
        parse_action(ActionRecord(kind="run_shell", parameters={"command": "reboot"}), INVENTORY)


def test_the_list_of_actions_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        ACTIONS["run_shell"] = ACTIONS["restart_service"]  # type: ignore[index]
