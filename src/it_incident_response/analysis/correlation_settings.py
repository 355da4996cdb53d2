"""The thresholds of correlation; what each means is in `docs/correlation.md`."""

from pydantic import Field

from it_incident_response.domain.model import Value


class CorrelationSettings(Value):
    """When alerts belong together; times in seconds."""

    join_score: float = Field(default=0.5, gt=0, le=1)
    """An alert joins the best incident whose score is at least this."""
    join_window_s: float = Field(default=600, gt=0)
    """Alerts starting within this time of an incident's alerts count in full."""
    neighbour_window_s: float = Field(default=300, gt=0)
    """Topology neighbours join only within this time."""
    reopen_window_s: float = Field(default=3600, ge=0)
    """An alert that fires again this soon after its incident ended reopens it."""
    late_delivery_s: float = Field(default=120, ge=0)
    """A "firing" of an episode that ended less than this ago is a late delivery, not a re-fire."""
    still_firing_s: float = Field(default=300, ge=0)
    """An alert still reported firing this long after its incident was resolved reopens it."""
    flap_window_s: float = Field(default=3600, gt=0)
    flap_changes: int = Field(default=5, ge=3, le=20)
    """An alert that began or ceased to fire this often within `flap_window_s` is flapping."""
    refresh_s: float = Field(default=60, ge=0)
    """An unchanged alert is written again only if it was last written longer ago."""
    entities_max: int = Field(default=512, ge=16)
    core_max: int = Field(default=32, ge=4)
    """How many entities an incident can be about; growth by weak links stops here."""
