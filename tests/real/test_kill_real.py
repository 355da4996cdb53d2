"""`kill -9` at seeded points between alert and fix, on a real host: nothing is lost or repeated."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir
from tests.real.stack.installation import (
    down,
    events,
    firing,
    installed,
    restarts,
    rows,
    tell,
)
from tests.real.stack.process import Server
from tests.real.stack.prometheus import Prometheus, probe, prometheus_server
from tests.real.stack.waiting import WaitUntil, wait_until

SEED = 20_261_123
KILLS = [
    # Those first that take longest to settle: a step that may have been begun is watched long.
    *["action.started"] * 4,
    *["action.intended"] * 2,
    *["action.finished"] * 2,
    *["approval.approved"] * 2,
    *["approval.requested"] * 2,
    *["diagnosis.made"] * 2,
    *["evidence.gathered"] * 2,
    *["incident.opened"] * 2,
    *["acknowledged"] * 2,
]
"""What has just been recorded of the incident in hand when the process is killed."""
SERVICES = [f"svc-{number:02}" for number in range(len(KILLS))]
SLOW = ("slow-1", "slow-2")
SETTLED_S = 300.0
"""A step that was begun is watched for the 150 s that a restart may take, after the last kill."""


@pytest.fixture(scope="module")
def world(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Prometheus]]:
    """A host whose services are all dead, and the Prometheus that knows."""
    host = boot_host(services=[*SERVICES, *SLOW])
    for name in SLOW:
        drop_in = host.path(f"/etc/systemd/system/{name}.service.d/slow.conf")
        drop_in.parent.mkdir()
        drop_in.write_text("[Service]\nExecStartPre=/bin/sleep 3\n")
    host.run("systemctl", "daemon-reload")
    urls = [host.service_url(name) for name in host.plan.services]
    targets = [probe("blackbox", blackbox_exporter.address, *urls)]
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus_server(folder, scrapes=targets) as prometheus:
        wait_until(lambda: prometheus.value("sum(probe_success)") == len(urls), 30, "good probes")
        host.run(
            "systemctl", "kill", "--signal=KILL", *[f"{n}.service" for n in host.plan.services]
        )
        wait_until(lambda: prometheus.value("sum(probe_success)") == 0, 30, "bad probes")
        yield host, prometheus


def incident_of(iir: Iir, service: str) -> str | None:
    """Return the id of the incident about a service."""
    found = rows(iir, "SELECT incident_id, body FROM incident_alerts")
    return next((incident for incident, body in found if f'"{service}"' in body), None)


def has_event(iir: Iir, service: str, kind: str) -> bool:
    incident = incident_of(iir, service)
    query = "SELECT 1 FROM audit WHERE incident_id = ? AND json_extract(body, '$.kind') = ?"
    return incident is not None and bool(rows(iir, query, incident, kind))


def soon(iir: Iir, service: str, kind: str) -> None:
    """Return as soon as an event is recorded; looks often, to be early."""
    wait_until(lambda: any(has_event(iir, service, kind) for _ in range(50)), 60, f"{kind}")


def approving(iir: Iir, service: str) -> subprocess.Popen[bytes]:
    """Begin to approve the plan for a service, in the background."""
    soon(iir, service, "approval.requested")
    query = "SELECT id FROM approvals WHERE incident_id = ?"
    ((approval,),) = rows(iir, query, incident_of(iir, service))
    return iir.begin("approvals", "approve", approval, "--yes")


def one_life(iir: Iir, serve: Server, service: str, host: Host, kind: str, delay: int) -> None:
    """Report an alert, follow its incident to an event, and kill; `delay` looks later."""
    serve.start()
    tell(iir, down(host, service), firing("Canary", service=f"canary-{service}"))
    approval = None
    if kind.startswith("action") or kind == "approval.approved":
        approval = approving(iir, service)
    if kind != "acknowledged":
        soon(iir, service, kind)
    for _ in range(delay):
        has_event(iir, service, kind)
    serve.kill()
    if approval is not None:
        approval.wait(30)


def approve_the_rest(iir: Iir) -> None:
    for (approval,) in rows(iir, "SELECT id FROM approvals WHERE status = 'pending'"):
        iir.run("approvals", "approve", approval, "--yes")


def is_settled(iir: Iir, service: str) -> bool:
    incident = incident_of(iir, service)
    query = (
        "SELECT status = 'resolved' OR json_extract(body, '$.escalation') IS NOT NULL"
        " FROM incidents WHERE id = ?"
    )
    return incident is not None and rows(iir, query, incident) == [(1,)]


def test_killed_again_and_again_nothing_is_lost_and_nothing_runs_twice(
    world: tuple[Host, Prometheus], tmp_path: Path, wait_until: WaitUntil
) -> None:
    host, prometheus = world
    iir = installed(tmp_path / "iir", prometheus, host=host)
    serve = iir.serve()
    delays = random.Random(SEED)
    for service, kind in zip(SERVICES, KILLS, strict=True):
        one_life(iir, serve, service, host, kind, delays.randrange(20))

    def unsettled() -> list[str]:
        approve_the_rest(iir)
        return [service for service in SERVICES if not is_settled(iir, service)]

    with serve:
        wait_until(lambda: unsettled() == [], SETTLED_S, "every incident to be settled")
        known = {name for (name,) in rows(iir, "SELECT body FROM incident_alerts")}
        assert all(any(f"canary-{service}" in body for body in known) for service in SERVICES)
        incidents = {incident_of(iir, service) for service in SERVICES}
        assert len(incidents) == len(SERVICES)
        iir.command("audit", "verify")

    ran = restarts(host)
    states: dict[str, list[str]] = {
        service: [
            state
            for (state,) in rows(
                iir,
                "SELECT state FROM executions WHERE incident_id = ?",
                incident_of(iir, service),
            )
        ]
        for service in SERVICES
    }
    for service, found in states.items():
        assert len(found) == 1, states
        if found == ["in_doubt"]:
            assert ran.count(service) <= 1, service
        else:
            assert found == ["finished"], iir.command(
                "incidents", "timeline", incident_of(iir, service) or ""
            )
            assert ran.count(service) == 1, service
    assert sum(found == ["finished"] for found in states.values()) >= len(SERVICES) // 2, states


def acting(world: tuple[Host, Prometheus], folder: Path, service: str) -> tuple[Iir, Server]:
    """Return an `iir serve` in the middle of a restart that takes three seconds."""
    host, prometheus = world
    iir = installed(folder / service, prometheus, host=host)
    serve = iir.serve().start()
    tell(iir, down(host, service))
    approval = approving(iir, service)
    soon(iir, service, "action.started")
    wait_until(lambda: service in restarts(host), 10, "the restart on the host")
    assert approval.wait(30) == 0
    return iir, serve


def resolved_after_one_restart(
    world: tuple[Host, Prometheus], iir: Iir, serve: Server, service: str
) -> None:
    with serve:
        status = "SELECT status FROM incidents"
        wait_until(lambda: rows(iir, status) == [("resolved",)], 90, "the incident to be resolved")
    assert restarts(world[0]).count(service) == 1
    assert rows(iir, "SELECT state FROM executions") == [("finished",)]


def test_sigterm_lets_a_running_restart_end(
    world: tuple[Host, Prometheus], tmp_path: Path, wait_until: WaitUntil
) -> None:
    iir, serve = acting(world, tmp_path, SLOW[0])
    serve.stop()
    assert "action.finished" in events(iir)
    assert "nothing that was acknowledged is lost" in serve.log_tail()
    # The lease was given back: whoever starts next goes on at once, long before it would run out.
    assert rows(iir, "SELECT 1 FROM work WHERE worker IS NOT NULL") == []
    resolved_after_one_restart(world, iir, serve, SLOW[0])


def test_a_restart_that_outlives_us_is_found_done(
    world: tuple[Host, Prometheus], tmp_path: Path
) -> None:
    iir, serve = acting(world, tmp_path, SLOW[1])
    serve.kill()
    assert "action.finished" not in events(iir)
    resolved_after_one_restart(world, iir, serve, SLOW[1])
    assert "action.recovered" in events(iir)
