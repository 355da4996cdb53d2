"""What workflow and activities tell each other: small, and nothing that belongs in the store."""

from typing import Literal

from it_incident_response.domain.ids import IncidentId
from it_incident_response.domain.model import UtcTime, Value
from it_incident_response.workflow.stages import Stage


class IncidentStart(Value):
    """The argument of a workflow, also when it continues as a new run."""

    incident_id: IncidentId
    repeats: int = 0
    """How often in a row the last stage was asked for with the same reason."""


class Look(Value):
    """What the record asks for next, as the workflow needs to know it."""

    stage: Stage
    reason: str
    wait_s: float | None = None
    """Real seconds until it is worth doing or looking again; None: when woken."""
    step: int | None = None
    queue: str | None = None
    """The task queue whose workers can do it; None: any worker of ours."""
    is_halted: bool = False
    is_over: bool = False


class StageOrder(Value):
    """Asks for one stage; without effect if the record asks for another by then."""

    incident_id: IncidentId
    stage: Stage
    step: int | None = None


class HandOver(Value):
    """Asks to give the incident to a human."""

    incident_id: IncidentId
    reason: str


class Standing(Value):
    """The answer to the query `standing`: where the workflow is and why."""

    stage: Stage | None
    reason: str
    state: Literal["working", "waiting", "ended"]
    until: UtcTime | None = None
    """When it looks again if nothing wakes it before; by the engine's clock."""
    wakes_by: tuple[str, ...] = ()
    """The last signals that came, newest last."""
