"""Real exporters on this machine: node_exporter and blackbox_exporter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from tests.real.stack.process import LOOPBACK, Server, free_port, require_binary


@dataclass(kw_only=True)
class Exporter(Server):
    """An exporter; `address` is its `host:port`."""

    address: str


def node_exporter(
    directory: Path, *, collectors: Sequence[str] = ("cpu", "filesystem", "meminfo", "loadavg")
) -> Exporter:
    """Return a node_exporter, not started, with these collectors only."""
    binary = require_binary(
        "prometheus-node-exporter", "node_exporter", package="prometheus-node-exporter"
    )
    enabled = ["--collector.disable-defaults", *(f"--collector.{name}" for name in collectors)]
    return _exporter("node_exporter", directory, [binary, *enabled])


def blackbox_exporter(directory: Path) -> Exporter:
    """Return a blackbox_exporter, not started, whose module `http_2xx` waits one second."""
    binary = require_binary(
        "prometheus-blackbox-exporter", "blackbox_exporter", package="prometheus-blackbox-exporter"
    )
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "blackbox.yml"
    http = {"preferred_ip_protocol": "ip4", "follow_redirects": False}
    module = {"prober": "http", "timeout": "1s", "http": http}
    config.write_text(yaml.safe_dump({"modules": {"http_2xx": module}}))
    return _exporter("blackbox_exporter", directory, [binary, f"--config.file={config}"])


def _exporter(name: str, directory: Path, argv: Sequence[str]) -> Exporter:
    directory.mkdir(parents=True, exist_ok=True)
    address = f"{LOOPBACK}:{free_port()}"
    return Exporter(
        name=name,
        address=address,
        log=directory / f"{name}.log",
        argv=[*argv, f"--web.listen-address={address}"],
        ready=lambda: httpx.get(f"http://{address}/metrics", timeout=2).is_success,
    )
