"""What needs an operator: stuck, in doubt, overdue, untaken; each with the command that helps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from it_incident_response.domain.approval import Approval, ApprovalStatus
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.incident import Incident, IncidentStatus
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.errors import NotFound
from it_incident_response.ports import IncidentFilter, Lease, Store, TargetLock, WaitingWork
from it_incident_response.safety.reminders import NoticeSettings, is_exhausted
from it_incident_response.workflow.standing import (
    EngineLook,
    EngineState,
    EngineStatus,
    PendingActivity,
    clock_time,
    told_so_far,
)

T = TypeVar("T")

ENGINE_POST = "engine"
"""Name of the lease of the process that runs the embedded engine."""
PAGE = 1000
REJECTED_COUNTED = 1000
_OPEN = tuple(status for status in IncidentStatus if status.is_open)
_HOLDER = "incident "


class OpsKind(StrEnum):
    """What is the matter; in the order in which it is shown."""

    STUCK = "stuck"
    """It ought to move and does not."""
    IN_DOUBT = "in_doubt"
    """Nobody knows whether a step took effect."""
    OVERDUE = "overdue"
    """A plan waits for a decision past its time, or after everybody was told."""
    UNTAKEN = "untaken"
    """It was handed to a human, and nobody has it."""
    UNFINISHED = "unfinished"
    """A step was started and has not ended: it runs, or its worker died."""
    LOCKED = "locked"
    """A target on which nobody else may act."""
    INBOX = "inbox"
    """Alerts were accepted and are not taken in."""
    REJECTED = "rejected"
    """Bodies that nobody could read."""


class OpsIssue(Value):
    """One thing to look at."""

    kind: OpsKind
    what: str
    advice: str
    """What to do: the exact command, or what to check."""
    incident: str | None = None
    """Key."""
    since: UtcTime | None = None


class OpsReport(Value):
    """Everything that needs an operator, the most pressing kinds first."""

    at: UtcTime
    issues: tuple[OpsIssue, ...] = ()
    open_incidents: int = 0
    waiting_for_approval: int = 0
    inbox_depth: int = 0
    inbox_since: UtcTime | None = None
    is_complete: bool = True
    """False if there was more of a kind than is listed."""

    def of(self, kinds: Iterable[OpsKind]) -> tuple[OpsIssue, ...]:
        """Return the issues of these kinds."""
        wanted = set(kinds)
        return tuple(issue for issue in self.issues if issue.kind in wanted)


class OpsLimits(Value):
    """From when on something is worth a line."""

    unclaimed_s: float = 60.0
    """An incident that is due and that no worker takes."""
    inbox_s: float = 60.0
    """Of the body that waits longest."""
    attempts: int = 5
    """Of an activity that keeps failing."""
    listed: int = 100
    """Of one kind."""
    asked: int = 200
    """Incidents that the engine is asked about: those that ought to move."""


async def ops_report(
    store: Store,
    now: datetime,
    *,
    notices: NoticeSettings | None = None,
    engine: EngineLook | None = None,
    machine_time: datetime | None = None,
    limits: OpsLimits | None = None,
) -> OpsReport:
    """Return what needs an operator at `now`.

    `notices` are the reminders in force. `engine` is asked only about incidents that ought to
    move. `machine_time` is what leases of posts are held against; it differs from `now` only in
    a simulated world.
    """
    look = _Look(store, now, limits or OpsLimits(), await _open_incidents(store))
    pending = await store.approvals(status=ApprovalStatus.PENDING)
    issues = [
        *look.post(await store.lease(ENGINE_POST), machine_time or now),
        *await look.backlog(),
        *await look.engine(engine, {approval.incident_id for approval in pending}),
        *await look.in_doubt(),
        *await look.overdue(pending, notices or NoticeSettings()),
        *look.untaken(),
        *await look.unfinished(),
        *await look.locked(),
        *await look.inbox(),
        *await look.rejected(),
    ]
    return OpsReport(
        at=now,
        issues=tuple(issues),
        open_incidents=len(look.open),
        waiting_for_approval=len(pending),
        inbox_depth=await store.inbox_depth(),
        inbox_since=await store.inbox_since(),
        is_complete=not look.has_more,
    )


async def _open_incidents(store: Store) -> dict[IncidentId, Incident]:
    found: dict[IncidentId, Incident] = {}
    which = IncidentFilter(statuses=_OPEN, limit=PAGE)
    while page := await store.incidents(which):
        found |= {incident.id: incident for incident in page}
        which = which.model_copy(update={"before": page[-1].id})
    return found


class _Look:
    """One look at the record; every method returns the issues of one sort."""

    def __init__(
        self,
        store: Store,
        now: datetime,
        limits: OpsLimits,
        open_: Mapping[IncidentId, Incident],
    ) -> None:
        self._store = store
        self._now = now
        self._limits = limits
        self.open = open_
        self.has_more = False
        self._keys = {incident_id: incident.key for incident_id, incident in open_.items()}

    def post(self, lease: Lease | None, machine_time: datetime) -> Iterator[OpsIssue]:
        """Whoever ran the engine is gone and did not say so."""
        if lease is not None and lease.until <= machine_time:
            yield OpsIssue(
                kind=OpsKind.STUCK,
                what=f"{lease.holder} ran the engine and is gone, and nobody took its place",
                advice="start `iir serve`, or look why it does not run",
                since=lease.until,
            )

    async def backlog(self) -> list[OpsIssue]:
        rows = await self._store.work_backlog(self._now, limit=self._limits.listed + 1)
        late = self._now - timedelta(seconds=self._limits.unclaimed_s)
        return [await self._unclaimed(row) for row in self._cut(rows) if row.since <= late]

    async def _unclaimed(self, row: WaitingWork) -> OpsIssue:
        gone = f"; {row.worker} had it and is gone" if row.worker else ""
        return OpsIssue(
            kind=OpsKind.STUCK,
            what=f"it is due and no worker takes it{gone}",
            advice="is `iir serve` or `iir worker` running, and is its engine? see its log",
            incident=await self._key(row.incident_id),
            since=row.since,
        )

    async def engine(
        self, engine: EngineLook | None, parked: set[IncidentId]
    ) -> Sequence[OpsIssue]:
        """Ask the engine about what ought to move; None: it is not asked."""
        if engine is None:
            return ()
        moving = [
            i.id
            for i in self.open.values()
            if i.id not in parked and not i.halt and not i.escalation
        ]
        self.has_more |= len(moving) > self._limits.asked
        states = await engine(moving[: self._limits.asked])
        if states and all(s.status is EngineStatus.UNREACHABLE for s in states.values()):
            return (
                OpsIssue(
                    kind=OpsKind.STUCK,
                    what="the engine cannot be reached: nothing moves until it is back",
                    advice="see `temporal.address` (`iir config show`), or the log of `iir serve`",
                ),
            )
        return [issue for i, state in states.items() for issue in self._of_workflow(i, state)]

    def _of_workflow(self, incident_id: IncidentId, state: EngineState) -> Iterator[OpsIssue]:
        key = self._keys.get(incident_id, incident_id)
        if state.status in (EngineStatus.ABSENT, EngineStatus.ENDED):
            yield OpsIssue(
                kind=OpsKind.STUCK,
                what="it is open, and no workflow carries it",
                advice=f"iir incidents wake {key}",
                incident=key,
            )
        for activity in state.pending:
            if activity.attempt >= self._limits.attempts and activity.last_failure:
                yield self._retrying(key, activity)

    def _retrying(self, key: str, activity: PendingActivity) -> OpsIssue:
        again = (
            f"; tries again at {clock_time(activity.next_attempt_at, self._now)}"
            if activity.next_attempt_at
            else ""
        )
        return OpsIssue(
            kind=OpsKind.STUCK,
            what=f"{activity.activity} failed {activity.attempt - 1} times: "
            f"{(activity.last_failure or '')[:300]}{again}",
            advice=f"iir incidents show {key}; to do it by hand: iir incidents take-over {key}",
            incident=key,
        )

    async def in_doubt(self) -> list[OpsIssue]:
        rows = await self._store.executions(states=[StepState.IN_DOUBT])
        return [await self._doubtful(row) for row in self._cut(rows)]

    async def _doubtful(self, row: Execution) -> OpsIssue:
        key = await self._key(row.incident_id)
        error = f": {row.error[:300]}" if row.error else ""
        return OpsIssue(
            kind=OpsKind.IN_DOUBT,
            what=f"nobody knows whether step {row.step} ({row.action.kind}) took effect on "
            f"{row.host or row.target}{error}",
            advice=f"look at the target, then: iir incidents settle {key} {row.step} "
            "--took-effect --reason ... (or --no-effect)",
            incident=key,
            since=row.started_at or row.intended_at,
        )

    async def overdue(self, pending: Sequence[Approval], notices: NoticeSettings) -> list[OpsIssue]:
        past = [a for a in pending if a.expires_at <= self._now]
        spent = [a for a in pending if is_exhausted(a, self._now, notices)]
        found = [
            await self._undecided(
                a,
                f"plan {a.plan_digest[:12]} was to be denied at "
                f"{clock_time(a.expires_at, self._now)}, and is not",
                "no worker carries it: is `iir serve` or `iir worker` running?",
            )
            for a in self._cut(past)
        ]
        return found + [
            await self._undecided(
                a,
                f"plan {a.plan_digest[:12]} waits for a decision ({told_so_far(a.notices)}); "
                f"denied at {clock_time(a.expires_at, self._now)}",
                f"iir approvals show {a.id}; then iir approvals approve {a.id} (or reject)",
            )
            for a in self._cut(spent)
        ]

    async def _undecided(self, approval: Approval, what: str, advice: str) -> OpsIssue:
        return OpsIssue(
            kind=OpsKind.OVERDUE,
            what=what,
            advice=advice,
            incident=await self._key(approval.incident_id),
            since=approval.requested_at,
        )

    def untaken(self) -> list[OpsIssue]:
        waiting = [i for i in self.open.values() if _is_untaken(i)]
        return [
            OpsIssue(
                kind=OpsKind.UNTAKEN,
                what=f"a human is needed: {(i.escalation or i.halt or '')[:300]}",
                advice=f"iir incidents show {i.key}; iir incidents take-over {i.key}",
                incident=i.key,
                since=i.updated_at,
            )
            for i in self._cut(waiting)
        ]

    async def unfinished(self) -> list[OpsIssue]:
        rows = await self._store.executions(states=[StepState.STARTED])
        return [await self._going_on(row) for row in self._cut(rows)]

    async def _going_on(self, row: Execution) -> OpsIssue:
        key = await self._key(row.incident_id)
        what = "the undo of step" if row.is_undo else "step"
        return OpsIssue(
            kind=OpsKind.UNFINISHED,
            what=f"{what} {row.step} ({row.action.kind}) was started on {row.host or row.target} "
            "and has not ended",
            advice=f"iir incidents show {key}; to stop it: iir incidents cancel {key} --reason ...",
            incident=key,
            since=row.started_at or row.intended_at,
        )

    async def locked(self) -> list[OpsIssue]:
        locks = await self._store.target_locks(self._now)
        return [await self._held(lock) for lock in self._cut(locks)]

    async def _held(self, lock: TargetLock) -> OpsIssue:
        until = clock_time(lock.until, self._now)
        key = None
        if lock.holder.startswith(_HOLDER):
            key = await self._key(IncidentId(lock.holder.removeprefix(_HOLDER)))
        advice = f"it is free when its step has ended, at the latest at {until}"
        return OpsIssue(
            kind=OpsKind.LOCKED,
            what=f"{lock.target} is locked by {key or lock.holder} until {until}",
            advice=f"{advice}: iir incidents show {key}" if key else advice,
            incident=key,
        )

    async def inbox(self) -> list[OpsIssue]:
        since = await self._store.inbox_since()
        late = self._now - timedelta(seconds=self._limits.inbox_s)
        if since is None or since > late:
            return []
        depth = await self._store.inbox_depth()
        what = f"{depth} accepted bodies of alerts wait to be taken in"
        advice = "is `iir serve` or `iir worker` running? see its log"
        return [OpsIssue(kind=OpsKind.INBOX, what=what, advice=advice, since=since)]

    async def rejected(self) -> list[OpsIssue]:
        items = await self._store.rejected_items(REJECTED_COUNTED)
        if not items:
            return []
        many = f"at least {len(items)}" if len(items) == REJECTED_COUNTED else f"{len(items)}"
        return [
            OpsIssue(
                kind=OpsKind.REJECTED,
                what=f"{many} bodies could not be read; the last: {items[0].reason[:300]}",
                advice="iir alerts rejected",
                since=items[0].rejected_at,
            )
        ]

    def _cut(self, rows: Sequence[T]) -> Sequence[T]:
        self.has_more |= len(rows) > self._limits.listed
        return rows[: self._limits.listed]

    async def _key(self, incident_id: IncidentId) -> str:
        """Return the key of an incident, or the id of one that was removed."""
        if incident_id not in self._keys:
            try:
                self._keys[incident_id] = (await self._store.incident(incident_id)).key
            except NotFound:
                self._keys[incident_id] = incident_id
        return self._keys[incident_id]


def _is_untaken(incident: Incident) -> bool:
    """True if a human is asked for and none has it; one that is being stopped is not yet."""
    is_being_stopped = incident.status is IncidentStatus.RESOLVING
    return bool(incident.escalation or (incident.halt and not is_being_stopped)) and (
        incident.assignee is None
    )
