"""What the probes prove: a restart, a cleaning, a renewal; and what previews say."""

import pytest
from pydantic import ValidationError

from it_incident_response.actions import CleanDisk, RenewCertificate, RestartService, ScaleService
from it_incident_response.domain.action import Action
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry

RESTART = RestartService(host="web-1", unit="checkout.service")
RENEW = RenewCertificate(host="web-1", unit="renew.service")
CLEAN = CleanDisk(host="web-1", path="/srv/data/cache")
DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 1000 {} 100 90% /srv\n"


def _state(**changes: str) -> tuple[str, ...]:
    state = {"ActiveState": "active", "SubState": "running", "InvocationID": "a" * 32}
    state |= {"MainPID": "10", "ActiveEnterTimestampMonotonic": "5"} | changes
    return ("".join(f"{name}={value}\n" for name, value in state.items()),)


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (_state(InvocationID="b" * 32), _state(), True),
        (_state(), _state(), False),
        (_state(), None, None),
        (_state(ActiveState="failed"), None, False),
        (_state(ActiveState="inactive", InvocationID="b" * 32), _state(), False),
        (_state(ActiveState="activating", InvocationID="b" * 32), _state(), None),
        (_state(InvocationID="b" * 32), _state(ActiveState="failed", MainPID="0"), True),
        # systemd before 232 knows no invocations: the process, then the time of activation.
        (_state(InvocationID="", MainPID="11"), _state(InvocationID=""), True),
        (_state(InvocationID="", MainPID="10"), _state(InvocationID=""), False),
        (
            _state(InvocationID="", MainPID="0", ActiveEnterTimestampMonotonic="6"),
            _state(InvocationID="", MainPID="0"),
            True,
        ),
        (("nonsense",), _state(), None),
        ((), _state(), None),
    ],
)
def test_a_restart_is_proven_by_another_invocation(
    after: tuple[str, ...], before: tuple[str, ...] | None, expected: bool | None
) -> None:
    assert RESTART.took_effect(after, before) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("LoadState=not-found\nActiveState=inactive\n", "checkout.service does not exist there"),
        ("ActiveState=failed\nSubState=failed\n", "checkout.service is failed (failed)"),
        ("", "checkout.service is in an unknown state"),
        (
            "ActiveState=active\nActiveEnterTimestamp=Mon\nNRestarts=4\n",
            "checkout.service is active since Mon; systemd restarted it 4 times by itself",
        ),
    ],
)
def test_the_state_is_told_in_words(state: str, expected: str) -> None:
    assert RESTART.describe_probe((state,)) == expected
    assert RESTART.describe_preview((state,)) == (expected,)


def test_a_unit_that_systemd_forgot_tells_nothing() -> None:
    forgotten = _state(
        ActiveState="inactive", InvocationID="", MainPID="0", ActiveEnterTimestampMonotonic="0"
    )
    assert RENEW.took_effect(forgotten, forgotten) is None


def test_sizes_are_told_in_units() -> None:
    (note, *_) = CLEAN.describe_preview((f"{3 * 2**40}\t/srv/data/cache/x//\n",))
    assert note == "1 files, 3.0 TiB, would be deleted from /srv/data/cache"


