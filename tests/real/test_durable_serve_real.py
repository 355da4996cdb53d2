"""`iir serve` with its embedded engine on a real host: killed, robbed of its engine, cancelled."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir
from tests.real.stack.installation import down, events, installed, restarts, rows, tell
from tests.real.stack.process import Server
from tests.real.stack.prometheus import Prometheus, probe, prometheus_server
from tests.real.stack.waiting import WaitUntil, wait_until

QUICK = ("restarted", "lost-file", "handed-back", "sealed")
SLOW = {"lost-folder": 8, "cancelled": 25}
"""Seconds that a start of the service takes; long enough on a busy machine."""
SOON_S = 40.0
SETTLED_S = 150.0
"""A step that was begun is watched for 90 s before it counts as in doubt."""
KEY = base64.b64encode(bytes(range(7, 39))).decode()
PHRASE = "hunter2-is-in-the-title"


@pytest.fixture(scope="module")
def world(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Prometheus]]:
    """A host whose services are all dead, and the Prometheus that knows."""
    host = boot_host(services=[*QUICK, *SLOW])
    for name, takes_s in SLOW.items():
        drop_in = host.path(f"/etc/systemd/system/{name}.service.d/slow.conf")
        drop_in.parent.mkdir()
        drop_in.write_text(f"[Service]\nExecStartPre=/bin/sleep {takes_s}\n")
    host.run("systemctl", "daemon-reload")
    urls = [host.service_url(name) for name in host.plan.services]
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [probe("blackbox", blackbox_exporter.address, *urls)]
    with prometheus_server(folder, scrapes=targets) as prometheus:
        wait_until(lambda: prometheus.value("sum(probe_success)") == len(urls), 60, "good probes")
        units = [f"{name}.service" for name in host.plan.services]
        host.run("systemctl", "kill", "--signal=KILL", *units)
        wait_until(lambda: prometheus.value("sum(probe_success)") == 0, 30, "bad probes")
        yield host, prometheus


class Case:
    """One installation with one dead service."""

    def __init__(self, world: tuple[Host, Prometheus], folder: Path, service: str, **given: object):
        self.host, prometheus = world
        self.service = service
        self.iir: Iir = installed(folder / "iir", prometheus, host=self.host, **given)
        self.serve: Server = self.iir.serve()

    @property
    def engine(self) -> Path:
        """The folder of the embedded engine."""
        return self.iir.folder / "data" / "engine"

    def pending(self) -> list[str]:
        return [i for (i,) in rows(self.iir, "SELECT id FROM approvals WHERE status = 'pending'")]

    def ask(self, **labels: str) -> str:
        """Report the service and return the request for approval."""
        tell(self.iir, down(self.host, self.service, **labels))
        return wait_until(self.pending, SOON_S, "the request")[0]

    def approve(self, request: str) -> None:
        self.iir.command("approvals", "approve", request, "--yes")

    def begun(self) -> None:
        """Return once the restart has begun on the host."""
        wait_until(lambda: "action.started" in events(self.iir), SOON_S, "the step to begin")
        wait_until(lambda: self.service in restarts(self.host), SOON_S, "the restart on the host")

    def resolved_once(self, within_s: float = SOON_S) -> None:
        """Return once the incident is resolved; fails unless exactly one restart was made."""
        status = "SELECT status FROM incidents"
        wait_until(lambda: rows(self.iir, status) == [("resolved",)], within_s, "the end")
        assert restarts(self.host).count(self.service) == 1
        assert rows(self.iir, "SELECT state FROM executions") == [("finished",)]
        self.iir.command("audit", "verify")


@pytest.fixture
def case(world: tuple[Host, Prometheus], tmp_path: Path) -> Iterator[type]:
    made: list[Case] = []

    def make(service: str, **given: object) -> Case:
        made.append(Case(world, tmp_path / service, service, **given))
        return made[-1]

    yield make  # type: ignore[misc]
    for each in made:
        each.serve.stop()


def test_an_approval_survives_a_restart(case) -> None:
    it = case("restarted")
    it.serve.start()
    request = it.ask()
    it.serve.kill()
    it.approve(request)  # The record takes it while nobody works.
    assert restarts(it.host).count(it.service) == 0
    it.serve.start()
    it.resolved_once()
    refused = it.iir.run("approvals", "approve", request, "--yes")
    assert refused.returncode != 0
    assert "approved already" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_engine_folder_is_lost_in_the_middle_of_a_step(case) -> None:
    it = case("lost-folder")
    it.serve.start()
    it.approve(it.ask())
    it.begun()
    it.serve.kill()
    shutil.rmtree(it.engine)
    assert "action.finished" not in events(it.iir)
    it.serve.start()
    it.resolved_once(SETTLED_S)
    assert "action.recovered" in events(it.iir)
    assert "Traceback" not in it.serve.log.read_text()


def test_the_engine_file_is_lost_while_it_runs(case) -> None:
    it = case("lost-file")
    it.serve.start()
    request = it.ask()
    for file in it.engine.glob("*.db*"):
        file.unlink()
    wait_until(lambda: "lost its file" in it.serve.log.read_text(), SOON_S, "the loss to be seen")
    wait_until(lambda: "begins anew" in it.serve.log.read_text(), SOON_S, "the rebuilding")
    it.approve(request)
    it.resolved_once(90)


def test_cancel_by_command_stops_the_running_step(case, wait_until: WaitUntil) -> None:
    it = case("cancelled")
    it.serve.start()
    it.approve(it.ask())
    it.begun()
    key = "INC-000001"
    it.iir.command("incidents", "cancel", key, "--reason", "wrong host", "--yes")
    state = "SELECT state FROM executions"
    wait_until(lambda: rows(it.iir, state)[0][0] != "started", SOON_S, "the step to end")
    ((ended,),) = rows(it.iir, state)
    assert ended in ("in_doubt", "failed", "finished")
    body = "SELECT json_extract(body, '$.halt'), json_extract(body, '$.escalation') FROM incidents"
    wait_until(lambda: rows(it.iir, body)[0][1], SOON_S, "a human to have it")
    assert "wrong host" in rows(it.iir, body)[0][0]
    assert "incident.cancelled" in events(it.iir)
    assert restarts(it.host).count(it.service) == 1
    shown = it.iir.command("incidents", "show", key)
    assert "wrong host" in shown


def test_taken_over_and_handed_back_while_it_waits(case, wait_until: WaitUntil) -> None:
    it = case("handed-back", diagnosis={"refresh": "1s"})
    it.serve.start()
    request = it.ask()
    key = "INC-000001"
    it.iir.command("incidents", "take-over", key)
    refused = it.iir.run("approvals", "approve", request, "--yes")
    assert refused.returncode != 0
    assert "void" in refused.stderr
    it.iir.command("incidents", "rediagnose", key)
    (again,) = wait_until(it.pending, SOON_S, "a new request")
    assert again != request
    it.approve(again)
    it.resolved_once()


def test_nothing_of_an_incident_is_readable_in_the_engine(case) -> None:
    it = case("sealed", temporal={"encryption_keys": KEY})
    it.serve.start()
    request = it.ask(note=PHRASE, alertname=f"ServiceDown {PHRASE}")
    key = "INC-000001"
    it.iir.command("incidents", "take-over", key, "--reason", f"{PHRASE} indeed")
    it.iir.command("incidents", "rediagnose", key)
    wait_until(lambda: it.pending() not in ([], [request]), SOON_S, "a new request")
    it.approve(it.pending()[0])
    it.resolved_once()
    it.serve.stop()
    kept = b"".join(file.read_bytes() for file in it.engine.rglob("*.db*"))
    assert b"IncidentWorkflow" in kept, "that this looks in the right place"
    assert PHRASE.encode() not in kept
    assert b"waiting for a human" not in kept
    stored = (it.iir.folder / "data" / "iir.db").read_bytes()
    assert PHRASE.encode() in stored
