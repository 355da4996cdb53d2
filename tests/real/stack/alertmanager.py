"""A real Alertmanager that tells a webhook at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.real.stack.process import LOOPBACK, Server, free_port, require_binary


@dataclass(kw_only=True)
class Alertmanager(Server):
    """An Alertmanager server; `address` is its `host:port`."""

    url: str
    address: str

    def post_alert(
        self,
        labels: Mapping[str, str],
        *,
        annotations: Mapping[str, str] | None = None,
        ends_at: datetime | None = None,
    ) -> None:
        """Report an alert as Prometheus does; a past `ends_at` resolves it."""
        body: dict[str, Any] = {"labels": dict(labels), "annotations": dict(annotations or {})}
        if ends_at is not None:
            body["endsAt"] = ends_at.isoformat()
        reply = httpx.post(f"{self.url}/api/v2/alerts", json=[body], timeout=5)
        reply.raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """Return its alerts, silenced ones included."""
        return self._list("/api/v2/alerts")

    def silences(self) -> list[dict[str, Any]]:
        """Return its silences, expired ones included."""
        return self._list("/api/v2/silences")

    def _list(self, path: str) -> list[dict[str, Any]]:
        reply = httpx.get(f"{self.url}{path}", timeout=5).raise_for_status()
        values: list[dict[str, Any]] = reply.json()
        return values


def alertmanager_server(
    directory: Path,
    *,
    webhook_url: str | None = None,
    bearer: str | None = None,
    max_alerts: int = 0,
    group_by: tuple[str, ...] = ("...",),
) -> Alertmanager:
    """Return a server, not started, that posts each group of alerts to `webhook_url` at once.

    `bearer` is the token it sends; `max_alerts` truncates a notification (0: never); the default
    `group_by` makes a group of every alert.
    """
    binary = require_binary(
        "prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager"
    )
    directory.mkdir(parents=True, exist_ok=True)
    address = f"{LOOPBACK}:{free_port()}"
    config = directory / "alertmanager.yml"
    route = {
        "receiver": "iir",
        "group_by": list(group_by),
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    config.write_text(
        yaml.safe_dump({"route": route, "receivers": [_receiver(webhook_url, bearer, max_alerts)]})
    )
    url = f"http://{address}"
    return Alertmanager(
        name="alertmanager",
        url=url,
        address=address,
        log=directory / "alertmanager.log",
        ready=lambda: httpx.get(f"{url}/-/ready", timeout=2).is_success,
        argv=[
            binary,
            f"--config.file={config}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ],
    )


def _receiver(url: str | None, bearer: str | None, max_alerts: int) -> dict[str, Any]:
    if url is None:
        return {"name": "iir"}
    webhook: dict[str, Any] = {"url": url, "send_resolved": True, "max_alerts": max_alerts}
    if bearer is not None:
        webhook["http_config"] = {"authorization": {"credentials": bearer}}
    return {"name": "iir", "webhook_configs": [webhook]}
