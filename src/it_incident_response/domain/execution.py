"""Execution: what was really run, step by step, and how it ended."""

from enum import StrEnum

from it_incident_response.domain.action import ActionRecord
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value


class StepState(StrEnum):
    """State of one journalled step."""

    INTENDED = "intended"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    DRY_RUN = "dry_run"
    """Nothing ran: dry run or `execute_real_commands: false`."""


def lock_holder(incident_id: IncidentId) -> str:
    """Return who holds the locks of an incident's actions: it, so that its next worker goes on."""
    return f"incident {incident_id}"


class CommandResult(Value):
    """One command as run (or as it would have run, when `exit_status` is None)."""

    command: tuple[str, ...]
    exit_status: int | None = None
    output: str = ""
    """Standard output, then standard error; bounded and redacted."""
    is_truncated: bool = False
    """True if `output` was cut at the executor's limit."""
    duration_s: float = 0.0


class Execution(Value):
    """One row of the action journal: one attempt at one step of one plan.

    `key` is unique: `incident/plan digest/step/attempt`.
    """

    id: str
    key: str
    incident_id: IncidentId
    plan_id: str
    plan_digest: str
    step: int
    attempt: int = 1
    action: ActionRecord
    target: Entity
    host: str | None = None
    state: StepState
    intended_at: UtcTime
    started_at: UtcTime | None = None
    ended_at: UtcTime | None = None
    before: tuple[str, ...] | None = None
    """What the action's probes printed before it started (`Probe.outputs`); recovery needs it."""
    results: tuple[CommandResult, ...] = ()
    error: str | None = None
    is_undo: bool = False
