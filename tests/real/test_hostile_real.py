"""Hostile bodies and hostile labels against a running `iir serve`, up to a real host."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
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
from tests.real.stack.process import LOOPBACK, Server
from tests.real.stack.prometheus import Prometheus, probe, prometheus_server
from tests.real.stack.waiting import WaitUntil, wait_until

MB = 1_000_000
MEMORY_GROWTH_MAX = 250 * MB
BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "empty": (b"", {}, 400),
    "blank": (b" \n\t", {}, 400),
    "not JSON": (b"{'alerts': []}", {}, 400),
    "cut off": (webhook(firing("A"))[:-20], {}, 400),
    "binary": (bytes(range(256)) * 1000, {}, 400),
    "not UTF-8": (webhook(firing("A")).replace(b'"A"', b'"\xff\xfe"'), {}, 400),
    "half a surrogate": (webhook(firing("A")).replace(b'"A"', b'"\\ud800"'), {}, 400),
    "deep": (b"[" * MB, {}, 400),
    "deep objects": (b'{"a":' * MB, {}, 400),
    "a list": (b"[]", {}, 400),
    "null": (b"null", {}, 400),
    "a huge number": (b'{"version": 1' + b"0" * MB + b"}", {}, 400),
    "another version": (b'{"version": "5", "alerts": []}', {}, 400),
    "no labels": (b'{"version": "4", "alerts": [{"status": "firing"}]}', {}, 400),
    "text": (webhook(firing("A")), {"content_type": "text/plain"}, 415),
    "no type": (webhook(firing("A")), {"content_type": ""}, 415),
    "a form": (b"a=b", {"content_type": "application/x-www-form-urlencoded"}, 415),
    "compressed": (webhook(firing("A")), {"content_encoding": "gzip"}, 415),
    "no credentials": (webhook(firing("A")), {"authorization": ""}, 401),
    "wrong credentials": (webhook(firing("A")), {"authorization": "Bearer guess"}, 401),
    "50 MB": (b'{"version": "4", "x": "' + b"x" * 50 * MB + b'"}', {}, 413),
}
SHELL = "$(touch /tmp/pwned) `touch /tmp/pwned`; touch /tmp/pwned | touch /tmp/pwned & \\"
PROMQL = '"} or vector(1) or up{job=~".*'
HOSTILE: dict[str, str] = {
    "shell": SHELL,
    "option": "--force -o ProxyCommand=touch${IFS}/tmp/pwned",
    "promql": PROMQL,
    "regex": ".*|^(a+)+$[[[",
    "newlines": "one\r\ntwo\n\n2026-01-01 ERROR forged log line\n",
    "quotes": 'it\'s "quoted" `all` \\over\\ {{ template }} ${jndi:ldap://x} %s %n {0}',
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b5n\x08\x08\x7f",
    "right_to_left": "\u202egnp.exe\u2066 \u05d0\u05d1\u05d2 \u200b\ufeff",
    "nul": "before\x00after",
    "markup": "[bold red]x[/] <script>alert(1)</script>",
    "long": "x" * 100_000,
}
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What may not reach a terminal: control characters but tab and newline, and reordering marks."""


@pytest.fixture(scope="module")
def watched(
    boot_host: BootHost, blackbox_exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Prometheus]]:
    """A host whose service is dead, and the Prometheus that knows."""
    host = boot_host()
    targets = [probe("blackbox", blackbox_exporter.address, host.service_url())]
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus_server(folder, scrapes=targets) as prometheus:
        wait_until(lambda: prometheus.value("probe_success") == 1, 20, "a good probe")
        host.kill_service()
        wait_until(lambda: prometheus.value("probe_success") == 0, 20, "a bad probe")
        yield host, prometheus


@pytest.fixture
def serving(watched: tuple[Host, Prometheus], tmp_path: Path) -> Iterator[tuple[Iir, Server]]:
    host, prometheus = watched
    iir = installed(tmp_path / "iir", prometheus, host=host)
    with iir.serve() as serve:
        yield iir, serve


def memory(serve: Server, what: str = "VmHWM") -> int:
    """Return the most memory that a process has had, in bytes."""
    status = Path(f"/proc/{serve.pid}/status").read_text()
    (kilobytes,) = re.findall(rf"{what}:\s+(\d+) kB", status)
    return int(kilobytes) * 1024


def is_known(iir: Iir, service: str) -> bool:
    return any(f'"{service}"' in body for (body,) in rows(iir, "SELECT body FROM incident_alerts"))


