"""Alerts as rows: one a fingerprint for where it belongs now, one a membership for its content."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select, update
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


def known_alert(row: AnyRow) -> KnownAlert:
    """Return the value of a row of `KNOWN_ALERT`."""
    return KnownAlert(
        alert=load(Alert, row.body),
        incident_id=IncidentId(row.incident_id),
        changes=load_moments(row.changes),
    )


async def upsert_links(
    connection: AsyncConnection,
    database: Database,
    links: Sequence[AlertLink],
    known: Sequence[KnownAlert],
) -> None:
    """Store memberships, each with the alert that `known` has for it.

    A link that is stored already keeps its first reason. Raises `Conflict` for a new link without
    its alert.
    """
    bodies = {_membership_of(k): dump(k.alert) for k in known}
    if not links:
        await _refresh(connection, bodies)
        return
    rows = {_key(link): _link_row(link, bodies) for link in links}
    statement = database.insert(incident_alerts)
    keys = ["incident_id", "fingerprint"]
    fresh = {"body": statement.excluded.body}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=fresh), list(rows.values())
    )
    await _refresh(connection, {key: body for key, body in bodies.items() if key not in rows})


async def _refresh(connection: AsyncConnection, bodies: Mapping[Membership, str]) -> None:
    """Replace the content of alerts that are members already."""
    if not bodies:
        return
    statement = update(incident_alerts).where(
        incident_alerts.c.incident_id == bindparam("owner"),
        incident_alerts.c.fingerprint == bindparam("member"),
    )
    rows = [
        {"owner": owner, "member": member, "body": body} for (owner, member), body in bodies.items()
    ]
    done = await connection.execute(statement, rows)
    if done.rowcount != len(rows):
        raise Conflict("an alert is said to belong to an incident that it was never linked to")


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


async def upsert_alerts(
    connection: AsyncConnection, database: Database, known: Sequence[KnownAlert]
) -> None:
    """Store where each alert belongs now; its membership is stored already."""
    if not known:
        return
    rows = [
        {
            "fingerprint": key_text(k.alert.fingerprint),
            "incident_id": key_text(k.incident_id),
            "is_firing": int(k.alert.is_firing),
            "received_at": k.alert.received_at,
            "changes": dump_moments(k.changes),
        }
        for k in known
    ]
    statement = database.insert(alerts)
    fresh = {name: statement.excluded[name] for name in rows[0] if name != "fingerprint"}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["fingerprint"], set_=fresh), rows
    )
