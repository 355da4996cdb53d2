"""ScaleService: sets how many replicas of one service run."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from it_incident_response.actions.targets import require_service, service_names_concerned
from it_incident_response.domain.action import Action, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import Inventory, ServiceName

Replicas = Annotated[int, Field(ge=1, le=1000)]


class ScaleService(Action):
    """Sets the number of replicas, through whatever deploys the service.

    There is no argument vector: the `deployment` executor calls an API. Idempotent: it states a
    number, not a difference. `previous` is the number that undoing goes back to.
    """

    kind: ClassVar[str] = "scale_service"
    executor: ClassVar[str] = "deployment"
    risk: ClassVar[Risk] = Risk.LOW
    reversibility: ClassVar[Reversibility] = Reversibility.REVERSIBLE
    is_idempotent: ClassVar[bool] = True
    time_limit_s: ClassVar[float] = 300.0

    host: None = None
    service: ServiceName
    replicas: Replicas
    previous: Replicas | None = None

    @classmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> tuple[Action, ...]:
        """Return, for each concerned service, half as many again as the inventory says run.

        At least one more. Never fewer than run normally: the inventory's numbers are a floor.
        """
        return tuple(
            cls(service=name, replicas=normal + max(1, normal // 2), previous=normal)
            for name in service_names_concerned(entities, inventory)
            if (normal := _normal_replicas(name, inventory)) and normal < 600
        )

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
        before = f" (from {self.previous})" if self.previous is not None else ""
        return f"Run {self.replicas} replicas of {self.service}{before}."

    def undo(self) -> Action | None:
        """Return the way back to `previous`, if it is known."""
        if self.previous is None:
            return None
        return ScaleService(service=self.service, replicas=self.previous, previous=self.replicas)


def _normal_replicas(service: str, inventory: Inventory) -> int:
    return sum(
        entry.replicas or 1
        for host in inventory.hosts
        for entry in host.services
        if entry.name == service
    )
