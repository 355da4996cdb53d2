"""Database or engine away for half a minute: intake answers, nothing is lost, all goes on."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import BootHost
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir
from tests.real.stack.installation import (
    down,
    firing,
    installed,
    post,
    restarts,
    rows,
    tell,
    webhook,
)
from tests.real.stack.postgres import Postgres, running_postgres
from tests.real.stack.process import Server
from tests.real.stack.prometheus import Prometheus, probe, prometheus_server
from tests.real.stack.temporal import TemporalServer
from tests.real.stack.waiting import wait_until

AWAY_S = 30.0
"""What the product promises to outlive without loss; longer is the same."""
SLOW_S = 10
SOON_S = 60.0
SETTLED_S = 180.0
"""A step that was begun is watched for 90 s; a lease runs out after 30 s."""
NAMES = [f"{case}-{what}" for case in ("engine", "store", "pair") for what in ("waits", "runs")]


@pytest.fixture(scope="module")
def world(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Prometheus]]:
    """A host of dead services, those that are to run slow to start, and who watches them."""
    host = boot_host(services=NAMES)
    for name in NAMES:
        if name.endswith("-runs"):
            drop_in = host.path(f"/etc/systemd/system/{name}.service.d/slow.conf")
            drop_in.parent.mkdir()
            drop_in.write_text(f"[Service]\nExecStartPre=/bin/sleep {SLOW_S}\n")
    host.run("systemctl", "daemon-reload")
    urls = [host.service_url(name) for name in NAMES]
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [probe("blackbox", blackbox_exporter.address, *urls)]
    with prometheus_server(folder, scrapes=targets) as prometheus:
        wait_until(lambda: prometheus.value("sum(probe_success)") == len(urls), 90, "good probes")
        host.run("systemctl", "kill", "--signal=KILL", *[f"{name}.service" for name in NAMES])
        wait_until(lambda: prometheus.value("sum(probe_success)") == 0, 30, "bad probes")
        yield host, prometheus


class Posts:
    """Alerts that are posted all the time, and what was answered."""

    def __init__(self, iir: Iir) -> None:
        self._iir = iir
        self._stop = threading.Event()
        self.taken: list[str] = []
        self.statuses: list[int] = []
        self.slowest_s = 0.0

    def _post(self) -> None:
        for number in itertools.count():
            if self._stop.wait(0.2):
                return
            name = f"canary-{number}"
            began = time.monotonic()
            reply = post(self._iir, webhook(firing("Canary", service=name, host=f"on-{name}")))
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.statuses.append(reply.status_code)
            if 200 <= reply.status_code < 300:
                self.taken.append(name)

    @contextmanager
    def going_on(self) -> Iterator["Posts"]:
        """Post while the block runs."""
        thread = threading.Thread(target=self._post)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()


class Record:
    """Reads the record, in SQLite or in PostgreSQL."""

    def __init__(self, iir: Iir, url: str | None = None) -> None:
        self._iir, self._url = iir, url

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if self._url is None:
            return rows(self._iir, query)
        with psycopg.connect(self._url, connect_timeout=3) as connection:
            return connection.execute(query.encode()).fetchall()

    def incident(self, service: str) -> str | None:
        found = self.rows("SELECT incident_id, body FROM incident_alerts")
        return next((i for i, body in found if f'"{service}"' in str(body)), None)

    def of(self, table: str, service: str, column: str) -> list[Any]:
        incident = self.incident(service)
        if incident is None:
            return []
        where = "id" if table == "incidents" else "incident_id"
        found = self.rows(f"SELECT {column} FROM {table} WHERE {where} = '{incident}'")
        return [value for (value,) in found]

    def asked(self, service: str) -> str:
        return str(wait_until(lambda: self.of("approvals", service, "id"), SOON_S, "a request")[0])

    def is_resolved(self, service: str) -> bool:
        return self.of("incidents", service, "status") == ["resolved"]

    def lost(self, posts: Posts) -> list[str]:
        """Return what was acknowledged and is not in the record."""
        known = " ".join(str(body) for (body,) in self.rows("SELECT body FROM incident_alerts"))
        return [name for name in posts.taken if f'"{name}"' not in known]


def in_the_middle(host: Host, iir: Iir, record: Record, case: str) -> str:
    """Have one incident wait for approval and one in the middle of a step; returns the request."""
    waits, runs = f"{case}-waits", f"{case}-runs"
    tell(iir, down(host, waits))
    tell(iir, down(host, runs))
    request = record.asked(waits)
    iir.command("approvals", "approve", record.asked(runs), "--yes")
    wait_until(lambda: runs in restarts(host), SOON_S, "the restart on the host")
    return request


def ended_right(host: Host, record: Record, posts: Posts, case: str) -> None:
    for service in (f"{case}-runs", f"{case}-waits"):
        wait_until(lambda s=service: record.is_resolved(s), SETTLED_S, f"{service} to be resolved")  # type: ignore[misc]
        assert restarts(host).count(service) == 1
        assert record.of("executions", service, "state") == ["finished"]
    wait_until(lambda: record.lost(posts) == [], SOON_S, "all that was acknowledged")
    undiagnosed = (
        "SELECT count(*) FROM incidents i WHERE NOT EXISTS"
        " (SELECT 1 FROM diagnoses d WHERE d.incident_id = i.id)"
    )
    wait_until(lambda: record.rows(undiagnosed) == [(0,)], SETTLED_S, "every diagnosis")


def test_the_engine_is_away_for_half_a_minute(
    world: tuple[Host, Prometheus], temporal_server: TemporalServer, tmp_path: Path
) -> None:
    host, prometheus = world
    at = {"address": temporal_server.address}
    iir = installed(tmp_path / "iir", prometheus, host=host, temporal=at)
    record, posts = Record(iir), Posts(iir)
    with iir.serve() as serve, posts.going_on():
        request = in_the_middle(host, iir, record, "engine")
        temporal_server.kill()
        began, before = time.monotonic(), len(posts.taken)
        iir.command("approvals", "approve", request, "--yes")  # The record takes it meanwhile.
        left = AWAY_S - (time.monotonic() - began)
        # The step under way is not stopped by an engine that is away: it ends, and is journaled.
        state = "executions", "engine-runs", "state"
        wait_until(lambda: record.of(*state) == ["finished"], left, "the step to end")
        time.sleep(max(0.0, AWAY_S - (time.monotonic() - began)))  # That long is what is shown.
        assert len(posts.taken) > before + 10
        assert restarts(host).count("engine-waits") == 0
        temporal_server.start()
        ended_right(host, record, posts, "engine")
        assert set(posts.statuses) == {200}
        assert serve.is_running
    iir.command("audit", "verify")


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A PostgreSQL that may be stopped, and keeps what it acknowledged."""
    with running_postgres(tmp_path / "postgres.log", is_durable=True) as server:
        yield server


