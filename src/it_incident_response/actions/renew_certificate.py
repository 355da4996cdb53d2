"""RenewCertificate: starts the systemd unit that renews a host's certificates."""

from collections.abc import Sequence
from typing import ClassVar

from it_incident_response.actions.targets import entry_of, hosts_concerned, require_listed
from it_incident_response.actions.unit_state import (
    describe_state,
    is_still_changing,
    parse_properties,
    show_command,
    was_started_anew,
)
from it_incident_response.domain.action import Action, AlertsCleared, Check, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import HostName, Inventory, UnitName


class RenewCertificate(Action):
    """Starts the unit that the inventory names as the host's certificate renewal.

    Not idempotent: what the unit does is its own affair, and authorities limit how often they
    issue. The old certificate is not brought back, so it counts as irreversible.
    """

    kind: ClassVar[str] = "renew_certificate"
    executor: ClassVar[str] = "ssh"
    risk: ClassVar[Risk] = Risk.LOW
    reversibility: ClassVar[Reversibility] = Reversibility.IRREVERSIBLE
    time_limit_s: ClassVar[float] = 300.0
    """An ACME client may wait minutes for the authority to check a challenge."""

    host: HostName
    unit: UnitName

    @classmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> tuple[Action, ...]:
        """Return one renewal for each concerned host that has a renewal unit."""
        hosts = hosts_concerned(entities, inventory)
        return tuple(
            cls(host=host.name, unit=host.certificate_unit)
            for host in hosts
            if host.certificate_unit is not None
        )

    @property
    def target(self) -> Entity:
        """The unit on its host, as `host/unit`."""
        return Entity(EntityKind.SERVICE, f"{self.host}/{self.unit}")

    def require_known(self, inventory: Inventory) -> None:
        """Raise `TargetUnknown` unless it is the host's `certificate_unit`."""
        unit = entry_of(self.host, inventory).certificate_unit
        allowed = () if unit is None else (unit,)
        require_listed(self.kind, self.unit, allowed, "certificate_unit")

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Return `systemctl start`, which waits for a oneshot unit to end."""
        return (("systemctl", "start", "--", self.unit),)

    def probe_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the look at the unit's state."""
        return (show_command(self.unit),)

    def preview_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the same look."""
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
        """True if the unit has run again since `before` and its last run succeeded.

        Whether a new certificate is served is not the unit's to say: the alert's own expression
        is, which is why it is checked too.
        """
        if not probe_outputs:
            return None
        state = parse_properties(probe_outputs[0])
        if "ActiveState" not in state or is_still_changing(state):
            return None
        if state["ActiveState"] == "failed" or state.get("Result", "success") != "success":
            return False
        return was_started_anew(state, parse_properties(before[0]) if before else None)

    def checks(self) -> tuple[Check, ...]:
        """Return that the alerts are gone.

        Not the probe: systemd forgets a finished unit that nothing refers to, and a renewal that
        worked would then look unverifiable.
        """
        return (AlertsCleared(),)

    def describe(self) -> str:
        """Return what will change."""
        return f"Renew the certificates of {self.host} by starting {self.unit}."
