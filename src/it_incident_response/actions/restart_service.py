"""RestartService: stops and starts one systemd unit on one host."""

from collections.abc import Sequence
from typing import ClassVar

from it_incident_response.actions.targets import entry_of, require_listed, services_concerned
from it_incident_response.actions.unit_state import (
    describe_state,
    is_still_changing,
    parse_properties,
    show_command,
    was_started_anew,
)
from it_incident_response.domain.action import Action, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import HostName, Inventory, UnitName


class RestartService(Action):
    """Restarts one unit; nothing on disk changes, but its connections are cut.

    Not idempotent: a second restart is a second interruption. There is nothing to undo: once it
    is over, the unit runs as configured; what it cost (open connections, memory) is past, and is
    why the risk is medium.
    """

    kind: ClassVar[str] = "restart_service"
    executor: ClassVar[str] = "ssh"
    risk: ClassVar[Risk] = Risk.MEDIUM
    reversibility: ClassVar[Reversibility] = Reversibility.NOTHING_TO_UNDO
    time_limit_s: ClassVar[float] = 120.0
    """systemd waits up to 90 s by default for a unit to stop (DefaultTimeoutStopSec)."""

    host: HostName
    unit: UnitName

    @classmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> tuple[Action, ...]:
        """Return a restart for each concerned service that systemd runs."""
        pairs = services_concerned(entities, inventory)
        return tuple(cls(host=h.name, unit=s.unit) for h, s in pairs if s.unit is not None)

    @property
    def target(self) -> Entity:
        """The unit on its host, as `host/unit`."""
        return Entity(EntityKind.SERVICE, f"{self.host}/{self.unit}")

    def require_known(self, inventory: Inventory) -> None:
        """Raise `TargetUnknown` unless the host runs a service with this very unit."""
        entry = entry_of(self.host, inventory)
        units = [service.unit for service in entry.services if service.unit is not None]
        require_listed(self.kind, self.unit, units, "services[].unit")

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Return `systemctl restart`, which waits until the unit has started or failed."""
        return (("systemctl", "restart", "--", self.unit),)

    def probe_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the look at the unit's state."""
        return (show_command(self.unit),)

    def preview_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the same look: what would be interrupted."""
        return self.probe_commands()

    def describe_preview(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """Return the unit's present state."""
        return tuple(describe_state(self.unit, parse_properties(text)) for text in outputs)

    def describe_probe(self, outputs: tuple[str, ...]) -> str:
        """Return the unit's present state."""
        return "; ".join(self.describe_preview(outputs))

    def took_effect(
        self, probe_outputs: tuple[str, ...], before: tuple[str, ...] | None = None
    ) -> bool | None:
        """True if the unit is active in another invocation than before.

        A unit that is not active is False in any case; an active one without `before` cannot be
        told from one that was never touched.
        """
        if not probe_outputs:
            return None
        state = parse_properties(probe_outputs[0])
        if "ActiveState" not in state or is_still_changing(state):
            return None
        if state["ActiveState"] != "active":
            return False
        return was_started_anew(state, parse_properties(before[0]) if before else None)

    def describe(self) -> str:
        """Return what will change."""
        return f"Restart {self.unit} on {self.host}; its open connections are cut."
