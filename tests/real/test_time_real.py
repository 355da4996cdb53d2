"""A real host is repaired though whoever tells us of it has a clock that is wrong by an hour.

Every clock here is the one kernel's, which no test may set. Emulated is what a wrong clock shows at
the edge: the times in Alertmanager's webhook. Host, systemd, sshd, Prometheus and `iir` are real.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir
from tests.real.stack.installation import down, events, installed, restarts, rows, tell
from tests.real.stack.prometheus import Prometheus, probe, prometheus_server
from tests.real.stack.waiting import WaitUntil, wait_until

STEPS = [
    "incident.opened",
    "diagnosis.made",
    "approval.requested",
    "approval.approved",
    "action.intended",
    "action.started",
    "action.finished",
    "verification.verified",
    "incident.resolved",
]


@pytest.fixture(scope="module")
def watched(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Prometheus]]:
    host = boot_host()
    targets = [probe("blackbox", blackbox_exporter.address, host.service_url())]
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), scrapes=targets) as prometheus:
        wait_until(lambda: prometheus.value("probe_success") == 1, 20, "a good probe")
        yield host, prometheus


def off_by(alert: dict[str, Any], hours: int) -> dict[str, Any]:
    """Return an alert as a sender stamps it whose clock is off."""
    started = datetime.fromisoformat(alert["startsAt"]) + timedelta(hours=hours)
    return {**alert, "startsAt": started.isoformat()}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_service_is_restarted_once_though_the_alert_is_an_hour_off(
    watched: tuple[Host, Prometheus], tmp_path: Path, wait_until: WaitUntil, hours: int
) -> None:
    host, prometheus = watched
    wait_until(lambda: prometheus.value("probe_success") == 1, 20, "a good probe")
    before = len(restarts(host))
    host.kill_service()
    wait_until(lambda: prometheus.value("probe_success") == 0, 20, "a bad probe")
    iir: Iir = installed(tmp_path / "iir", prometheus, host=host)
    with iir.serve() as serve:
        tell(iir, off_by(down(host, "checkout"), hours))
        wait_until(lambda: iir.read("approvals", "list"), 60, "a plan that waits for approval")
        (asked,) = iir.read("approvals", "list")
        iir.command("approvals", "approve", asked["id"], "--reason", "seen it", "--yes")
        wait_until(lambda: "incident.resolved" in events(iir), 90, "the incident to be resolved")
        log = serve.log.read_text()
    assert host.is_well()
    assert restarts(host)[before:] == ["checkout"]
    kinds = iter(events(iir))
    assert [step for step in STEPS if step not in kinds] == []
    assert rows(iir, "SELECT count(*) FROM incidents") == [(1,)]
    assert "Traceback" not in log
    iir.command("audit", "verify")
