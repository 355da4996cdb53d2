"""Limits on how much is changed within an hour, whatever anybody approved."""

from fractions import Fraction
from typing import Annotated

from pydantic import Field

from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value
from it_incident_response.domain.plan import PlanStep
from it_incident_response.ports import FleetHistory
from it_incident_response.safety.site import Site

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]


class Limits(Value):
    """Upper bounds over the last hour; a limit is never waived by an approval."""

    max_actions_per_hour: int = Field(default=20, ge=0, le=10_000, strict=True)
    """Changes begun in an hour, everywhere; 0 forbids every change."""
    max_actions_per_target_per_hour: int = Field(default=3, ge=0, le=10_000, strict=True)
    """Changes begun in an hour on one target: a fourth restart heals nothing more."""
    max_fleet_share: Share = 0.5
    """Share of an environment's hosts acted on within an hour; one action is always possible,
    also one that touches several hosts at once, unless this is 0."""

    def exceeded_by(
        self, step: PlanStep, site: Site, inventory: Inventory, history: FleetHistory
    ) -> tuple[str, str] | None:
        """Return (limit, sentence) if the step would go beyond one of them, else None."""
        if history.started_last_hour >= self.max_actions_per_hour:
            return (
                "max_actions_per_hour",
                f"{history.started_last_hour} actions began within the last hour; "
                f"{self.max_actions_per_hour} are allowed.",
            )
        target = str(step.target)
        if history.targets_last_hour.count(target) >= self.max_actions_per_target_per_hour:
            return (
                "max_actions_per_target_per_hour",
                f"{target} was acted on {history.targets_last_hour.count(target)} times within the "
                f"last hour; {self.max_actions_per_target_per_hour} are allowed.",
            )
        return self._over_share(site, inventory, history)

    def hosts_allowed(self, hosts: int) -> int:
        """Return how many of an environment's `hosts` may be acted on within an hour.

        Rounded down, but at least 1, unless the share is 0. Exact: 0.29 of 100 is 29.
        """
        if self.max_fleet_share == 0:
            return 0
        return max(1, int(Fraction(str(self.max_fleet_share)) * hosts))

    def _over_share(
        self, site: Site, inventory: Inventory, history: FleetHistory
    ) -> tuple[str, str] | None:
        acted_on = {e.name for n in history.hosts_last_hour if (e := inventory.host(n)) is not None}
        for environment in site.environments:
            fleet = {h.name for h in inventory.hosts if h.environment == environment}
            allowed = self.hosts_allowed(len(fleet))
            before = fleet & acted_on
            more = (fleet & set(site.host_names)) - before
            if allowed == 0 or (before and more and len(before | more) > allowed):
                return (
                    "max_fleet_share",
                    f"{len(before)} of {len(fleet)} hosts in {environment} were acted on "
                    f"within the last hour; at most {allowed} may be.",
                )
        return None
