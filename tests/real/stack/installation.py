"""An `iir serve` that is spoken to directly, beside a real Prometheus and real hosts."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson

from tests.real.stack.host import Host
from tests.real.stack.iir import Iir, new_installation
from tests.real.stack.prometheus import Prometheus
from tests.real.stack.scene import POLICY

TOKEN = "a-token-of-the-tests"
ACTING = {"execute_real_commands": True, "require_approval": True, "dry_run": False}
LIMITS = """\
limits:
  max_actions_per_hour: 1000
  max_fleet_share: 1.0
"""
"""Some tests break a whole fleet."""
RARELY = "1h"
"""Alerts come by webhook alone; the one poll is at the start."""


def firing(name: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    """Return an alert as Alertmanager's webhook brings it."""
    now = datetime.now(UTC).isoformat()
    ended = now if status == "resolved" else "0001-01-01T00:00:00Z"
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name} fires"},
        "startsAt": "2026-11-23T00:00:00Z" if status == "resolved" else now,
        "endsAt": ended,
        "generatorURL": "",
        "fingerprint": "",
    }


def webhook(*alerts: Mapping[str, Any]) -> bytes:
    """Return the body that Alertmanager posts for these alerts."""
    return orjson.dumps(
        {
            "version": "4",
            "groupKey": "{}:{}",
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "iir",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "",
            "alerts": list(alerts),
        }
    )


def post(iir: Iir, body: bytes, **headers: str) -> httpx.Response:
    """Post a body as Alertmanager does; `headers` replace its own, `_` for `-`."""
    given = {
        "authorization": f"Bearer {iir.bearer}",
        "content-type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return httpx.post(iir.webhook_url, content=body, headers=given, timeout=60)


def tell(iir: Iir, *alerts: Mapping[str, Any]) -> None:
    """Post alerts that have to be acknowledged."""
    reply = post(iir, webhook(*alerts))
    assert reply.status_code == 200, reply.text


def rows(iir: Iir, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a query finds in the SQLite file of an installation, which may be in use."""
    path = f"file:{database(iir)}?mode=ro"
    with closing(sqlite3.connect(path, uri=True, timeout=10)) as connection:
        return connection.execute(query, values).fetchall()


def change(iir: Iir, statement: str, *values: object) -> int:
    """Change the SQLite file by hand, as somebody with access to it could; return the rows hit."""
    with closing(sqlite3.connect(database(iir), timeout=10)) as connection:
        changed = connection.execute(statement, values).rowcount
        connection.commit()
    return changed


def database(iir: Iir) -> Path:
    """Return the SQLite file."""
    return iir.folder / "data" / "iir.db"


def events(iir: Iir) -> list[str]:
    """Return the kinds of all audit events, in order."""
    found = rows(iir, "SELECT json_extract(body, '$.kind') FROM audit ORDER BY sequence")
    return [kind for (kind,) in found]


def installed(
    folder: Path,
    prometheus: Prometheus,
    *,
    host: Host | None = None,
    resolution: Mapping[str, bool] | None = None,
    **settings: Any,
) -> Iir:
    """Return an installation that reads this Prometheus and may act on this host.

    Every service is in the inventory as a host of its own (`host-of-NAME`, all at one address), so
    that their alerts are not of one cause. `settings` are added to the configuration's top level.
    """
    iir = new_installation(folder, bearer=TOKEN)
    policy = iir.folder / "policy.yaml"
    policy.write_text(POLICY + LIMITS)
    content: dict[str, Any] = {
        "use_real_data": True,
        "ports": {"logs": "none"},
        "infrastructure": {"monitoring": {"prometheus": {"url": prometheus.url}}},
        "verification": {"soak": "1s", "timeout": "20s", "poll": "0.5s"},
        "polling": {"interval": RARELY},
        "policy": str(policy),
    }
    if host is not None:
        content["ports"]["execution"] = "ssh"
        content["automation"] = {"remediation": {"ssh": _ssh(host)}}
        content["agents"] = {"resolution": dict(resolution or ACTING)}
        content["inventory"] = {"hosts": [_entry(host, name) for name in host.plan.services]}
    iir.configure({**content, **settings})
    return iir


def _ssh(host: Host) -> dict[str, str]:
    return {
        "username": host.user,
        "private_key": str(host.key),
        "known_hosts": str(host.known_hosts),
        "timeout": "10s",
    }


def _entry(host: Host, service: str) -> dict[str, Any]:
    return {
        "name": f"host-of-{service}",
        "address": host.address,
        "port": host.port,
        "services": [
            {
                "name": service,
                "unit": f"{service}.service",
                "aliases": [host.service_url(service)],
            }
        ],
    }


def down(host: Host, service: str, **labels: str) -> dict[str, Any]:
    """Return the alert that a service of the host does not answer.

    It names no address, which all services share: their alerts are of different causes.
    """
    place = {"service": service, "host": f"host-of-{service}"}
    alert = firing("ServiceDown", **place, **labels)
    expression = f'probe_success{{instance="{host.service_url(service)}"}} == 0'
    query = urlencode({"g0.expr": expression, "g0.tab": "1"})
    return {**alert, "generatorURL": f"http://prometheus.invalid/graph?{query}"}


def restarts(host: Host) -> list[str]:
    """Return the units that were restarted through sudo since the host booted."""
    journal = host.run("journalctl", "--no-pager", "-o", "cat", "-t", "sudo", "-b").stdout
    commands = [
        line.partition("COMMAND=")[2] for line in journal.splitlines() if "COMMAND=" in line
    ]
    strange = [c for c in commands if not c.startswith("/usr/bin/systemctl restart -- ")]
    assert not strange, f"unexpected commands ran as root: {strange}"
    return [command.rsplit(" ", 1)[1].removesuffix(".service") for command in commands]
