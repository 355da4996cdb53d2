"""How Grafana is reached, and which dashboards belong to which service."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from it_incident_response.domain.evidence import Signal
from it_incident_response.integrations.connector import ConnectorSettings

NAME = "grafana"
DEFAULT_URL = "http://localhost:3000"
EVERY_SERVICE = "*"
"""In `dashboards`: a dashboard that is read for every incident."""
UID = re.compile(r"[A-Za-z0-9_-]{1,100}")

Uid = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class GrafanaSettings(ConnectorSettings):
    """Address, credentials and dashboards of one Grafana; the token goes to `bearer_token`."""

    url: str = Field(default=DEFAULT_URL, min_length=1, max_length=2048)
    org_id: int | None = Field(default=None, ge=1)
    """Organisation to read; None: the one that the token belongs to."""
    dashboards: Mapping[str, tuple[Uid, ...]] = {}
    """Uids of the dashboards of each service; of `*` those of every incident."""
    signals: Mapping[str, Signal] = {}
    """What panels show, by their titles; the others are `Signal.OTHER`."""
    search: bool = True
    """Look for dashboards by a service's name where none is configured for it."""
    dashboards_max: int = Field(default=5, ge=1, le=50)
    """Dashboards read for one incident."""
    panels_max: int = Field(default=40, ge=1, le=500)
    """Panels read of one dashboard, from its top."""
    time_budget_s: float = Field(default=8.0, gt=0, le=600)
    """Reading panels ends after so long with the series that have come, and says so."""

    @field_validator("dashboards", mode="before")
    @classmethod
    def _one_or_several(cls, dashboards: Any) -> Any:
        if not isinstance(dashboards, Mapping):
            return dashboards
        return {
            service: (uids,) if isinstance(uids, str) else uids
            for service, uids in dashboards.items()
        }
