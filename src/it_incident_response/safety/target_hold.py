"""TargetHold: the lock on the target of one step, and whether it still is ours."""

from datetime import timedelta

from it_incident_response.domain.execution import Execution, StepState
from it_incident_response.errors import TargetLocked
from it_incident_response.ports import Clock
from it_incident_response.safety.gate_task import GateTask
from it_incident_response.safety.judge import SafetyStore

LOCK_MARGIN_S = 60.0
"""A target stays locked this much longer than we wait for its action."""
ASK_AGAIN_S = 30.0
"""A lock is mostly given back long before it runs out, and nobody is told: so it is asked often."""


class TargetHold:
    """The target of one step, locked for its incident.

    The lock is a lease: a worker that was paused may have lost it without noticing. So it is held
    against the record again, by its fencing token, when the step is journalled as started.
    """

    def __init__(self, store: SafetyStore, clock: Clock, task: GateTask, *, for_s: float) -> None:
        self._store = store
        self._clock = clock
        self._target = task.step.target
        self._holder = task.holder
        self._for = timedelta(seconds=for_s + LOCK_MARGIN_S)
        self._token = 0

    async def take(self) -> None:
        """Lock the target, or prolong the lock; raises `TargetLocked` with `retry_after_s`."""
        now = self._clock.now()
        try:
            self._token = await self._store.lock_target(
                self._target, holder=self._holder, now=now, until=now + self._for
            )
        except TargetLocked as locked:
            locked.retry_after_s = await self._free_in_s()
            raise

    async def require(self, row: Execution) -> None:
        """Raise `TargetLocked` if somebody else may be acting on the target.

        Called when `row` is in the journal as started: of two that start at once at least one sees
        the other, whatever became of the locks meanwhile.
        """
        token = await self._token_now()
        if token is None or token < self._token:
            raise self._lost(f"the lock on {self._target} was lost before the step began")
        for other in await self._store.executions(states=[StepState.STARTED]):
            if other.key != row.key and other.target == row.target:
                raise self._lost(f"incident {other.incident_id} is acting on {self._target}")

    async def give_back(self) -> None:
        """Unlock, unless a later worker of the incident has taken the lock over."""
        if await self._token_now() == self._token:
            await self.release()

    async def release(self) -> None:
        """Unlock: the incident's action on the target is over."""
        await self._store.unlock_target(self._target, holder=self._holder)

    async def _token_now(self) -> int | None:
        """Return the token of our incident's lock, or None if it has none."""
        for lock in await self._store.target_locks(self._clock.now()):
            if lock.target == str(self._target) and lock.holder == self._holder:
                return lock.token
        return None

    async def _free_in_s(self) -> float:
        now = self._clock.now()
        for lock in await self._store.target_locks(now):
            if lock.target == str(self._target):
                return min(max(1.0, (lock.until - now).total_seconds()), ASK_AGAIN_S)
        return 1.0

    def _lost(self, reason: str) -> TargetLocked:
        error = TargetLocked(reason, hint="it is tried again by itself")
        error.retry_after_s = ASK_AGAIN_S
        return error
