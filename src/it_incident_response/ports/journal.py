"""The action journal and the locks on targets: why nothing runs twice."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.domain.verification import Verification
from it_incident_response.ports.audit import Events


class TargetLock(Value):
    """A target on which nobody else may act."""

    target: str
    holder: str
    """Such as `incident <id>`."""
    until: UtcTime
    token: int


class Journal(Protocol):
    """The action journal and the locks on targets: why nothing runs twice."""

    async def intend(self, execution: Execution, events: Events) -> None:
        """Record the intention; raises `Conflict` if the key exists."""
        ...

    async def advance(self, execution: Execution, expected: StepState, events: Events) -> None:
        """Replace a row whose state is `expected`; raises `Conflict` if it is another."""
        ...

    async def executions_of(self, incident_id: IncidentId) -> Sequence[Execution]:
        """Return the incident's rows, oldest first."""
        ...

    async def executions(
        self, *, states: Sequence[StepState] = (), since: UtcTime | None = None
    ) -> Sequence[Execution]:
        """Return rows of all incidents in these states, begun after `since`, oldest first."""
        ...

    async def lock_target(
        self, target: Entity, *, holder: str, now: UtcTime, until: UtcTime
    ) -> int:
        """Lock a target and return the fencing token, larger than any before.

        The same holder may lock it again. Raises `TargetLocked`, naming the holder.
        """
        ...

    async def unlock_target(self, target: Entity, *, holder: str) -> None:
        """Give the lock back; no error if it is not held."""
        ...

    async def unlock_idle(self, incident_id: IncidentId) -> int:
        """Give back the incident's locks on targets at which nothing of it may be going on.

        Locks of `lock_holder(incident_id)` stay where a row of the incident is intended, started
        or in doubt. For after a crash; whoever is about to intend a step locks again after it.
        Returns how many were given back.
        """
        ...

    async def locked_targets(self, now: UtcTime) -> Mapping[str, str]:
        """Return locked targets (as text) and their holders."""
        ...

    async def target_locks(self, now: UtcTime) -> Sequence[TargetLock]:
        """Return the locks that hold at `now`, by target."""
        ...

    async def add_verification(self, verification: Verification, events: Events) -> None:
        """Store a verification."""
        ...

    async def verifications_of(self, incident_id: IncidentId) -> Sequence[Verification]:
        """Return all verifications of an incident, oldest first."""
        ...
