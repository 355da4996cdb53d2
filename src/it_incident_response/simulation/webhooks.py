"""Posts webhooks, Alertmanager's payload version 4, when the world's alerts change."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from it_incident_response.domain.alert import Alert
from it_incident_response.simulation.alertmanager_wire import RECEIVER
from it_incident_response.simulation.ports_adapter import SimulatedSources
from it_incident_response.simulation.wire_replies import timestamp
from it_incident_response.simulation.world import SimulatedWorld

EXTERNAL_URL = "http://alertmanager.shop.example:9093"
_NEVER = "0001-01-01T00:00:00Z"
"""What Alertmanager writes as the end of a firing alert."""


@dataclass
class Notifier:
    """Tells one receiver about alerts, grouped by name, as an Alertmanager would.

    A group that the receiver did not accept with 2xx is sent again at the next `notify`.
    """

    world: SimulatedWorld
    sources: SimulatedSources
    url: str
    http: httpx.AsyncClient
    _told: dict[str, Alert] = field(default_factory=dict)
    """Fingerprint to the alert that the receiver believes to fire."""

    async def notify(self) -> Sequence[str]:
        """Send what has changed; return the names of groups that could not be delivered."""
        firing = {a.fingerprint: a for a in await self.sources.firing_alerts()}
        # A silenced alert is neither sent nor reported as resolved.
        holding = {alert.fingerprint for alert in self.world.firing()}
        ended = {key: alert for key, alert in self._told.items() if key not in holding}
        fresh = {key for key in firing if key not in self._told}
        changed = {firing[key].name for key in fresh} | {a.name for a in ended.values()}
        failed = []
        for name in sorted(changed):
            active = [alert for alert in firing.values() if alert.name == name]
            over = [self._resolved(alert) for alert in ended.values() if alert.name == name]
            if await self._post(name, [*active, *over]):
                self._told.update({alert.fingerprint: alert for alert in active})
                for alert in over:
                    self._told.pop(alert.fingerprint, None)
            else:
                failed.append(name)
        return failed

    def _resolved(self, alert: Alert) -> Alert:
        since = self.world.resolved_since(alert.starts_at)
        return next((a for a in reversed(since) if a.fingerprint == alert.fingerprint), alert)

    async def _post(self, name: str, alerts: Sequence[Alert]) -> bool:
        try:
            reply = await self.http.post(
                self.url,
                json=payload(name, alerts),
                headers={"User-Agent": "Alertmanager/0.27.0 (simulated)"},
            )
        except httpx.TransportError:
            return False
        return reply.is_success


def payload(name: str, alerts: Sequence[Alert]) -> dict[str, Any]:
    """Return the body of one notification about a group of alerts."""
    group = {"alertname": name}
    return {
        "receiver": RECEIVER,
        "status": "firing" if any(alert.is_firing for alert in alerts) else "resolved",
        "alerts": [_alert(alert) for alert in alerts],
        "groupLabels": group,
        "commonLabels": _common([alert.labels for alert in alerts]),
        "commonAnnotations": _common([alert.annotations for alert in alerts]),
        "externalURL": EXTERNAL_URL,
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status.value,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": timestamp(alert.starts_at),
        "endsAt": timestamp(alert.ends_at) if alert.ends_at else _NEVER,
        "generatorURL": alert.generator_url or "",
        "fingerprint": alert.fingerprint,
    }


def _common(texts: Sequence[Any]) -> dict[str, str]:
    first, *rest = texts
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in rest)}