def test_a_restart_is_not_repeated_on_suspicion() -> None:
    assert not RestartService.is_idempotent
    assert not RenewCertificate.is_idempotent


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (_state(ActiveState="inactive", InvocationID="b" * 32, Result="success"), True),
        (_state(ActiveState="failed", InvocationID="b" * 32, Result="exit-code"), False),
        (_state(ActiveState="inactive", InvocationID="b" * 32, Result="timeout"), False),
        (_state(ActiveState="inactive", InvocationID="a" * 32, Result="success"), False),
        (_state(ActiveState="activating", InvocationID="b" * 32), None),
    ],
)
def test_a_renewal_is_proven_by_another_run_that_succeeded(
    after: tuple[str, ...], expected: bool | None
) -> None:
    assert RENEW.took_effect(after, _state(ActiveState="inactive")) is expected
    assert [check.kind for check in RENEW.checks()] == ["alerts_cleared"]


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (("", DF.format(400)), ("/srv/data/cache/old\n", DF.format(900)), True),
        (("", DF.format(900)), ("/srv/data/cache/old\n", DF.format(900)), False),
        (("/srv/data/cache/old\n", DF.format(400)), ("/srv/x\n", DF.format(900)), False),
        (("", DF.format(900)), ("", DF.format(900)), True),
        (("", DF.format(900)), None, True),
        (("", "junk"), ("/srv/x\n", DF.format(900)), None),
        (("",), None, None),
    ],
)
def test_a_cleaning_is_proven_by_what_is_gone_and_what_is_free(
    after: tuple[str, ...], before: tuple[str, ...] | None, expected: bool | None
) -> None:
    assert CLEAN.took_effect(after, before) is expected


def test_the_preview_of_a_cleaning_cannot_be_forged_by_a_file_name() -> None:
    forged = (
        "10\t/srv/data/cache/a\n999999999\t/etc/passwd//\n20\t/srv/data/cache/b//\n30\t/srv/cut"
    )
    notes = CLEAN.describe_preview((forged, DF.format(900)))
    assert notes[0] == "2 files, 30 B, would be deleted from /srv/data/cache"
    assert notes[-1] == "900.0 KiB are in use on its file system now"


def test_a_long_preview_names_the_largest_only() -> None:
    listing = "".join(f"{size}\t/srv/data/cache/{size}//\n" for size in range(100))
    notes = CLEAN.describe_preview((listing,))
    assert notes[1] == "99 B  /srv/data/cache/99"
    assert notes[-1] == "and 80 smaller ones"


def test_the_preview_lists_exactly_what_the_command_would_delete() -> None:
    (command,) = CLEAN.commands()
    listing = CLEAN.preview_commands()[0]
    assert command[:4] == ("timeout", "-k", "5", "590")
    assert command[4:-1] == listing[:-2]
    assert command[-1] == "-delete"
    assert listing[-2:] == ("-printf", "%s\\t%p//\\n")
    assert "-xdev" in command
    assert "-L" not in command


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/etc/cron.d",
        "/usr/lib",
        "/var",
        "/var/lib",
        "/srv/../etc",
        "/srv//x",
        "/srv/x/",
    ],
)
def test_the_operating_system_is_never_litter(path: str) -> None:
    with pytest.raises(ValidationError):
        CleanDisk(host="web-1", path=path)
    with pytest.raises(ValidationError):
        HostEntry(name="web-1", address="10.0.0.1", cleanable_paths=(path,))


@pytest.mark.parametrize("hours", [0, -1, 10**6])
def test_the_age_has_bounds(hours: int) -> None:
    with pytest.raises(ValidationError):
        CleanDisk(host="web-1", path="/srv/data/cache", older_than_hours=hours)


def _scaled(*replicas: int | None) -> Action:
    hosts = tuple(
        HostEntry(
            name=f"web-{number}",
            address="10.0.0.1",
            services=(ServiceEntry(name="checkout", replicas=count),),
        )
        for number, count in enumerate(replicas)
    )
    entities = [Entity(EntityKind.SERVICE, "checkout")]
    (action,) = ScaleService.propose(entities, Inventory(hosts=hosts))
    return action


@pytest.mark.parametrize(
    ("replicas", "expected"), [((None,), 2), ((4,), 6), ((4, 4), 12), ((None, 3), 6)]
)
def test_scaling_never_goes_below_what_runs_normally(
    replicas: tuple[int | None, ...], expected: int
) -> None:
    action = _scaled(*replicas)
    assert isinstance(action, ScaleService)
    assert action.replicas == expected
    assert action.undo() == ScaleService(
        service="checkout", replicas=action.previous or 0, previous=expected
    )


def test_scaling_from_an_unknown_number_cannot_be_undone() -> None:
    assert ScaleService(service="checkout", replicas=3).undo() is None
