"""`iir simulate` as a process: a real Prometheus scrapes it, webhooks arrive, Ctrl-C ends it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import httpx
import pytest

from tests.real.stack.prometheus import prometheus_server
from tests.real.stack.waiting import wait_until


@pytest.fixture
def received() -> Iterator[tuple[str, Queue]]:
    """A webhook receiver: its URL and the bodies it got."""
    bodies: Queue = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def start(*options: str) -> tuple[subprocess.Popen, str]:
    """Start the command; return the process and the address it serves on."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "it_incident_response",
            "simulate",
            "--port",
            "0",
            "--json",
            *options,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, json.loads(line)["about"]


def stop(process: subprocess.Popen) -> list[dict]:
    """Press Ctrl-C; return what was printed since the start."""
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    with process.stdout as output:
        lines = list(output)
    process.wait(timeout=30)
    return [json.loads(line) for line in lines]


def test_a_real_prometheus_scrapes_the_world(tmp_path):
    process, url = start("--fault", "service_down")
    try:
        job = {
            "job_name": "shop",
            "honor_labels": True,
            "static_configs": [{"targets": [url.removeprefix("http://")]}],
        }
        with prometheus_server(tmp_path / "prometheus", scrapes=[job]) as server:
            down = wait_until(
                lambda: server.query('up{job!="node",service!=""} == 0'), 60, "the fault shows"
            )
            assert len(down) == 1
            assert down[0]["metric"]["job"] == down[0]["metric"]["service"]
            assert server.value('count(up{job="node"} == 1)') == 9
            assert server.value("count(http_request_duration_seconds_bucket) > 100")
            assert server.value('node_filesystem_avail_bytes{instance="db-1:9100",mountpoint="/"}')
    finally:
        said = stop(process)
    assert process.returncode == 0
    assert [item["what"] for item in said if item["what"].startswith("fault")] == ["fault_began"]
    assert said[-1]["what"] == "stopped"


def test_webhooks_arrive_and_the_apis_answer(received):
    hook, bodies = received
    process, url = start("--fault", "tls_certificate_expiry", "--speed", "200", "--webhook", hook)
    try:
        body = bodies.get(timeout=60)
        assert body["version"] == "4"
        assert body["alerts"][0]["status"] == "firing"
        name = body["groupLabels"]["alertname"]
        alerts = httpx.get(f"{url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        assert name in {alert["labels"]["alertname"] for alert in alerts}
        assert httpx.get(f"{url}/api/v2/alerts", timeout=10).json()
    finally:
        stop(process)
    assert process.returncode == 0
