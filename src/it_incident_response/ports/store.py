"""Our own record: inbox, incidents, evidence, approvals, the action journal and the audit trail.

Every writing method takes the audit events that explain it and stores both in one transaction.
All raise `StoreUnavailable` when the database cannot be reached or stays locked.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from it_incident_response.domain.alert import Alert
from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.diagnosis import Diagnosis
from it_incident_response.domain.evidence import Evidence
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import AlertLink, Incident, IncidentStatus
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.plan import Plan
from it_incident_response.domain.severity import Severity
from it_incident_response.ports.audit import AuditTrail, ChainReport, Events
from it_incident_response.ports.changes import ChangeStore
from it_incident_response.ports.journal import Journal, TargetLock
from it_incident_response.ports.work import Lease, Leases, WaitingWork, WorkQueue

__all__ = [
    "ApprovalStore",
    "AuditTrail",
    "ChainReport",
    "ChangeStore",
    "Events",
    "Inbox",
    "InboxItem",
    "IncidentFilter",
    "IncidentStore",
    "IngestOutcome",
    "Ingestion",
    "Journal",
    "KnownAlert",
    "Lease",
    "Leases",
    "PruneReport",
    "RejectedItem",
    "Retention",
    "Store",
    "TargetLock",
    "WaitingWork",
    "WorkQueue",
]


class InboxItem(Value):
    """One accepted request body, kept until its alerts are in the store."""

    id: int
    source: str
    """Which reader understands it: `alertmanager`, `alerts` (a list of alerts)..."""
    body: bytes
    received_at: UtcTime


class RejectedItem(Value):
    """A body that no reader understood, kept for people to look at until retention removes it."""

    id: int
    """The one it had in the inbox."""
    source: str
    reason: str
    received_at: UtcTime
    rejected_at: UtcTime
    size_bytes: int
    """Of the whole body."""
    body: bytes
    """Its beginning, at most 64 KiB."""


class Inbox(Protocol):
    """Where alerts land durably before anything else happens to them."""

    async def accept(self, items: Sequence[tuple[str, bytes]], received_at: UtcTime) -> None:
        """Store (source, body) pairs in one durable transaction; on return none can be lost."""
        ...

    async def inbox_depth(self) -> int:
        """Return how many bodies wait."""
        ...

    async def inbox_since(self) -> UtcTime | None:
        """Return when the body that waits longest was received; None if none waits."""
        ...

    async def rejected_items(self, limit: int = 100) -> Sequence[RejectedItem]:
        """Return bodies that no reader understood, the last rejected first."""
        ...


class KnownAlert(Value):
    """An alert as stored, and what became of it."""

    alert: Alert
    incident_id: IncidentId
    changes: tuple[UtcTime, ...] = ()
    """When it last began or ceased to fire, oldest first, at most 20: the input of flapping."""


class IngestOutcome(Value):
    """What the correlation of some alerts changes, written as one."""

    alerts: tuple[KnownAlert, ...] = ()
    incidents: tuple[Incident, ...] = ()
    """New and changed ones, with the version they had when read."""
    links: tuple[AlertLink, ...] = ()
    events: tuple[AuditEvent, ...] = ()
    wake: tuple[IncidentId, ...] = ()
    """Incidents that have to be looked at now."""
    rejected: tuple[tuple[int, str], ...] = ()
    """Ids of items that cannot be read, each with the reason: set aside, not ingested."""


class Ingestion(Protocol):
    """One exclusive transaction: across all processes only one is open at a time.

    Nobody else creates or changes incidents or alerts meanwhile; bodies go on being accepted.
    """

    items: Sequence[InboxItem]
    """The oldest waiting bodies; read completely when `commit` returns."""

    async def known_alerts(self, fingerprints: Sequence[str]) -> Mapping[str, KnownAlert]:
        """Return what is stored under these fingerprints."""
        ...

    async def candidates(self, since: UtcTime) -> Sequence[Incident]:
        """Return every open incident, and those resolved or closed after `since`."""
        ...

    async def next_incident_number(self) -> int:
        """Return the next unused incident number, from 1."""
        ...

    async def commit(self, outcome: IngestOutcome) -> None:
        """Write the outcome and take the items out of the inbox, atomically."""
        ...


class IncidentFilter(Value):
    """Which incidents to list, newest first."""

    statuses: tuple[IncidentStatus, ...] = ()
    severities: tuple[Severity, ...] = ()
    text: str | None = None
    """Found in title, description, key or affected systems, case-insensitively."""
    assignee: str | None = None
    limit: int = 100
    before: IncidentId | None = None
    """Only older ones: the last id of the page before."""


class IncidentStore(Protocol):
    """Incidents and what belongs to them."""

    def ingestion(self, limit: int) -> AbstractAsyncContextManager[Ingestion]:
        """Open the exclusive ingest transaction over at most `limit` inbox items.

        Leaving the block without `commit` rolls everything back.
        """
        ...

    async def incident(self, id_or_key: str) -> Incident:
        """Return one incident by id or key (`INC-000123`); raises `NotFound`."""
        ...

    async def incidents(self, which: IncidentFilter) -> Sequence[Incident]:
        """Return the matching incidents, newest first."""
        ...

    async def save_incident(
        self, incident: Incident, events: Events, *, wake_at: UtcTime | None = None
    ) -> Incident:
        """Store a changed incident whose `version` is the one read; returns it with the next.

        `wake_at` makes it due then, in the same transaction. Raises `Conflict` if it was changed
        meanwhile.
        """
        ...

    async def create_incident(
        self, incident: Incident, events: Events, *, wake_at: UtcTime | None = None
    ) -> Incident:
        """Store an incident made by hand; its `key` is replaced by the next free one.

        `wake_at` makes it due then, in the same transaction.
        """
        ...

    async def alerts_of(self, incident_id: IncidentId) -> Sequence[tuple[AlertLink, Alert]]:
        """Return the alerts of an incident with the reason each joined, oldest first."""
        ...

    async def alerts(self, *, firing_only: bool, limit: int) -> Sequence[KnownAlert]:
        """Return alerts, the most recently received first."""
        ...

    async def add_evidence(self, evidence: Sequence[Evidence], events: Events) -> None:
        """Store evidence."""
        ...

    async def evidence_of(self, incident_id: IncidentId) -> Sequence[Evidence]:
        """Return all evidence of an incident, oldest first."""
        ...

    async def add_diagnosis(self, diagnosis: Diagnosis, events: Events) -> None:
        """Store a diagnosis."""
        ...

    async def diagnoses_of(self, incident_id: IncidentId) -> Sequence[Diagnosis]:
        """Return all diagnoses of an incident, oldest first."""
        ...


class ApprovalStore(Protocol):
    """Plans and the decisions on them."""

    async def add_plan(self, plan: Plan, approval: Approval | None, events: Events) -> None:
        """Store a plan and the request to approve it; voids the incident's pending requests."""
        ...

    async def plan(self, plan_id: str) -> Plan:
        """Return a plan; raises `NotFound`."""
        ...

    async def plans_of(self, incident_id: IncidentId) -> Sequence[Plan]:
        """Return all plans of an incident, oldest first."""
        ...

    async def approval(self, approval_id: str) -> Approval:
        """Return a request by its id, or by a unique beginning of 8 or more characters.

        Raises `NotFound`, also when the beginning is not unique.
        """
        ...

    async def approvals(
        self, *, incident_id: IncidentId | None = None, status: ApprovalStatus | None = None
    ) -> Sequence[Approval]:
        """Return matching requests, newest first."""
        ...

    async def overdue_approvals(self, now: UtcTime) -> Sequence[Approval]:
        """Return pending requests whose `expires_at` has come, the longest overdue first."""
        ...

    async def decide(
        self,
        approval: Approval,
        events: Events,
        *,
        expected: ApprovalStatus = ApprovalStatus.PENDING,
    ) -> None:
        """Replace a request whose status is `expected` by its decided form: compare-and-set.

        In the same transaction the incident becomes due at `decided_at`. Only a revocation expects
        another status than pending: `approved` becomes `voided`. Raises `Conflict`, saying what was
        decided and by whom, if the status is another.
        """
        ...

    async def note_on_approval(
        self, approval: Approval, events: Events, *, expected: Approval
    ) -> None:
        """Replace a request that still is what `expected` says, for what decides nothing.

        Only `notices` may differ. Raises `Conflict` if it was decided or noted on meanwhile.
        """
        ...


