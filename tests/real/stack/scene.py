"""The whole scene of the proof: a host, the monitoring that watches it, and `iir serve`."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.stack.alertmanager import Alertmanager, alertmanager_server
from tests.real.stack.exporters import Exporter, blackbox_exporter
from tests.real.stack.host import Host
from tests.real.stack.iir import Iir, new_installation
from tests.real.stack.process import Server
from tests.real.stack.prometheus import Prometheus, Rule, alert, probe, prometheus_server, scrape

SERVICE_DOWN: Rule = alert(
    "ServiceDown",
    "probe_success == 0",
    severity="critical",
    summary="{{ $labels.instance }} does not answer",
)
DISK_ALMOST_FULL: Rule = alert(
    "DiskAlmostFull",
    'node_filesystem_avail_bytes{mountpoint="/srv/data"}'
    ' / node_filesystem_size_bytes{mountpoint="/srv/data"} < 0.1',
    severity="warning",
    summary="{{ $labels.mountpoint }} of {{ $labels.instance }} is almost full",
)
CLEANABLE = "/srv/data/cache"
POLICY = """\
version: 1
roles:
  approver: [alice]
rules:
  - name: read-only
    when: {risk_at_most: read_only}
    effect: auto
  - name: any-change
    effect: approve
    approvers: [approver]
    reason: Every change needs an approver's consent.
"""
"""Alice, as whom the commands run, may approve everything; nobody else anything."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that plays; `serve` is the running `iir serve`."""

    host: Host
    prometheus: Prometheus
    alertmanager: Alertmanager
    blackbox: Exporter
    iir: Iir
    serve: Server


@contextmanager
def watched_host(
    folder: Path, host: Host, *, rules: Sequence[Rule] = (SERVICE_DOWN, DISK_ALMOST_FULL)
) -> Iterator[Scene]:
    """Watch a host with blackbox and node exporter, and have `iir serve` take the alerts.

    Real changes are on, each after approval; verification is quick: one second of soak.
    """
    bearer = secrets.token_urlsafe(16)
    iir = new_installation(folder / "iir", bearer=bearer)
    with ExitStack() as stack:
        blackbox = stack.enter_context(blackbox_exporter(folder / "blackbox"))
        alertmanager = stack.enter_context(
            alertmanager_server(folder / "alertmanager", webhook_url=iir.webhook_url, bearer=bearer)
        )
        prometheus = prometheus_server(
            folder / "prometheus",
            scrapes=[
                probe("blackbox", blackbox.address, host.service_url()),
                scrape("node", host.node_exporter),
            ],
            rules=rules,
            alertmanager=alertmanager.address,
        )
        stack.enter_context(prometheus)
        policy = iir.folder / "policy.yaml"
        policy.write_text(POLICY)
        settings = configuration(host, prometheus, alertmanager)
        iir.configure({**settings, "policy": str(policy)})
        serve = stack.enter_context(iir.serve())
        yield Scene(
            host=host,
            prometheus=prometheus,
            alertmanager=alertmanager,
            blackbox=blackbox,
            iir=iir,
            serve=serve,
        )


def configuration(host: Host, prometheus: Prometheus, alertmanager: Alertmanager) -> dict[str, Any]:
    """Return what an operator would write to have this host looked after."""
    return {
        "use_real_data": True,
        "ports": {"execution": "ssh", "logs": "none"},
        "infrastructure": {
            "monitoring": {
                "prometheus": {"url": prometheus.url, "alert_manager_url": alertmanager.url}
            }
        },
        "automation": {
            "remediation": {
                "ssh": {
                    "username": host.user,
                    "private_key": str(host.key),
                    "known_hosts": str(host.known_hosts),
                    "timeout": "10s",
                }
            }
        },
        "agents": {
            "resolution": {
                "execute_real_commands": True,
                "require_approval": True,
                "dry_run": False,
            }
        },
        "inventory": {"hosts": [_inventory_entry(host)]},
        "verification": {"soak": "1s", "timeout": "20s", "poll": "0.5s"},
        "polling": {"interval": "2s"},
    }


def _inventory_entry(host: Host) -> dict[str, Any]:
    return {
        "name": host.plan.name,
        "address": host.address,
        "port": host.port,
        "aliases": [host.node_exporter],
        "services": [
            {"name": name, "unit": f"{name}.service", "aliases": [host.service_url(name)]}
            for name in host.plan.services
        ],
        "cleanable_paths": [CLEANABLE],
    }
