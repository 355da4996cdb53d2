"""`worker`: what one process takes on of the work."""

from pydantic import Field

from it_incident_response.config.connections import Section
from it_incident_response.domain.inventory import SiteName


class WorkerSection(Section):
    """How much is done at a time, and for which sites."""

    sites: tuple[SiteName, ...] = ()
    """Sites within which this process stands: it acts on their hosts."""
    actions_at_once: int = Field(default=16, ge=1, le=1000)
    stages_at_once: int = Field(default=64, ge=1, le=10_000)
    """Diagnoses, plans, watches; a watch takes minutes in which little happens."""
    actions_per_second: float = Field(default=20.0, gt=0, le=10_000)
    """Of the whole fleet, for each executor and site."""
    cached_workflows: int = Field(default=500, ge=1, le=100_000)
    """Incidents kept in memory; others are replayed from their history when they wake."""
