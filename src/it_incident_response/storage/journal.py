"""The action journal, the locks on targets and the verifications."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.execution import Execution, StepState, lock_holder
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.verification import Verification
from it_incident_response.errors import Conflict, TargetLocked
from it_incident_response.ports.store import Events
from it_incident_response.storage.audit_chain import append_events
from it_incident_response.storage.encoding import dump, key_text, load
from it_incident_response.storage.owned import owned_by, owned_row
from it_incident_response.storage.part import StorePart
from it_incident_response.storage.tables import (
    counters,
    executions,
    target_locks,
    verifications,
)

FENCING_TOKEN = "fencing_token"  # noqa: S105 - a number's name, no secret
_COUNTER = update(counters).where(counters.c.name == FENCING_TOKEN)
_UNSETTLED = (StepState.INTENDED, StepState.STARTED, StepState.IN_DOUBT)
"""States of a step that is about to run, runs, or may be running still."""


class JournalPart(StorePart):
    """The action journal."""

    async def intend(self, execution: Execution, events: Events) -> None:
        """Record the intention; raises `Conflict` if the key exists."""
        row = owned_row(
            execution,
            key=key_text(execution.key),
            state=execution.state.value,
            intended_at=execution.intended_at,
        )
        async with self._database.write() as connection:
            await _require_unused(connection, execution.key)
            try:
                await connection.execute(insert(executions), [row])
            except IntegrityError as error:
                reason = "is in the journal already, or its incident is gone"
                raise Conflict(f"step {execution.key!r} {reason}") from error
            await append_events(connection, self._database, events)

    async def advance(self, execution: Execution, expected: StepState, events: Events) -> None:
        """Replace a row whose state is `expected`; raises `Conflict` if it is another."""
        is_as_expected = (
            (executions.c.id == key_text(execution.id))
            & (executions.c.key == key_text(execution.key))
            & (executions.c.state == expected.value)
        )
        row = {"state": execution.state.value, "body": dump(execution)}
        async with self._database.write() as connection:
            done = await connection.execute(update(executions).where(is_as_expected).values(row))
            if done.rowcount != 1:
                raise Conflict(await _why_not(connection, execution, expected))
            await append_events(connection, self._database, events)

    async def executions_of(self, incident_id: IncidentId) -> list[Execution]:
        """Return the incident's rows, oldest first."""
        return await owned_by(self._database, executions, Execution, incident_id)

    async def executions(
        self, *, states: Sequence[StepState] = (), since: datetime | None = None
    ) -> list[Execution]:
        """Return rows of all incidents in these states, intended after `since`, oldest first."""
        query = select(executions.c.body).order_by(executions.c.position)
        if states:
            query = query.where(executions.c.state.in_([state.value for state in states]))
        if since is not None:
            query = query.where(executions.c.intended_at > since)
        async with self._database.read() as connection:
            return [load(Execution, body) for body in (await connection.scalars(query)).all()]

    async def lock_target(
        self, target: Entity, *, holder: str, now: datetime, until: datetime
    ) -> int:
        """Lock a target and return the fencing token, larger than any before.

        The same holder may lock it again, and anybody once `until` has passed, unless the journal
        says that another incident's action on it has been started and has not ended: the clock by
        which the lock seems to be over may be wrong. Raises `TargetLocked`, naming the holder.
        """
        name = key_text(str(target))
        async with self._database.write() as connection:
            # First the counter: its row makes all who lock a target take turns.
            token = await _next_token(connection)
            query = select(target_locks).where(target_locks.c.target == name)
            row = (await connection.execute(query)).one_or_none()
            if row is not None and row.holder != key_text(holder) and row.until > now:
                raise TargetLocked(
                    f"{name} is locked by {row.holder} until {row.until:%Y-%m-%d %H:%M:%S} UTC",
                    hint="it is free again when that incident's action has ended",
                )
            await _require_nothing_under_way(connection, name, holder)
            await connection.execute(delete(target_locks).where(target_locks.c.target == name))
            lock = {"target": name, "holder": key_text(holder), "until": until, "token": token}
            await connection.execute(insert(target_locks), [lock])
        return token

    async def unlock_target(self, target: Entity, *, holder: str) -> None:
        """Give the lock back; no error if it is not held."""
        is_mine = (target_locks.c.target == key_text(str(target))) & (
            target_locks.c.holder == key_text(holder)
        )
        async with self._database.write() as connection:
            await connection.execute(delete(target_locks).where(is_mine))

    async def unlock_idle(self, incident_id: IncidentId) -> int:
        """Give back the incident's locks on targets at which nothing of it may be going on."""
        unsettled = [state.value for state in _UNSETTLED]
        query = select(executions.c.body).where(
            executions.c.incident_id == key_text(incident_id), executions.c.state.in_(unsettled)
        )
        async with self._database.write() as connection:
            # All who lock take turns at the counter: none of them can begin between look and act.
            await connection.execute(_COUNTER.values(value=counters.c.value))
            rows = [load(Execution, body) for body in (await connection.scalars(query)).all()]
            busy = {key_text(str(row.target)) for row in rows}
            idle = delete(target_locks).where(
                target_locks.c.holder == key_text(lock_holder(incident_id)),
                target_locks.c.target.not_in(sorted(busy)),
            )
            return (await connection.execute(idle)).rowcount

    async def locked_targets(self, now: datetime) -> dict[str, str]:
        """Return locked targets (as text) and their holders."""
        query = select(target_locks.c.target, target_locks.c.holder)
        query = query.where(target_locks.c.until > now).order_by(target_locks.c.target)
        async with self._database.read() as connection:
            return {row.target: row.holder for row in (await connection.execute(query)).all()}

    async def add_verification(self, verification: Verification, events: Events) -> None:
        """Store a verification."""
        async with self._database.write() as connection:
            await connection.execute(insert(verifications), [owned_row(verification)])
            await append_events(connection, self._database, events)

    async def verifications_of(self, incident_id: IncidentId) -> list[Verification]:
        """Return all verifications of an incident, oldest first."""
        return await owned_by(self._database, verifications, Verification, incident_id)


async def _require_unused(connection: AsyncConnection, key: str) -> None:
    query = select(executions.c.state).where(executions.c.key == key_text(key))
    state = await connection.scalar(query)
    if state is not None:
        raise Conflict(
            f"step {key!r} is in the journal already: {state}",
            hint="another worker took it, or it ran before: look at its row, do not run it again",
        )


async def _why_not(connection: AsyncConnection, execution: Execution, expected: StepState) -> str:
    query = select(executions.c.state).where(executions.c.id == key_text(execution.id))
    state = await connection.scalar(query)
    if state is None:
        return f"step {execution.key!r} is not in the journal"
    return f"step {execution.key!r} is {state} by now, not {expected}"


async def _require_nothing_under_way(connection: AsyncConnection, target: str, holder: str) -> None:
    """Raise `TargetLocked` while another holder's action on the target has not ended."""
    query = select(executions.c.body).where(executions.c.state == StepState.STARTED.value)
    for body in (await connection.scalars(query)).all():
        row = load(Execution, body)
        other = lock_holder(row.incident_id)
        if key_text(str(row.target)) == target and other != holder:
            raise TargetLocked(
                f"{target} is being acted on by {other}: its step {row.step} was started",
                hint="it is free again when that step's end is known",
            )


async def _next_token(connection: AsyncConnection) -> int:
    await connection.execute(_COUNTER.values(value=counters.c.value + 1))
    query = select(counters.c.value).where(counters.c.name == FENCING_TOKEN)
    token: int = (await connection.execute(query)).scalar_one()
    return token
