"""What people do to incidents by hand: open, note, assign, stop, take over, hand back; recorded."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from it_incident_response.domain.audit import AuditEvent
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.execution import StepState
from it_incident_response.domain.ids import IncidentId, new_id
from it_incident_response.domain.incident import Footprint, Incident, IncidentStatus
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.severity import Severity
from it_incident_response.errors import Conflict, IllegalTransition, InputRejected, PolicyDenied
from it_incident_response.ports import Clock, Store
from it_incident_response.safety.approval_manager import ApprovalManager
from it_incident_response.safety.people import as_actor, person_name
from it_incident_response.safety.policy import Policy

TITLE_MAX = 500
TEXT_MAX = 100_000
"""Characters kept of what a person writes; longer text is refused, never cut silently."""
REASON_MAX = 2000
"""Characters of a reason that is shown wherever the incident is."""
CHANGE_ATTEMPTS = 20
"""How often a change is tried against a worker that changes the incident at the same time."""

Change = Callable[[Incident, datetime], Incident]


class Requests(Protocol):
    """Takes the effect from an incident's requests for approval: `ApprovalManager` is one."""

    async def void(self, incident_id: IncidentId, reason: str) -> object:
        """Void every request of the incident on which nobody has acted."""
        ...


class IncidentDesk:
    """Takes people's word for it, within the legal transitions and the policy's roles."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        inventory: Inventory,
        *,
        requests: Requests | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`requests` and `policy` are those of the gate; None: made on `store`, and the default."""
        self._store = store
        self._clock = clock
        self._inventory = inventory
        self._policy = policy if policy is not None else Policy.default()
        self._requests: Requests = (
            requests
            if requests is not None
            else ApprovalManager(store=store, clock=clock, policy=self._policy, inventory=inventory)
        )

    async def open_incident(
        self,
        *,
        title: str,
        description: str,
        severity: Severity,
        affected_systems: Sequence[str],
        tags: Sequence[str] = (),
        by: str,
    ) -> Incident:
        """Open an incident that no alert reported, and have it looked at."""
        _require_text("title", title, TITLE_MAX)
        _require_text("description", description, TEXT_MAX, empty_ok=True)
        now = self._clock.now()
        systems = tuple(dict.fromkeys(s.strip() for s in affected_systems if s.strip()))
        incident = Incident(
            id=IncidentId(new_id(now)),
            key="",
            title=title,
            description=description,
            severity=severity,
            affected_systems=systems,
            tags=tuple(tags),
            opened_at=now,
            updated_at=now,
            footprint=Footprint(entities=frozenset(self._entities(systems))),
        )
        event = self._event(now, incident.id, "incident.opened", by, f"opened by hand: {title}")
        return await self._store.create_incident(incident, [event], wake_at=now)

    async def note(self, id_or_key: str, text: str, *, by: str) -> Incident:
        """Add a note to the incident's timeline."""
        _require_text("note", text, TEXT_MAX)
        incident = await self._store.incident(id_or_key)
        event = self._event(self._clock.now(), incident.id, "incident.note", by, text)
        await self._store.append([event])
        return incident

    async def assign(self, id_or_key: str, person: str, *, by: str) -> Incident:
        """Give the incident to a person; what we do goes on (see `take_over`)."""
        _require_text("assignee", person, 200)
        summary = f"assigned to {person}"

        def change(incident: Incident, now: datetime) -> Incident:
            return incident.model_copy(update={"assignee": person, "updated_at": now})

        return await self._change(id_or_key, change, "incident.assigned", by, lambda _: summary)

    async def take_over(self, id_or_key: str, *, by: str, reason: str = "") -> Incident:
        """Make `by` the one who acts: what runs is stopped, and nothing more is done by us.

        Requests for approval are void. It stays so until it is diagnosed afresh (`rediagnose`).
        Raises `PolicyDenied` if `by` has no role, `IllegalTransition` if the incident is over.
        """
        incident = await self._permitted(id_or_key, "take over", by)
        name = person_name(by)
        halt = _halt(f"taken over by {name}", reason)

        def change(incident: Incident, now: datetime) -> Incident:
            _require_open(incident, "take over")
            return _halted(incident, halt, now).model_copy(update={"assignee": name})

        return await self._halt(incident, change, "incident.taken_over", by, halt)

    async def cancel(self, id_or_key: str, *, by: str, reason: str) -> Incident:
        """Stop whatever runs for the incident, do nothing more, and hand it to a human.

        While a step is running the incident stays `resolving`: the worker stops it, journals how
        it ended and then hands it over. Raises `PolicyDenied` if `by` has no role,
        `IllegalTransition` if the incident is over and nothing runs any more.
        """
        _require_text("reason", reason, REASON_MAX)
        incident = await self._permitted(id_or_key, "cancel", by)
        halt = _halt(f"cancelled by {person_name(by)}", reason)
        is_running = bool(await self.running_steps(incident.id))

        def change(incident: Incident, now: datetime) -> Incident:
            if not is_running:
                _require_open(incident, "cancel")
            return _halted(incident, halt, now)

        return await self._halt(incident, change, "incident.cancelled", by, halt)

    async def rediagnose(self, id_or_key: str, *, by: str, reason: str = "") -> Incident:
        """Hand the incident back to us: it is investigated from the beginning.

        Begins a new episode: earlier plans, approvals and what was done count no more, halt and
        escalation are gone. Raises `PolicyDenied` if `by` has no role, `Conflict` while a repair
        is under way or being stopped.
        """
        incident = await self._permitted(id_or_key, "have it diagnosed afresh", by)
        await self._require_idle(incident)
        why = _because(reason)
        told = f"to be diagnosed afresh, asked by {person_name(by)}{why}"

        def change(incident: Incident, now: datetime) -> Incident:
            if incident.status is IncidentStatus.RESOLVING:
                raise _busy(incident)
            return _begun_anew(incident, now)

        saved = await self._change(
            incident.id, change, "incident.investigating", by, lambda _: told
        )
        await self._requests.void(saved.id, "the incident is diagnosed afresh")
        return saved

    async def look_again(self, id_or_key: str, *, by: str) -> Incident:
        """Have the incident looked at now, whatever it waits for; changes nothing about it."""
        incident, now = await self._store.incident(id_or_key), self._clock.now()
        await self._store.wake(incident.id, now)
        event = self._event(now, incident.id, "incident.woken", by, "to be looked at now")
        await self._store.append([event])
        return incident

    async def set_status(
        self,
        id_or_key: str,
        status: IncidentStatus,
        *,
        by: str,
        notes: str | None = None,
        remediation_steps: Sequence[str] = (),
    ) -> Incident:
        """Change the status by hand; raises `IllegalTransition` with the reason.

        Investigating means, for an open incident: diagnose it afresh, as `rediagnose` does.
        """
        found = await self._store.incident(id_or_key)
        is_news = found.status is not status or _is_with_human(found)
        if status is IncidentStatus.INVESTIGATING and found.status.is_open and is_news:
            return await self.rediagnose(found.id, by=by, reason=notes or "")

        def change(incident: Incident, now: datetime) -> Incident:
            if incident.halt and incident.status.is_open and status.is_open:
                raise Conflict(
                    f"{incident.key} is out of our hands: {incident.halt}",
                    hint=f"hand it back first: iir incidents rediagnose {incident.key}",
                )
            return incident.moved_to(status, now).model_copy(update={"escalation": None})

        details: Mapping[str, JsonValue] = (
            {"remediation_steps": list(remediation_steps)} if remediation_steps else {}
        )
        return await self._change(
            found.id,
            change,
            f"incident.{status}",
            by,
            lambda before: f"{before.status} → {status} by hand{_because(notes or '')}",
            details,
        )

    async def running_steps(self, incident_id: IncidentId) -> Sequence[int]:
        """Return the numbers of the steps that were started and have not ended."""
        rows = await self._store.executions_of(incident_id)
        return tuple(row.step for row in rows if row.state is StepState.STARTED)

    async def record(self, kind: str, by: str, summary: str) -> None:
        """Put something that belongs to no incident on the audit trail."""
        await self._store.append([self._event(self._clock.now(), None, kind, by, summary)])

    async def _halt(
        self, incident: Incident, change: Change, kind: str, by: str, halt: str
    ) -> Incident:
        # First the halt, which the gate obeys: if we die in between, the requests grant nothing.
        saved = await self._change(incident.id, change, kind, by, lambda _: halt)
        await self._requests.void(saved.id, halt)
        return saved

    async def _change(
        self,
        id_or_key: str,
        change: Change,
        kind: str,
        by: str,
        summary: Callable[[Incident], str],
        details: Mapping[str, JsonValue] | None = None,
    ) -> Incident:
        """Save a changed incident and wake it in one transaction, in spite of busy workers."""
        attempts_left = CHANGE_ATTEMPTS
        while True:
            before, now = await self._store.incident(id_or_key), self._clock.now()
            changed = change(before, now)
            event = self._event(now, before.id, kind, by, summary(before), details)
            try:
                return await self._store.save_incident(changed, [event], wake_at=now)
            except Conflict:
                attempts_left -= 1
                if not attempts_left:
                    raise

    async def _permitted(self, id_or_key: str, what: str, by: str) -> Incident:
        """Return the incident; raises `PolicyDenied`, and records it, unless `by` has a role."""
        incident = await self._store.incident(id_or_key)
        name = person_name(by)
        if name is not None and self._policy.roles_of(name):
            return incident
        said = f"{by[:200]!r} has no role in the policy, so cannot {what} {incident.key}"
        event = AuditEvent(
            at=self._clock.now(),
            actor=as_actor(by) if name else "user:unknown",
            kind="incident.refused",
            incident_id=incident.id,
            summary=said,
        )
        await self._store.append([event])
        raise PolicyDenied(said, hint="add them under `roles` in the policy file")

    async def _require_idle(self, incident: Incident) -> None:
        steps = await self.running_steps(incident.id)
        if steps and incident.status is not IncidentStatus.RESOLVING:
            numbers = ", ".join(str(number) for number in steps)
            raise Conflict(
                f"step {numbers} of {incident.key} was started and has not ended",
                hint=f"stop it first: iir incidents cancel {incident.key} --reason ...",
            )

    def _entities(self, systems: Sequence[str]) -> list[Entity]:
        return [entity for name in systems for entity in self._inventory.named(name)]

    def _event(
        self,
        now: datetime,
        incident_id: str | None,
        kind: str,
        by: str,
        summary: str,
        details: Mapping[str, JsonValue] | None = None,
    ) -> AuditEvent:
        return AuditEvent(
            at=now,
            actor=f"user:{by}",
            kind=kind,
            incident_id=incident_id,
            summary=summary,
            details=details or {},
        )