class PruneReport(Value):
    """What retention removed."""

    incidents: int
    alerts: int
    evidence: int
    inbox_rejected: int
    changes: int = 0
    """Deploys and the like that were told us: too old, or more than are kept."""
    bytes_before: int
    bytes_after: int


class Retention(Protocol):
    """Bounded growth."""

    async def prune(
        self, *, older_than: UtcTime, max_bytes: int | None, now: UtcTime, dry_run: bool
    ) -> PruneReport:
        """Remove closed and resolved incidents older than `older_than`, with all that is theirs.

        Then, while the database is larger than `max_bytes`, the oldest ended ones. Open incidents
        are never removed, nor those with an alert that fired after `older_than`. Evidence and
        diagnoses of kept incidents go when they are older and superseded; so do old rejected
        bodies, and changes that are old or too many. What is removed is one audit
        event; audit events stay.
        """
        ...

    async def database_size(self) -> int:
        """Return the bytes in use: what `max_bytes` is compared with."""
        ...

    async def stats(self) -> Mapping[str, int]:
        """Return how much is stored, by name: counts, and sizes named `..._bytes`."""
        ...


class Store(
    Inbox,
    IncidentStore,
    WorkQueue,
    Leases,
    ApprovalStore,
    Journal,
    AuditTrail,
    ChangeStore,
    Retention,
    Protocol,
):
    """The whole store, as one implementation offers it."""

    async def open(self) -> None:
        """Connect and migrate the schema forward; raises `StoreUnavailable`."""
        ...

    async def close(self) -> None:
        """Release every connection."""
        ...
