"""What retention removes of incidents that stay: old diagnoses, and evidence nobody cites now.

An incident may stay open, or flap, for months and be diagnosed every minute; without this its
record would grow without bound.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.plan import Plan
from it_incident_response.storage.database import ROWS_AT_ONCE, AnyRow, Database, rows_in
from it_incident_response.storage.encoding import load
from it_incident_response.storage.tables import diagnoses, evidence, incidents, plans
from it_incident_response.storage.victims import ROW_OVERHEAD_BYTES


@dataclass
class Superseded:
    """Records of one incident that a later diagnosis has replaced."""

    incident_id: str
    diagnoses: list[str]
    evidence: list[str]
    size_bytes: int = 0


async def superseded_records(
    connection: AsyncConnection, database: Database, older_than: datetime, going: set[str]
) -> list[Superseded]:
    """Return the superseded records of every incident that is not `going` as a whole."""
    old_evidence = select(evidence.c.incident_id).where(evidence.c.observed_at < older_than)
    old_diagnoses = select(diagnoses.c.incident_id).where(diagnoses.c.made_at < older_than)
    owners = (await connection.scalars(old_evidence.union(old_diagnoses))).all()
    parts = []
    for owner in sorted(set(owners) - going):
        part = await _superseded_of(connection, owner, older_than)
        if part.diagnoses or part.evidence:
            part.size_bytes = await _weight(connection, database, evidence, part.evidence)
            part.size_bytes += await _weight(connection, database, diagnoses, part.diagnoses)
            parts.append(part)
    return parts


async def _superseded_of(
    connection: AsyncConnection, owner: str, older_than: datetime
) -> Superseded:
    query = select(diagnoses.c.id, diagnoses.c.made_at, diagnoses.c.body)
    made = list(
        await connection.execute(
            query.where(diagnoses.c.incident_id == owner).order_by(diagnoses.c.position)
        )
    )
    planned = await connection.scalars(select(plans.c.body).where(plans.c.incident_id == owner))
    relied_on = {load(Plan, body).diagnosis_id for body in planned.all()}
    kept = [row for row in made if row is made[-1] or _stays(row, older_than, relied_on)]
    cited = {cited for row in kept for cited in _cited(load(Diagnosis, row.body))}
    seen = select(evidence.c.id).where(
        evidence.c.incident_id == owner, evidence.c.observed_at < older_than
    )
    old = (await connection.scalars(seen)).all()
    return Superseded(
        incident_id=owner,
        diagnoses=[row.id for row in made if row not in kept],
        evidence=[item for item in old if item not in cited],
    )


def _stays(row: AnyRow, older_than: datetime, relied_on: set[str]) -> bool:
    return bool(row.made_at >= older_than or row.id in relied_on)


def _cited(diagnosis: Diagnosis) -> set[str]:
    hypotheses = diagnosis.hypotheses
    return set(diagnosis.evidence_ids).union(
        *(hypothesis.supporting for hypothesis in hypotheses),
        *(hypothesis.contradicting for hypothesis in hypotheses),
    )


async def _weight(
    connection: AsyncConnection, database: Database, table: Table, ids: list[str]
) -> int:
    sizes = await rows_in(connection, select(database.stored_bytes(table.c.body)), table.c.id, ids)
    return sum(row[0] + ROW_OVERHEAD_BYTES for row in sizes)


async def remove_superseded(connection: AsyncConnection, part: Superseded) -> None:
    """Remove an incident's superseded records; what was cited anew meanwhile stays."""
    # A diagnosis being stored now waits for this lock, by its foreign key, or is seen below.
    row = select(incidents.c.id).where(incidents.c.id == part.incident_id).with_for_update()
    await connection.execute(row)
    newest = select(diagnoses.c.body).where(diagnoses.c.incident_id == part.incident_id)
    newest = newest.order_by(diagnoses.c.position.desc()).limit(1)
    last = (await connection.scalars(newest)).first()
    cited = _cited(load(Diagnosis, last)) if last is not None else set()
    for table, ids in (
        (evidence, [item for item in part.evidence if item not in cited]),
        (diagnoses, part.diagnoses),
    ):
        for start in range(0, len(ids), ROWS_AT_ONCE):
            portion = table.c.id.in_(ids[start : start + ROWS_AT_ONCE])
            await connection.execute(delete(table).where(portion))