def _halted(incident: Incident, halt: str, now: datetime) -> Incident:
    """Return the incident stopped; one being repaired is handed over once the step has ended."""
    changes: dict[str, object] = {"halt": halt, "updated_at": now}
    if incident.status.is_open and incident.status is not IncidentStatus.RESOLVING:
        changes["escalation"] = halt
    return incident.model_copy(update=changes)


def _begun_anew(incident: Incident, now: datetime) -> Incident:
    if incident.status is not IncidentStatus.INVESTIGATING:
        moved = incident.moved_to(IncidentStatus.INVESTIGATING, now)
        return moved.model_copy(update={"escalation": None})
    begun = {"episode": incident.episode + 1, "halt": None, "escalation": None, "updated_at": now}
    return incident.model_copy(update=begun)


def _is_with_human(incident: Incident) -> bool:
    return incident.halt is not None or incident.escalation is not None


def _require_open(incident: Incident, what: str) -> None:
    if not incident.status.is_open:
        raise IllegalTransition(
            f"cannot {what} {incident.key}: it is {incident.status}, and nothing runs",
            hint=f"if it is not over: iir incidents reopen {incident.key}",
        )


def _busy(incident: Incident) -> Conflict:
    if incident.halt:
        return Conflict(
            f"{incident.key} is being stopped ({incident.halt})",
            hint=f"try again when its step has ended: iir incidents show {incident.key}",
        )
    return Conflict(
        f"{incident.key} is being repaired at this moment",
        hint=f"stop that first: iir incidents cancel {incident.key} --reason ...",
    )


def _halt(what: str, reason: str) -> str:
    _require_text("reason", reason, REASON_MAX, empty_ok=True)
    return what + _because(reason)


def _because(reason: str) -> str:
    return f": {reason.strip()}" if reason.strip() else ""


def _require_text(what: str, text: str, limit: int, *, empty_ok: bool = False) -> None:
    if not empty_ok and not text.strip():
        raise InputRejected(f"the {what} is empty")
    if len(text) > limit:
        raise InputRejected(f"the {what} has {len(text)} characters; at most {limit} are kept")
