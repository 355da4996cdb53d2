"""Diagnostic commands: what each needs, and the facts their real outputs state."""

import pytest
from pydantic import ValidationError

from it_incident_response.actions import DiagnosticCommand, RunDiagnosticCommand
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.execution import CommandResult
from it_incident_response.domain.inventory import HostEntry, Inventory, ServiceEntry

C = DiagnosticCommand


def _facts(command: DiagnosticCommand, output: str, **more: object) -> dict[str, str]:
    return RunDiagnosticCommand(host="web-1", command=command, **more).facts(output)  # type: ignore[arg-type]


def test_unit_status() -> None:
    output = "ActiveState=failed\nResult=exit-code\nExecMainStatus=1\nnonsense\n=x\n"
    assert _facts(C.UNIT_STATUS, output, unit="a.service") == {
        "ActiveState": "failed",
        "Result": "exit-code",
        "ExecMainStatus": "1",
    }


@pytest.mark.parametrize("command", [C.DISK_USAGE, C.INODE_USAGE])
def test_disk_and_inode_usage(command: DiagnosticCommand) -> None:
    output = (
        "Filesystem     1024-blocks    Used Available Capacity Mounted on\n"
        "/dev/sda1         65536000 1000000  64536000       2% /\n"
        "/dev/sdb1            60000   59000      1000      98% /srv/my data\n"
        "devfs                    0       0         0       - /dev\n"
    )
    assert _facts(command, output) == {
        "use:/srv/my data": "98%",
        "use:/": "2%",
        "fullest": "/srv/my data 98%",
    }


def test_folder_usage() -> None:
    output = "120\t/srv/data/cache/a\n4000\t/srv/data/cache/b\n4120\t/srv/data/cache\n"
    assert list(_facts(C.FOLDER_USAGE, output, path="/srv/data/cache").items()) == [
        ("kib:/srv/data/cache", "4120"),
        ("kib:/srv/data/cache/b", "4000"),
        ("kib:/srv/data/cache/a", "120"),
    ]


def test_memory() -> None:
    output = (
        "MemTotal:       1000 kB\nMemFree: 10 kB\nMemAvailable:    250 kB\nSwapTotal: 0 kB\nBad\n"
    )
    assert _facts(C.MEMORY, output) == {
        "MemTotal": "1000",
        "MemAvailable": "250",
        "SwapTotal": "0",
        "used_ratio": "0.750",
    }
    assert "used_ratio" not in _facts(C.MEMORY, "MemTotal: 0 kB\nMemAvailable: 0 kB\n")


def test_processes() -> None:
    output = (
        "  PID USER  %CPU %MEM   RSS ELAPSED COMMAND\n    7 toy   99.0  1.0  9000   5 python3\n"
    )
    assert _facts(C.TOP_CPU, output) == {"process:1": "7 toy 99.0 1.0 9000 5 python3"}


def test_the_arguments_of_processes_are_not_read() -> None:
    (command,) = RunDiagnosticCommand(host="web-1", command=C.TOP_CPU).commands()
    columns = command[command.index("-o") + 1]
    assert columns.endswith(",comm")
    assert "args" not in columns


def test_sockets() -> None:
    output = (
        "Total: 100\nTCP:   12 (estab 3, closed 1, orphaned 0, timewait 1)\n\nTransport Total\n"
    )
    facts = _facts(C.SOCKETS, output)
    assert facts == {"tcp": "12 (estab 3, closed 1, orphaned 0, timewait 1)"}


def test_uptime() -> None:
    assert _facts(C.UPTIME, "350735.47 234388.90\n0.20 0.18 0.12 1/80 11206\n") == {
        "uptime_s": "350735.47",
        "load_1": "0.20",
        "load_5": "0.18",
        "load_15": "0.12",
    }


def test_certificate_dates() -> None:
    output = "subject=CN = web-1\nnotBefore=Jan  1 00:00:00 2026 GMT\n"
    output += "notAfter=Apr  1 00:00:00 2026 GMT\n"
    facts = _facts(C.CERTIFICATE_DATES, output, path="/etc/ssl/web.pem")
    assert facts["notAfter"] == "Apr  1 00:00:00 2026 GMT"
    assert facts["subject"] == "CN = web-1"


def test_failed_units_and_logs() -> None:
    assert _facts(C.FAILED_UNITS, "a.service loaded failed failed A\n") == {
        "failed_count": "1",
        "failed": "a.service",
    }
    assert _facts(C.FAILED_UNITS, "") == {"failed_count": "0", "failed": ""}
    assert _facts(C.KERNEL_LOG, "one\n\ntwo\n") == {"lines": "2", "last_line": "two"}


@pytest.mark.parametrize("command", list(C))
def test_facts_stay_small_whatever_is_printed(command: DiagnosticCommand) -> None:
    needs = {C.UNIT_STATUS: "unit", C.UNIT_LOG: "unit", C.FOLDER_USAGE: "path"}
    needs[C.CERTIFICATE_DATES] = "path"
    values = {"unit": "a.service", "path": "/srv/data/x"}
    more = {needs[command]: values[needs[command]]} if command in needs else {}
    for output in (
        "",
        "x" * 100_000,
        "9\tx\n" * 5_000,
        "".join(f"a{n}=b\n" for n in range(5_000)),
        "\n" * 1_000,
        "a b c d 5% f\n",
    ):
        facts = _facts(command, output, **more)
        assert all(len(value) <= 300 for value in facts.values())
        assert len(facts) <= 100


@pytest.mark.parametrize(
    "parameters",
    [
        {"command": C.UNIT_LOG},
        {"command": C.UNIT_LOG, "unit": "a.service", "path": "/srv/x"},
        {"command": C.MEMORY, "unit": "a.service"},
        {"command": C.FOLDER_USAGE},
        {"command": "reboot"},
        {"command": C.KERNEL_LOG, "lines": 0},
        {"command": C.KERNEL_LOG, "lines": 10**6},
    ],
)
def test_a_command_takes_what_it_needs_and_nothing_else(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RunDiagnosticCommand.model_validate({"host": "web-1", **parameters})


def test_the_affected_unit_is_looked_at_first_and_looks_are_bounded() -> None:
    hosts = tuple(
        HostEntry(
            name=f"web-{number}",
            address="10.0.0.1",
            services=(ServiceEntry(name="checkout", unit="checkout.service"),),
        )
        for number in range(20)
    )
    entities = [Entity(EntityKind.SERVICE, "checkout")]
    looks = RunDiagnosticCommand.propose(entities, Inventory(hosts=hosts))
    assert len(looks) == 24
    assert looks[0] == RunDiagnosticCommand(
        host="web-0", command=C.UNIT_STATUS, unit="checkout.service"
    )


def test_a_result_becomes_evidence() -> None:
    look = RunDiagnosticCommand(host="web-1", command=C.UNIT_STATUS, unit="a.service")
    result = CommandResult(
        command=("systemctl", "show"), exit_status=0, output="ActiveState=failed"
    )
    finding = look.finding(result)
    assert finding.facts == {"ActiveState": "failed"}
    assert finding.entity == Entity(EntityKind.SERVICE, "web-1/a.service")
    assert look.checks() == ()
    of_host = RunDiagnosticCommand(host="web-1", command=C.UPTIME).finding(result)
    assert of_host.entity == Entity(EntityKind.HOST, "web-1")
    failed = look.finding(result.model_copy(update={"exit_status": 1}))
    assert failed.facts == {}
