"""The whole record: inbox, incidents, approvals, journal, audit chain."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _incident_id(*, is_key: bool = False) -> sa.Column[str]:
    owner = sa.ForeignKey("incidents.id", ondelete="CASCADE")
    index = None if is_key else True
    return sa.Column("incident_id", NAME, owner, nullable=False, primary_key=is_key, index=index)


def _owned(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("position", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", NAME, nullable=False, unique=True),
        _incident_id(),
        *columns,
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )


def upgrade() -> None:
    _inbox()
    _incidents()
    _case_file()
    _coordination()
    _audit()


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "inbox_rejected",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("rejected_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("severity", NAME, nullable=False),
        sa.Column("assignee", NAME),
        sa.Column("ended_at", sa.BigInteger, index=True),
        sa.Column("search_text", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "incident_alerts",
        _incident_id(is_key=True),
        sa.Column("fingerprint", NAME, primary_key=True),
        sa.Column("joined_at", sa.BigInteger, nullable=False),
        sa.Column("link", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Index("ix_incident_alerts_fingerprint", "fingerprint"),
    )
    op.create_table(
        "alerts",
        sa.Column("fingerprint", NAME, primary_key=True),
        _incident_id(),
        sa.Column("is_firing", sa.Integer, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Index("ix_alerts_is_firing_received_at", "is_firing", "received_at"),
        sa.Index("ix_alerts_received_at", "received_at"),
    )


def _case_file() -> None:
    _owned("evidence", sa.Column("observed_at", sa.BigInteger, nullable=False))
    _owned("diagnoses", sa.Column("made_at", sa.BigInteger, nullable=False))
    _owned("plans")
    _owned("verifications")
    _owned("approvals", sa.Column("status", NAME, nullable=False, index=True))
    _owned(
        "executions",
        sa.Column("key", NAME, nullable=False, unique=True),
        sa.Column("state", NAME, nullable=False),
        sa.Column("intended_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_executions_state_intended_at", "executions", ["state", "intended_at"])


def _coordination() -> None:
    op.create_table(
        "target_locks",
        sa.Column("target", NAME, primary_key=True),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "work",
        _incident_id(is_key=True),
        sa.Column("due_at", sa.BigInteger, index=True),
        sa.Column("worker", NAME),
        sa.Column("leased_until", sa.BigInteger, index=True),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    names = ("incident_number", "fencing_token")
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in names])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("incident_id", NAME, index=True),
        sa.Column("hash", NAME, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("hash", NAME, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "events": 0, "hash": "0" * 64}])