def test_bad_bodies_are_refused_and_good_ones_go_on(
    serving: tuple[Iir, Server], wait_until: WaitUntil
) -> None:
    iir, serve = serving
    before = memory(serve)
    for number, (name, (body, headers, status)) in enumerate(BODIES.items()):
        reply = post(iir, body, **headers)
        assert reply.status_code == status, (name, reply.text)
        assert reply.headers["content-type"] == "application/problem+json", name
        assert reply.json()["status"] == status
        tell(iir, firing("Good", service=f"good-{number}"))
    with ThreadPoolExecutor(6) as threads:
        big = BODIES["50 MB"][0]
        codes = list(threads.map(lambda _: post(iir, big).status_code, range(6)))
    assert codes == [413] * 6
    assert memory(serve) - before < MEMORY_GROWTH_MAX
    good = [f"good-{number}" for number in range(len(BODIES))]
    wait_until(lambda: all(is_known(iir, name) for name in good), 20, "all that was good")
    assert rows(iir, "SELECT count(*) FROM alerts") == [(len(good),)]
    assert "Traceback" not in serve.log.read_text()


def connect(iir: Iir, head: bytes) -> socket.socket:
    client = socket.create_connection((LOOPBACK, iir.port), timeout=30)
    client.sendall(head)
    return client


def test_slow_clients_hold_up_nobody_and_are_let_go(
    serving: tuple[Iir, Server], wait_until: WaitUntil
) -> None:
    iir, serve = serving
    half_a_head = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nX-Slow: "
    no_body = b"\r\n".join(
        [
            b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x",
            b"Authorization: Bearer " + iir.bearer.encode(),
            b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{",
        ]
    )
    with ExitStack() as stack:
        heads = [stack.enter_context(connect(iir, half_a_head)) for _ in range(150)]
        for _ in range(150):
            stack.enter_context(connect(iir, no_body))
        for number in range(20):
            reply = post(iir, webhook(firing("Good", service=f"good-{number}")))
            assert (reply.status_code, reply.elapsed.total_seconds() < 5) == (200, True)
        heads[0].settimeout(20)
        closed = [client.recv(1000) for client in heads]
        assert closed == [b""] * len(heads)
    wait_until(lambda: is_known(iir, "good-19"), 20, "what came meanwhile")
    assert "Traceback" not in serve.log.read_text()


def hostile_alerts(host: Host) -> list[dict[str, Any]]:
    """Return alerts about the real service with hostile text in every place that takes any."""
    alerts = []
    for name, text in HOSTILE.items():
        alert = down(host, "checkout", **{f"note_{name}": text, "description": text})
        alert["annotations"] = {"summary": f"{name}: {text}", "description": text}
        alerts.append(alert)
        if name not in ("nul", "long"):
            alerts.append(firing(text, service=text, host=text, instance=text, job=text, pod=text))
    return alerts


def test_hostile_labels_are_stored_diagnosed_and_shown_and_never_run(
    watched: tuple[Host, Prometheus], serving: tuple[Iir, Server], wait_until: WaitUntil
) -> None:
    (host, prometheus), (iir, serve) = watched, serving
    alerts = hostile_alerts(host)
    tell(iir, *alerts)

    def is_at_rest() -> bool:
        undiagnosed = "SELECT 1 FROM incidents WHERE id NOT IN (SELECT incident_id FROM diagnoses)"
        return not rows(iir, undiagnosed) and not rows(iir, "SELECT 1 FROM inbox")

    wait_until(is_at_rest, 60, "every incident to be diagnosed")
    assert rows(iir, "SELECT count(*) FROM alerts") == [(len(alerts),)]
    wait_until(lambda: rows(iir, "SELECT 1 FROM plans"), 45, "a plan for the real service")

    keys = [incident["key"] for incident in iir.read("incidents", "list")]
    looks = [(group, "list") for group in ("incidents", "alerts", "approvals")]
    looks += [("incidents", view, key) for key in keys for view in ("show", "timeline")]
    with ThreadPoolExecutor(3) as threads:
        shown = list(threads.map(lambda look: iir.command(*look), looks))
    iir.read("incidents", "show", keys[0])
    iir.read("incidents", "timeline", keys[0])
    assert [found for text in shown for found in UNSAFE.findall(text)] == []
    assert UNSAFE.findall(serve.log.read_text()) == []
    assert "Traceback" not in serve.log.read_text()
    texts = {body for (body,) in rows(iir, "SELECT body FROM incident_alerts")}
    stored = [orjson.loads(body)["labels"] for body in texts]
    for name in ("shell", "promql", "newlines", "ansi", "right_to_left", "quotes", "markup"):
        assert any(labels.get(f"note_{name}") == HOSTILE[name] for labels in stored), name

    # Nothing of it was run, here or there, and every query made of it was a valid one.
    assert not Path("/tmp/pwned").exists()
    assert not host.path("/tmp/pwned").exists()
    assert restarts(host) == []
    wait_until(
        lambda: prometheus.value('sum(prometheus_http_requests_total{handler="/api/v1/query"})'),
        10,
        "Prometheus' own count of queries",
    )
    bad = prometheus.query('prometheus_http_requests_total{handler=~"/api/v1/.*", code!~"2.."} > 0')
    assert bad == [], bad
