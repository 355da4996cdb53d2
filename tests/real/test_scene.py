"""The scene of the proof without `iir serve`: the monitoring notices and tells, with its token."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from it_incident_response.config import load
from tests.real.stack.alertmanager import Alertmanager, alertmanager_server
from tests.real.stack.exporters import Exporter
from tests.real.stack.fixtures import StartPrometheus
from tests.real.stack.host import Host
from tests.real.stack.iir import new_installation
from tests.real.stack.prometheus import Prometheus, probe, scrape
from tests.real.stack.scene import DISK_ALMOST_FULL, SERVICE_DOWN, configuration
from tests.real.stack.waiting import WaitUntil

TOKEN = "s3cret"


@contextmanager
def webhook() -> Iterator[tuple[str, list[tuple[str | None, dict[str, Any]]]]]:
    """Listen, and yield the URL and what was posted: (Authorization header, body)."""
    posted: list[tuple[str | None, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", posted
        finally:
            server.shutdown()
            thread.join()


def test_a_dead_service_and_a_full_disk_reach_the_webhook(
    host: Host,
    blackbox_exporter: Exporter,
    start_prometheus: StartPrometheus,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    with (
        webhook() as (url, posted),
        alertmanager_server(tmp_path, webhook_url=url, bearer=TOKEN) as alertmanager,
    ):
        prometheus = start_prometheus(
            scrapes=[
                probe("blackbox", blackbox_exporter.address, host.service_url()),
                scrape("node", host.node_exporter),
            ],
            rules=[SERVICE_DOWN, DISK_ALMOST_FULL],
            alertmanager=alertmanager.address,
        )
        wait_until(lambda: prometheus.value("probe_success") == 1, 15, "a good probe")

        def told(name: str, status: str) -> list[dict[str, Any]]:
            return [
                one
                for _, body in list(posted)
                for one in body["alerts"]
                if one["labels"]["alertname"] == name and one["status"] == status
            ]

        host.kill_service()
        host.filesystem.fill(0.95)
        (down, *_) = wait_until(lambda: told("ServiceDown", "firing"), 20, "the first alert")
        assert down["labels"]["instance"] == host.service_url()
        (full, *_) = wait_until(lambda: told("DiskAlmostFull", "firing"), 20, "the second alert")
        assert full["labels"]["mountpoint"] == host.filesystem.mount_point
        assert {header for header, _ in posted} == {f"Bearer {TOKEN}"}

        host.restart_service()
        wait_until(lambda: told("ServiceDown", "resolved"), 20, "the service to be well again")
        host.filesystem.empty()
        wait_until(lambda: told("DiskAlmostFull", "resolved"), 20, "the disk to be clean again")


def test_the_scenes_configuration_is_one_that_we_read(
    host: Host, prometheus: Prometheus, alertmanager: Alertmanager, tmp_path: Path
) -> None:
    iir = new_installation(tmp_path / "iir", bearer=TOKEN)
    iir.configure(configuration(host, prometheus, alertmanager))
    settings = load(file=iir.config, environ={}, overrides={}, profile=None, cwd=tmp_path).settings
    assert settings.may_change_real_systems
    assert settings.inventory.host(host.node_exporter) is not None
    assert settings.inventory.locate(host.service_url())
