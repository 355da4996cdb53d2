"""Values that belong to an incident, all stored alike: id, incident, a few keys, the body."""

from typing import Any, TypeVar

from sqlalchemy import Table, select

from it_incident_response.domain.approval import Approval
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import Evidence
from it_incident_response.domain.execution import Execution
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.verification import Verification
from it_incident_response.storage.database import Database
from it_incident_response.storage.encoding import dump, key_text, load

V = TypeVar("V", bound=Value)


OwnedValue = Approval | Diagnosis | Evidence | Execution | Plan | Verification
"""What has an id of its own and that of its incident."""


def owned_row(value: OwnedValue, **columns: Any) -> dict[str, Any]:
    """Return the row that stores a value."""
    return {
        "id": key_text(value.id),
        "incident_id": key_text(value.incident_id),
        "body": dump(value),
        **columns,
    }


async def owned_by(
    database: Database, table: Table, model: type[V], incident_id: IncidentId
) -> list[V]:
    """Return an incident's values in `table`, in the order they were stored."""
    query = select(table.c.body).where(table.c.incident_id == key_text(incident_id))
    async with database.read() as connection:
        bodies = (await connection.scalars(query.order_by(table.c.position))).all()
    return [load(model, body) for body in bodies]
