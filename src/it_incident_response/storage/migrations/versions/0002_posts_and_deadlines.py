"""Posts of which there is one (leases), and when a request for approval expires."""

from datetime import UTC, datetime, timedelta

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE = 1_000


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("holder", NAME),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.drop_index("ix_work_due_at", "work")
    op.create_index("ix_work_due_at_incident_id", "work", ["due_at", "incident_id"])
    op.add_column("approvals", sa.Column("expires_at", sa.BigInteger))
    _fill_expires_at()
    op.create_index("ix_approvals_status_expires_at", "approvals", ["status", "expires_at"])


def _fill_expires_at() -> None:
    approvals = sa.table(
        "approvals",
        sa.column("position", sa.BigInteger),
        sa.column("expires_at", sa.BigInteger),
        sa.column("body", sa.Text),
    )
    connection, last = op.get_bind(), 0
    some = sa.select(approvals.c.position, approvals.c.body).order_by(approvals.c.position)
    fill = sa.update(approvals).where(approvals.c.position == sa.bindparam("at"))
    fill = fill.values(expires_at=sa.bindparam("moment"))
    while rows := connection.execute(
        some.where(approvals.c.position > last).limit(_ROWS_AT_ONCE)
    ).all():
        connection.execute(fill, [{"at": row[0], "moment": _expires_at(row[1])} for row in rows])
        last = rows[-1][0]


def _expires_at(body: str) -> int | None:
    """Return the microseconds since 1970; None for a damaged body, which nobody can approve."""
    try:
        moment = datetime.fromisoformat(orjson.loads(body)["expires_at"])
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, KeyError, TypeError):
        return None
