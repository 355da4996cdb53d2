"""The tables: indexed key columns beside the whole value as JSON text in `body`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A UTC time as whole microseconds since 1970: exact and comparable in both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return the microseconds."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return the time."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


Name = Text().with_variant(Text(collation="C"), "postgresql")
"""A key: compared byte by byte, whatever the locale of the database."""
Serial = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column declared INTEGER."""

metadata = MetaData()


def _owned(name: str, *columns: Column[Any]) -> Table:
    """Return a table of values that belong to an incident and go when it goes."""
    return Table(
        name,
        metadata,
        Column("position", Serial, primary_key=True, autoincrement=True),
        Column("id", Name, nullable=False, unique=True),
        Column(
            "incident_id",
            Name,
            ForeignKey("incidents.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        *columns,
        Column("body", Text, nullable=False),
        sqlite_autoincrement=True,
    )


inbox = Table(
    "inbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

inbox_rejected = Table(
    "inbox_rejected",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("rejected_at", Moment, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Name, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("version", BigInteger, nullable=False),
    Column("status", Name, nullable=False),
    Column("severity", Name, nullable=False),
    Column("assignee", Name),
    Column("ended_at", Moment, index=True),
    Column("search_text", Text, nullable=False),
    Column("body", Text, nullable=False),
)

incident_alerts = Table(
    "incident_alerts",
    metadata,
    Column("incident_id", Name, ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Column("fingerprint", Name, primary_key=True),
    Column("joined_at", Moment, nullable=False),
    Column("link", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_incident_alerts_fingerprint", "fingerprint"),
)
"""Memberships; `body` is the alert as last seen while it belonged to that incident."""

alerts = Table(
    "alerts",
    metadata,
    Column("fingerprint", Name, primary_key=True),
    Column(
        "incident_id",
        Name,
        ForeignKey("incidents.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("is_firing", Integer, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("changes", Text, nullable=False),
    Index("ix_alerts_is_firing_received_at", "is_firing", "received_at"),
    Index("ix_alerts_received_at", "received_at"),
)
"""Which incident each fingerprint belongs to now; the alert itself is in `incident_alerts`."""

evidence = _owned("evidence", Column("observed_at", Moment, nullable=False))
diagnoses = _owned("diagnoses", Column("made_at", Moment, nullable=False))
plans = _owned("plans")
verifications = _owned("verifications")
approvals = _owned(
    "approvals",
    Column("status", Name, nullable=False, index=True),
    Column("expires_at", Moment),
)
Index("ix_approvals_status_expires_at", approvals.c.status, approvals.c.expires_at)
executions = _owned(
    "executions",
    Column("key", Name, nullable=False, unique=True),
    Column("state", Name, nullable=False),
    Column("intended_at", Moment, nullable=False),
)
Index("ix_executions_state_intended_at", executions.c.state, executions.c.intended_at)

target_locks = Table(
    "target_locks",
    metadata,
    Column("target", Name, primary_key=True),
    Column("holder", Name, nullable=False),
    Column("until", Moment, nullable=False),
    Column("token", BigInteger, nullable=False),
)

work = Table(
    "work",
    metadata,
    Column("incident_id", Name, ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Column("due_at", Moment),
    Column("worker", Name),
    Column("leased_until", Moment, index=True),
    Index("ix_work_due_at_incident_id", "due_at", "incident_id"),
)
"""`due_at` is empty while a worker has the incident, unless it was woken meanwhile."""

leases = Table(
    "leases",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Name),
    Column("until", Moment, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
)
"""One row a post, kept when it is given back (no holder), so that its token only ever rises."""

counters = Table(
    "counters",
    metadata,
    Column("name", Name, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""`incident_number` and `fencing_token`: the last value given out."""

changes = Table(
    "changes",
    metadata,
    Column("change_id", Name, primary_key=True),
    Column("at", Moment, nullable=False, index=True),
    Column("received_at", Moment, nullable=False, index=True),
    Column("body", Text, nullable=False),
)
"""Deploys and reconfigurations that others told us of; they belong to no incident."""

audit = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("incident_id", Name, index=True),
    Column("hash", Name, nullable=False),
    Column("body", Text, nullable=False),
)
"""`body` is the canonical JSON that `hash` is the SHA-256 of; no foreign key: events stay."""

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
    Column("hash", Name, nullable=False),
)
"""One row: how many events there are and the last one's hash; locked by every append."""

OF_INCIDENT = (
    incident_alerts,
    evidence,
    diagnoses,
    plans,
    approvals,
    executions,
    verifications,
)
"""The tables with a `body` that belong to an incident."""
