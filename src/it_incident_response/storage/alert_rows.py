"""Alerts as rows: one a fingerprint for where it belongs now, one a membership for its content."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import AlertLink
from it_incident_response.errors import Conflict
from it_incident_response.ports.store import KnownAlert
from it_incident_response.storage.database import AnyRow, Database
from it_incident_response.storage.encoding import (
    dump,
    dump_moments,
    key_text,
    load,
    load_moments,
)
from it_incident_response.storage.tables import alerts, incident_alerts

_IS_CURRENT = (incident_alerts.c.fingerprint == alerts.c.fingerprint) & (
    incident_alerts.c.incident_id == alerts.c.incident_id
)
KNOWN_ALERT = select(
    alerts.c.fingerprint, alerts.c.incident_id, alerts.c.changes, incident_alerts.c.body
).join(incident_alerts, _IS_CURRENT)
"""Query for `known_alert`."""

Membership = tuple[str, str]
"""Incident id and fingerprint, as stored."""


_CACHED_LENGTH_MAX = 4_096
_CACHED_ALERTS = 4_096
"""Alerts repeat for as long as they fire, and reading one costs more than anything else of it."""


def _alert(body: str) -> Alert:
    return load(Alert, body)


_cached_alert = lru_cache(maxsize=_CACHED_ALERTS)(_alert)


def known_alert(row: AnyRow) -> KnownAlert:
    """Return the value of a row of `KNOWN_ALERT`."""
    alert = _cached_alert(row.body) if len(row.body) <= _CACHED_LENGTH_MAX else _alert(row.body)
    return KnownAlert(
        alert=alert,
        incident_id=IncidentId(row.incident_id),
        changes=load_moments(row.changes),
    )


class AlertRows:
    """What an outcome says of alerts, as rows; made before the transaction that writes them."""

    def __init__(self, links: Sequence[AlertLink], known: Sequence[KnownAlert]) -> None:
        bodies = {_membership_of(k): dump(k.alert) for k in known}
        new = {_key(link): _link_row(link, bodies) for link in links}
        self.new_members = list(new.values())
        self.members = [
            {"incident_id": owner, "fingerprint": member, "body": body}
            for (owner, member), body in bodies.items()
            if (owner, member) not in new
        ]
        # The last word on a fingerprint counts.
        self.alerts = list({k.alert.fingerprint: _alert_row(k) for k in known}.values())

    async def write(self, connection: AsyncConnection, database: Database) -> None:
        """Store the memberships with their alerts, then where each alert belongs now.

        A link that is stored already keeps its first reason. Raises `Conflict` for an alert of an
        incident that it was never linked to.
        """
        await database.upsert(connection, incident_alerts, self.new_members, ["body"])
        found = await database.replace(connection, incident_alerts, self.members, ["body"])
        if found != len(self.members):
            raise Conflict("an alert is said to belong to an incident that it was never linked to")
        replaced = ["incident_id", "is_firing", "received_at", "changes"]
        await database.upsert(connection, alerts, self.alerts, replaced)


def _key(link: AlertLink) -> Membership:
    return key_text(link.incident_id), key_text(link.fingerprint)


def _membership_of(known: KnownAlert) -> Membership:
    return key_text(known.incident_id), key_text(known.alert.fingerprint)


def _link_row(link: AlertLink, bodies: Mapping[Membership, str]) -> dict[str, Any]:
    owner, member = _key(link)
    body = bodies.get((owner, member))
    if body is None:
        raise Conflict(f"alert {member} joins incident {owner}, but the alert itself is not given")
    return {
        "incident_id": owner,
        "fingerprint": member,
        "joined_at": link.joined_at,
        "link": dump(link),
        "body": body,
    }


def _alert_row(known: KnownAlert) -> dict[str, Any]:
    return {
        "fingerprint": key_text(known.alert.fingerprint),
        "incident_id": key_text(known.incident_id),
        "is_firing": int(known.alert.is_firing),
        "received_at": known.alert.received_at,
        "changes": dump_moments(known.changes),
    }
