"""The stack itself: each part starts, is ready, does its work, and is gone afterwards."""

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.real.stack.alertmanager import Alertmanager
from tests.real.stack.exporters import Exporter, node_exporter
from tests.real.stack.fixtures import StartPrometheus, clean_command
from tests.real.stack.host import Host, booted_host
from tests.real.stack.postgres import Postgres, running_postgres
from tests.real.stack.process import Server, ServerFailed, is_listening
from tests.real.stack.prometheus import Prometheus, alert, probe, prometheus_server, scrape
from tests.real.stack.waiting import WaitUntil

SELF = Path(__file__).parents[2]


def _exists(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_server_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    server = Server(
        name="short", argv=["sh", "-c", "echo out of cheese; exit 3"], log=tmp_path / "log"
    )
    server.ready = lambda: False
    with pytest.raises(ServerFailed, match="(?s)status 3.*out of cheese"):
        server.start()


def test_servers_die_with_a_killed_test_run(tmp_path: Path, wait_until: WaitUntil) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.real.stack.process import Server\n"
        "server = Server(name='s', argv=['sleep', '600'], log=Path(sys.argv[1])).start()\n"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        cwd=SELF,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        # Killed before `setpriv` has asked for it, the kernel would not end the child.
        wait_until(lambda: _program(pid) == "sleep", 10, "the server's program to run")
        run.kill()
    wait_until(lambda: not _exists(pid), 5, "the orphan to be gone")


def test_postgres_gives_every_test_a_database(postgres_server: Postgres, postgres_url: str) -> None:
    other = postgres_server.create_database()
    for url in (postgres_url, other):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE only_here (x int)")
    postgres_server.drop_database(other)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(other)


def test_postgres_wants_its_password_and_leaves_nothing(tmp_path: Path) -> None:
    with running_postgres(tmp_path / "log") as postgres:
        folder = Path(postgres.server.argv[2]).parent
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres.url().replace(postgres.password, "wrong"))
        postgres.server.kill()
        assert not is_listening(postgres.port)
        postgres.server.start()
        with psycopg.connect(postgres.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not folder.exists()
    assert not is_listening(postgres.port)


def test_prometheus_scrapes_evaluates_and_reloads(
    prometheus: Prometheus, wait_until: WaitUntil
) -> None:
    firing = wait_until(prometheus.alerts, 15, "an alert")
    assert [one["labels"]["alertname"] for one in firing] == ["AlwaysFiring"]
    assert prometheus.value('up{job="prometheus"}') == 1


def test_prometheus_can_be_stopped_and_started_again(tmp_path: Path, wait_until: WaitUntil) -> None:
    with prometheus_server(tmp_path) as prometheus:
        prometheus.load_rules([alert("Later", "vector(1)", severity="warning", summary="Later")])
        wait_until(prometheus.alerts, 15, "the rule loaded later to fire")
        prometheus.stop()
        assert not is_listening(int(prometheus.url.rsplit(":", 1)[1]))
        prometheus.start()
        wait_until(prometheus.alerts, 15, "the alert again")


def test_alertmanager_takes_alerts(alertmanager: Alertmanager, wait_until: WaitUntil) -> None:
    alertmanager.post_alert({"alertname": "ByHand", "severity": "critical"})
    (one,) = wait_until(alertmanager.alerts, 5, "the alert")
    assert one["labels"]["alertname"] == "ByHand"
    assert one["status"]["state"] in {"active", "unprocessed"}


def test_exporters_are_scraped(
    node_exporter: Exporter,
    blackbox_exporter: Exporter,
    start_prometheus: StartPrometheus,
    wait_until: WaitUntil,
) -> None:
    url = f"http://{node_exporter.address}/metrics"
    prometheus = start_prometheus(
        scrapes=[
            scrape("node", node_exporter.address),
            probe("web", blackbox_exporter.address, url),
        ]
    )
    wait_until(lambda: prometheus.query("node_cpu_seconds_total"), 10, "node metrics")
    wait_until(lambda: prometheus.value(f'probe_success{{instance="{url}"}}') == 1, 10, "a probe")


def test_stopped_servers_are_gone(tmp_path: Path) -> None:
    with node_exporter(tmp_path) as server:
        pid, port = server.pid, int(server.address.rsplit(":", 1)[1])
        assert is_listening(port)
    assert not _exists(pid)
    assert not is_listening(port)


class TestHost:
    def test_is_a_real_systemd_host(self, host: Host) -> None:
        assert host.run("cat", "/proc/1/comm").stdout.strip() == "systemd"
        assert host.run("hostname").stdout.strip() == "web-1"
        assert host.run("systemctl", "is-system-running").stdout.strip() in {"running", "starting"}

    def test_ssh_works_with_the_key_alone(self, host: Host, tmp_path: Path) -> None:
        done = host.ssh("id", "-un")
        assert (done.returncode, done.stdout.strip()) == (0, "deploy"), done.stderr
        host_key = host.known_hosts.read_text()
        try:
            host.known_hosts.write_text("")
            refused = host.ssh("true")
        finally:
            host.known_hosts.write_text(host_key)
        assert refused.returncode == 255
        assert "Host key verification failed" in refused.stderr

    def test_sudo_is_narrow(self, host: Host) -> None:
        allowed = host.ssh("sudo", "-n", "systemctl", "restart", "--", "checkout.service")
        assert allowed.returncode == 0, allowed.stderr
        for refused in (
            ["systemctl", "restart", "--", "ssh.service"],
            ["systemctl", "stop", "--", "checkout.service"],
            ["find", "-P", "/etc", "-xdev", "-type", "f", "-mmin", "+1440", "-delete"],
            ["id"],
        ):
            done = host.ssh("sudo", "-n", *refused)
            assert done.returncode == 1
            assert "password is required" in done.stderr

    def test_sudo_may_clean_the_one_folder(self, host: Host) -> None:
        host.filesystem.fill(0.5)
        done = host.ssh("sudo", "-n", *clean_command())
        assert done.returncode == 0, done.stderr
        assert host.filesystem.files() == []

    def test_the_user_may_read_the_journal(self, host: Host) -> None:
        host.restart_service()
        assert "INFO: ready" in host.ssh("journalctl", "--unit=checkout.service").stdout

    def test_a_killed_service_stays_dead_until_restarted(
        self, host: Host, wait_until: WaitUntil
    ) -> None:
        assert host.is_well()
        host.kill_service()
        assert not is_listening(host.plan.services["checkout"], host.address)
        assert (
            host.ssh("sudo", "-n", "systemctl", "restart", "--", "checkout.service").returncode == 0
        )
        wait_until(host.is_well, 5, "checkout to be well")

    def test_a_left_cause_defeats_the_restart(self, host: Host, wait_until: WaitUntil) -> None:
        host.leave_cause()
        assert (
            host.ssh("sudo", "-n", "systemctl", "restart", "--", "checkout.service").returncode == 0
        )
        wait_until(lambda: host.unit_state() == "failed", 5, "checkout to fail")
        assert "cannot open the ledger" in host.journal()
        host.remove_cause()
        host.restart_service()
        host.leave_cause(cause="unhealthy")
        assert host.unit_state() == "active"
        assert not host.is_well()

    def test_its_filesystem_fills_and_node_exporter_sees_it(
        self, host: Host, start_prometheus: StartPrometheus, wait_until: WaitUntil
    ) -> None:
        used = (
            '1 - node_filesystem_avail_bytes{mountpoint="/srv/data"}'
            ' / node_filesystem_size_bytes{mountpoint="/srv/data"}'
        )
        prometheus = start_prometheus(scrapes=[scrape("node", host.node_exporter)])
        filesystem = host.filesystem
        assert filesystem.used_ratio < 0.5
        filesystem.fill(0.95)
        assert 0.93 < filesystem.used_ratio < 0.97
        wait_until(lambda: (prometheus.value(used) or 0) > 0.9, 10, "a full disk in Prometheus")
        filesystem.empty()
        wait_until(lambda: (prometheus.value(used) or 1) < 0.5, 10, "a clean disk in Prometheus")

    def test_two_hosts_side_by_side_and_nothing_left_behind(self, host: Host) -> None:
        with booted_host("web-2", services=("checkout", "search")) as other:
            assert other.address != host.address
            assert other.run("hostname").stdout.strip() == "web-2"
            assert other.is_well("search")
            pids = [other.pid, other.init_pid]
            folder, cgroup = other.folder, other.cgroup
            address, port = other.address, other.port
        assert not any(_exists(pid) for pid in pids)
        assert not folder.exists()
        assert not cgroup.exists()
        assert not is_listening(port, address)
        mounts = Path("/proc/mounts").read_text()
        assert str(folder) not in mounts

    def test_the_machine_itself_is_untouched(self, host: Host) -> None:
        assert not Path("/etc/sudoers.d/deploy").exists()
        assert not Path("/etc/systemd/system/checkout.service").exists()
        assert not Path("/opt/toy").exists()
        assert "deploy:" not in Path("/etc/passwd").read_text()


def test_a_host_dies_with_a_killed_test_run(tmp_path: Path, wait_until: WaitUntil) -> None:
    code = (
        "import sys; from tests.real.stack.host import booted_host\n"
        "with booted_host('doomed') as host:\n"
        "    print(host.init_pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=SELF,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        init = int(run.stdout.readline())
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not _exists(init), 10, "the orphaned host to be gone")
