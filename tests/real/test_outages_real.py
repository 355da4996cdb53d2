"""What `iir serve` depends on goes away and comes back: nothing is lost, claimed or doubled."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.stack.alertmanager import Alertmanager, alertmanager_server
from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import BootHost, StartPrometheus
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir
from tests.real.stack.installation import (
    TOKEN,
    firing,
    installed,
    post,
    rows,
    tell,
    webhook,
)
from tests.real.stack.process import Server, require_root
from tests.real.stack.prometheus import Prometheus, Rule, alert, probe, prometheus_server
from tests.real.stack.waiting import WaitUntil

SERVICES = ("checkout", "search")
NOTICED_S = 40.0


def rule(host: Host, service: str) -> Rule:
    """Return the rule that a service does not answer; it names no address, as the two share one."""
    url = host.service_url(service)
    return alert(
        "ServiceDown",
        f'max without (instance, job) (probe_success{{instance="{url}"}}) == 0',
        severity="critical",
        summary=f"{service} does not answer",
        labels={"service": service, "host": f"host-of-{service}"},
    )


class Monitored:
    """A host of two services, its monitoring, and `iir serve`; nothing of it runs yet."""

    def __init__(
        self, host: Host, prometheus: Prometheus, alertmanager: Alertmanager, iir: Iir
    ) -> None:
        self.host, self.prometheus, self.alertmanager = host, prometheus, alertmanager
        self.iir, self.serve = iir, iir.serve()

    def firing(self) -> list[tuple[str, int]]:
        """Return each incident's status and how many of its alerts fire, oldest first."""
        query = "SELECT status, json_extract(body, '$.firing_alerts') FROM incidents"
        return rows(self.iir, f"{query} ORDER BY number")

    def logged(self, *words: str) -> bool:
        lines = self.serve.log.read_text().splitlines()
        return any(all(word in line for word in words) for line in lines)


@pytest.fixture
def monitored(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path: Path
) -> Iterator[Monitored]:
    host = boot_host(services=SERVICES)
    alertmanager = alertmanager_server(
        tmp_path / "alertmanager", webhook_url="http://127.0.0.1:1/", bearer=TOKEN
    )
    prometheus = prometheus_server(
        tmp_path / "prometheus",
        scrapes=[
            probe("blackbox", blackbox_exporter.address, *map(host.service_url, SERVICES)),
        ],
        rules=[rule(host, service) for service in SERVICES],
        alertmanager=alertmanager.address,
    )
    urls = {"url": prometheus.url, "alert_manager_url": alertmanager.url}
    iir = installed(
        tmp_path / "iir",
        prometheus,
        host=host,
        infrastructure={"monitoring": {"prometheus": urls}},
        polling={"interval": "1s"},
    )
    config = tmp_path / "alertmanager" / "alertmanager.yml"
    config.write_text(config.read_text().replace("http://127.0.0.1:1/", iir.webhook_url))
    monitored = Monitored(host, prometheus, alertmanager, iir)
    with ExitStack() as stack:
        for server in (prometheus, alertmanager, monitored.serve):
            stack.callback(server.stop)
        yield monitored


