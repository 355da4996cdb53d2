"""Plan: the ordered steps that would fix an incident, identified by a digest of exactly them."""

import hashlib

import orjson

from it_incident_response.domain.action import ActionRecord, Check, Reversibility, Risk
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value


class PlanStep(Value):
    """One action with all that a person needs to judge it."""

    number: int
    action: ActionRecord
    executor: str
    target: Entity
    host: str | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    description: str
    risk: Risk
    reversibility: Reversibility
    checks: tuple[Check, ...] = ()
    undo: ActionRecord | None = None
    policy: str = ""
    """Which policy rule decided, and what it demands."""
    notes: tuple[str, ...] = ()
    """What a look at the target said when the plan was made, such as how much would be deleted."""


class Plan(Value):
    """What we would do; approving it approves this digest and nothing else."""

    id: str
    incident_id: IncidentId
    diagnosis_id: str
    made_at: UtcTime
    reason: str
    steps: tuple[PlanStep, ...]
    episode: int = 0
    """The incident's when the plan was made: what was approved and done then counts no more later,
    even if the very same steps are called for again."""
    needs_approval: bool = True
    is_forbidden: str | None = None
    """Why policy forbids it; None if it may run (once approved)."""

    @property
    def digest(self) -> str:
        """SHA-256 over incident, episode and steps (actions, parameters, commands, targets)."""
        shown_only = {"policy", "notes"}
        steps = [step.model_dump(mode="json", exclude=shown_only) for step in self.steps]
        content: dict[str, object] = {"incident": self.incident_id, "steps": steps}
        if self.episode:
            content["episode"] = self.episode
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()
