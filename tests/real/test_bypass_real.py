"""Ways around the approval, tried on a running `iir serve` with real rights on a real host."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir
from tests.real.stack.installation import change, down, events, installed, restarts, rows, tell
from tests.real.stack.process import Server
from tests.real.stack.prometheus import Prometheus, probe, prometheus_server
from tests.real.stack.waiting import WaitUntil, wait_until

KEY = "INC-000001"
SUDO = ["env", "LC_ALL=C", "sudo", "-n", "--"]
COMMAND = [*SUDO, "systemctl", "restart", "--", "checkout.service"]


class Watched:
    """A host whose service `checkout` is dead, and the Prometheus that knows."""

    def __init__(self, host: Host, prometheus: Prometheus, folder: Path, stack: ExitStack) -> None:
        self.host, self.prometheus, self.folder, self._stack = host, prometheus, folder, stack

    def incident(self, name: str, **settings: Any) -> tuple[Iir, Server, dict[str, Any]]:
        """Start an installation, tell it of the dead service, wait for its plan."""
        iir = installed(self.folder / name, self.prometheus, host=self.host, **settings)
        serve = self._stack.enter_context(iir.serve())
        tell(iir, down(self.host, "checkout"))
        shown = wait_until(lambda: planned(iir), 20, "a plan")
        return iir, serve, shown


def planned(iir: Iir) -> dict[str, Any] | None:
    shown: dict[str, Any] = iir.read("incidents", "show", KEY)
    return shown if shown["approval"] else None


@pytest.fixture(scope="module")
def dead_service(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Prometheus]]:
    host = boot_host()
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [probe("blackbox", blackbox_exporter.address, host.service_url())]
    with prometheus_server(folder, scrapes=targets) as prometheus:
        wait_until(lambda: prometheus.value("probe_success") == 1, 20, "a good probe")
        host.kill_service()
        wait_until(lambda: prometheus.value("probe_success") == 0, 20, "a bad probe")
        yield host, prometheus


@pytest.fixture
def watched(dead_service: tuple[Host, Prometheus], tmp_path: Path) -> Iterator[Watched]:
    """Nothing in these tests may ever restart the service."""
    host, prometheus = dead_service
    with ExitStack() as stack:
        yield Watched(host, prometheus, tmp_path, stack)
    assert restarts(host) == []
    assert host.unit_state() == "failed"


def escalated(iir: Iir) -> str:
    """Return why a human was asked to take over, once one was."""
    shown = wait_until(
        lambda: (v := iir.read("incidents", "show", KEY))["incident"]["escalation"] and v,
        20,
        "the escalation",
    )
    return str(shown["incident"]["escalation"])


def approve(iir: Iir, shown: dict[str, Any]) -> tuple[int, str]:
    done = iir.run("approvals", "approve", shown["approval"]["id"], "--by", "alice", "--yes")
    return done.returncode, done.stderr


def test_a_plan_changed_in_the_file_cannot_be_approved(watched: Watched) -> None:
    iir, _, shown = watched.incident("plan")
    ((body,),) = rows(iir, "SELECT body FROM plans")
    altered = body.replace("checkout.service", "ssh.service")
    assert altered != body
    assert change(iir, "UPDATE plans SET body = ?", altered) == 1
    status, said = approve(iir, shown)
    assert status == 4, said
    assert "is not the one that approval was asked for" in said
    assert "approval.refused" in events(iir)


def test_a_plan_changed_after_its_approval_does_not_run(
    watched: Watched, wait_until: WaitUntil
) -> None:
    iir, serve, shown = watched.incident("later")
    serve.kill()
    assert approve(iir, shown)[0] == 0
    ((body,),) = rows(iir, "SELECT body FROM plans")
    altered = body.replace("checkout.service", "ssh.service")
    assert change(iir, "UPDATE plans SET body = ?", altered) == 1
    serve.start()
    wait_until(lambda: "action.refused" in events(iir), 45, "the gate to refuse")
    assert "action.started" not in events(iir)


def test_an_approval_written_into_the_file_counts_for_nothing(watched: Watched) -> None:
    iir, serve, _ = watched.incident("approval")
    serve.kill()
    ((body,),) = rows(iir, "SELECT body FROM approvals")
    forged = orjson.loads(body)
    forged |= {"status": "approved", "decided_by": "alice", "decided_via": "cli"}
    forged["decided_at"] = forged["requested_at"]
    text = orjson.dumps(forged).decode()
    assert change(iir, "UPDATE approvals SET body = ?, status = 'approved'", text) == 1
    change(iir, "INSERT OR REPLACE INTO work (incident_id, due_at) SELECT id, 0 FROM incidents")
    serve.start()
    assert "the audit trail does not say so" in escalated(iir)
    assert "action.refused" in events(iir)


def test_an_expired_request_is_denied_and_stays_so(watched: Watched) -> None:
    iir, _, shown = watched.incident("expiry", approval={"timeout": "2s"})
    assert "nobody approved the plan in time" in escalated(iir)
    for _ in range(2):  # The same refusal again: nothing is to be had by trying twice.
        status, said = approve(iir, shown)
        assert status == 4, said
        assert "expired" in said


@pytest.mark.parametrize(
    "switches",
    [
        {"execute_real_commands": True, "require_approval": True, "dry_run": True},
        {"execute_real_commands": False, "require_approval": True, "dry_run": False},
    ],
    ids=["dry_run", "no_real_commands"],
)
def test_a_kill_switch_shows_the_command_and_runs_nothing(
    watched: Watched, switches: dict[str, bool]
) -> None:
    iir, _, shown = watched.incident("switch", resolution=switches)
    assert shown["plan"]["steps"][0]["commands"] == [COMMAND]
    assert approve(iir, shown)[0] == 0
    assert "dry run" in escalated(iir)
    (row,) = iir.read("incidents", "show", KEY)["executions"]
    assert row["state"] == "dry_run"
    assert [result["command"] for result in row["results"]] == [COMMAND]
    assert [result["exit_status"] for result in row["results"]] == [None]
