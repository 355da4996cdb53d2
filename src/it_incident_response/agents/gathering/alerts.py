"""Alerts as evidence."""

from collections.abc import Sequence

from it_incident_response.agents.gathering.seen import Seen
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.evidence import AlertFact

ALERTS_CITED = 100
"""Alerts that become evidence; the worst and newest first."""


def alerts_seen(alerts: Sequence[Alert]) -> list[Seen]:
    """Return the worst alerts as observations."""
    worst = sorted(alerts, key=lambda a: (not a.is_firing, -a.severity.rank, a.starts_at))
    return [
        Seen(
            source=alert.source,
            summary=f"alert {alert.name} {alert.status} since {alert.starts_at:%H:%M:%S} UTC"
            + (f": {text}" if (text := _annotation(alert)) else ""),
            finding=AlertFact(
                fingerprint=alert.fingerprint,
                name=alert.name,
                entities=alert.entities,
                labels=alert.labels,
                annotations=alert.annotations,
                starts_at=alert.starts_at,
                is_firing=alert.is_firing,
            ),
            link=alert.generator_url,
        )
        for alert in worst[:ALERTS_CITED]
    ]


def _annotation(alert: Alert) -> str:
    return (alert.annotations.get("summary") or alert.annotations.get("description") or "")[:300]