def test_monitoring_away_at_the_start_and_in_the_middle(
    monitored: Monitored, wait_until: WaitUntil
) -> None:
    # Nothing but ourselves is there: we say so, and take what is brought.
    monitored.serve.start()
    wait_until(lambda: monitored.logged("reading alerts failed", "alertmanager"), 20, "a warning")
    tell(monitored.iir, firing("ByHand", service="unrelated", host="elsewhere"))
    wait_until(lambda: len(monitored.firing()) == 1, 20, "the incident")

    monitored.prometheus.start()
    monitored.alertmanager.start()
    healthy = "sum(probe_success)"
    wait_until(lambda: monitored.prometheus.value(healthy) == len(SERVICES), 20, "good probes")
    monitored.host.kill_service("checkout")
    wait_until(lambda: len(monitored.firing()) == 2, NOTICED_S, "the incident of checkout")

    # What fired is mended, and something else breaks, while nobody can tell us.
    monitored.alertmanager.stop()
    monitored.prometheus.stop()
    monitored.host.restart_service("checkout")
    monitored.host.kill_service("search")
    wait_until(lambda: "reading alerts failed" in monitored.serve.log.read_text(), 20, "a warning")
    status, alerts = monitored.firing()[1]
    assert (status in ("resolved", "closed"), alerts) == (False, 1), "silence is no recovery"

    monitored.prometheus.start()
    monitored.alertmanager.start()
    wait_until(lambda: len(monitored.firing()) == 3, NOTICED_S, "the incident of search")
    wait_until(
        lambda: monitored.firing()[1] == ("resolved", 0), NOTICED_S, "checkout to be resolved"
    )
    assert monitored.firing()[2][1] == 1
    assert len(monitored.firing()) == 3
    assert rows(monitored.iir, "SELECT count(*) FROM alerts") == [(3,)]
    assert "Traceback" not in monitored.serve.log.read_text()
    monitored.iir.command("audit", "verify")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 40 MB that holds the data of the installation in `tmp_path / "iir"`."""
    require_root("mounting a filesystem")
    folder = tmp_path / "iir" / "data"
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


def alone(folder: Path, prometheus: Prometheus) -> tuple[Iir, Server]:
    iir = installed(folder, prometheus)
    return iir, iir.serve()


def test_a_full_disk_is_answered_honestly_and_outlived(
    small_disk: Path, start_prometheus: StartPrometheus, tmp_path: Path, wait_until: WaitUntil
) -> None:
    iir, serve = alone(tmp_path / "iir", start_prometheus())
    taken: list[str] = []
    with serve:
        pid = serve.pid

        def offer(number: int) -> int:
            name = f"svc-{number}"
            note = os.urandom(700_000).hex()
            reply = post(iir, webhook(firing("Down", service=name, host=f"h{number}", note=note)))
            if reply.status_code == 200:
                taken.append(name)
                return 200
            assert reply.headers["content-type"] == "application/problem+json"
            return reply.status_code

        statuses = [offer(number) for number in range(40)]
        assert set(statuses) == {200, 503}
        said = ("disk is full", "No space left")  # by our database, or by the engine's
        wait_until(lambda: any(s in serve.log.read_text() for s in said), 20, "the log to say so")
        _mount("-o", "remount,size=200m", str(small_disk))
        wait_until(lambda: offer(100) == 200, 20, "alerts to be taken again")
        query = "SELECT body FROM incident_alerts"
        wait_until(lambda: len(rows(iir, query)) >= len(set(taken)), 30, "all that was taken")
        known = " ".join(body for (body,) in rows(iir, query))
        assert [name for name in taken if f'"{name}"' not in known] == []
        assert serve.pid == pid
        assert serve.is_running
        assert "Traceback" not in serve.log.read_text()
    iir.command("audit", "verify")


def test_a_removed_database_is_never_said_to_have_stored_anything(
    start_prometheus: StartPrometheus, tmp_path: Path, wait_until: WaitUntil
) -> None:
    iir, serve = alone(tmp_path / "iir", start_prometheus())
    with serve:
        tell(iir, firing("Down", service="before"))
        for name in ("iir.db", "iir.db-wal", "iir.db-shm"):
            (iir.folder / "data" / name).unlink()
        for _ in range(3):
            reply = post(iir, webhook(firing("Down", service="after")))
            assert reply.status_code == 503, reply.text
        assert serve.is_running
        wait_until(lambda: "removed or replaced" in serve.log.read_text(), 20, "the log to say so")
        assert "Traceback" not in serve.log.read_text()
    with serve:  # A new record is begun, and kept.
        tell(iir, firing("Down", service="later"))
        wait_until(lambda: rows(iir, "SELECT 1 FROM incidents"), 20, "the incident")


def test_a_read_only_disk_is_refused_at_the_start(
    small_disk: Path, start_prometheus: StartPrometheus, tmp_path: Path
) -> None:
    iir, _ = alone(tmp_path / "iir", start_prometheus())
    _mount("-o", "remount,ro", str(small_disk))
    done = iir.run("serve")
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