def test_the_database_is_away_for_half_a_minute(
    world: tuple[Host, Prometheus], own_postgres: Postgres, tmp_path: Path
) -> None:
    host, prometheus = world
    url = own_postgres.create_database()
    iir = installed(tmp_path / "iir", prometheus, host=host, store={"url": url})
    record, posts = Record(iir, url), Posts(iir)
    serve = iir.serve()
    serve.start_deadline_s = SOON_S
    with serve, posts.going_on():
        request = in_the_middle(host, iir, record, "store")
        own_postgres.server.kill()
        began, before = time.monotonic(), len(posts.statuses)
        time.sleep(AWAY_S - (time.monotonic() - began))  # That long is what is shown.
        meanwhile = posts.statuses[before + 1 :]
        own_postgres.server.start()
        assert len(meanwhile) >= 2, "intake has to answer"
        assert set(meanwhile) <= {503}
        iir.command("approvals", "approve", request, "--yes")
        ended_right(host, record, posts, "store")
        assert serve.is_running
        again = firing("Canary", service="afterwards", host="on-afterwards")
        wait_until(lambda: post(iir, webhook(again)).status_code == 200, SOON_S, "intake again")
        assert posts.slowest_s < 30
    iir.command("audit", "verify")


def engines(serves: list[Server]) -> list[bool]:
    """Tell for each process whether it is the one that runs the embedded engine last."""
    return ["embedded Temporal server serves" in s.log.read_text() for s in serves]


def test_two_on_one_database_run_one_engine_and_the_other_takes_over(
    world: tuple[Host, Prometheus], postgres_url: str, tmp_path: Path
) -> None:
    host, prometheus = world
    iirs = [
        installed(tmp_path / name, prometheus, host=host, store={"url": postgres_url})
        for name in ("one", "two")
    ]
    with ExitStack() as stack:
        serves = [stack.enter_context(iir.serve()) for iir in iirs]
        record = Record(iirs[0], postgres_url)
        wait_until(lambda: any(engines(serves)), SOON_S, "an engine")
        first = engines(serves).index(True)
        other = 1 - first
        said = "standing by, receiving only"
        wait_until(lambda: said in serves[other].log.read_text(), SOON_S, "the other to stand by")
        # Reported to the one without the engine.
        request = in_the_middle(host, iirs[other], record, "pair")
        assert engines(serves)[other] is False
        serves[first].kill()
        posts = Posts(iirs[other])
        with posts.going_on():
            iirs[other].command("approvals", "approve", request, "--yes")
            wait_until(lambda: engines(serves)[other], 60, "the other to take over")
            ended_right(host, record, posts, "pair")
        assert set(posts.statuses) == {200}
    iirs[other].command("audit", "verify")


def test_answers_are_honest_while_nobody_can_store(
    world: tuple[Host, Prometheus], own_postgres: Postgres, tmp_path: Path
) -> None:
    _, prometheus = world
    url = own_postgres.create_database()
    iir = installed(tmp_path / "iir", prometheus, store={"url": url})
    with iir.serve():
        own_postgres.server.kill()
        reply = post(iir, webhook(firing("Canary", service="x", host="y")))
        assert reply.status_code == 503
        assert reply.headers["content-type"] == "application/problem+json"
        own_postgres.server.start()
        body = webhook(firing("Canary", service="x", host="y"))
        wait_until(lambda: post(iir, body).status_code == 200, SOON_S, "intake again")
