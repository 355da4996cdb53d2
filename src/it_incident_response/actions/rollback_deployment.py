"""RollbackDeployment: brings one service back to the version it ran before."""

from collections.abc import Sequence
from typing import ClassVar

from it_incident_response.actions.targets import require_service, service_names_concerned
from it_incident_response.domain.action import Action, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import Inventory, ServiceName


class RollbackDeployment(Action):
    """Rolls a service back by one version, through whatever deploys it.

    There is no argument vector: the `deployment` executor calls an API. Not idempotent: twice is
    two versions. Compensable only: deploying the newer version again is a person's decision, and
    changes of data that the newer version made stay.
    """

    kind: ClassVar[str] = "rollback_deployment"
    executor: ClassVar[str] = "deployment"
    risk: ClassVar[Risk] = Risk.HIGH
    reversibility: ClassVar[Reversibility] = Reversibility.COMPENSABLE
    time_limit_s: ClassVar[float] = 600.0

    host: None = None
    service: ServiceName

    @classmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> tuple[Action, ...]:
        """Return one roll-back for each concerned service."""
        names = service_names_concerned(entities, inventory)
        return tuple(cls(service=name) for name in names)

    @property
    def target(self) -> Entity:
        """The service, on all its hosts."""
        return Entity(EntityKind.SERVICE, self.service)

    def require_known(self, inventory: Inventory) -> None:
        """Raise `TargetUnknown` unless the inventory has this service."""
        require_service(self.kind, self.service, inventory)

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Return nothing: no program is run on a host."""
        return ()

    def probe_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return nothing: the executor asks its own API."""
        return ()

    def took_effect(
        self, probe_outputs: tuple[str, ...], before: tuple[str, ...] | None = None
    ) -> bool | None:
        """Return None: only the executor's API can tell."""
        return None

    def describe(self) -> str:
        """Return what will change."""
        return f"Roll {self.service} back to the version it ran before the last deployment."
