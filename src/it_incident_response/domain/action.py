"""Action: one typed change to one target, as data that can be shown, hashed and approved."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from it_incident_response.domain.entity import Entity
from it_incident_response.domain.evidence import Signal
from it_incident_response.domain.inventory import Inventory
from it_incident_response.domain.model import Value
from it_incident_response.errors import TargetUnknown


class Risk(StrEnum):
    """What can go wrong, in rising order; policy decides what each level needs."""

    READ_ONLY = "read_only"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for read-only to 3 for high."""
        return list(Risk).index(self)


class Reversibility(StrEnum):
    """Whether the change can be undone."""

    NOTHING_TO_UNDO = "nothing_to_undo"
    REVERSIBLE = "reversible"
    COMPENSABLE = "compensable"
    IRREVERSIBLE = "irreversible"


class AlertsCleared(Value):
    """The incident's alerts no longer hold, by their own expressions."""

    kind: Literal["alerts_cleared"] = "alerts_cleared"


class SignalWithin(Value):
    """A signal of an entity lies within bounds again."""

    kind: Literal["signal_within"] = "signal_within"
    signal: Signal
    entity: Entity
    at_least: float | None = None
    at_most: float | None = None


class ProbeSucceeds(Value):
    """The executor's own read-only look at the target says the action took effect."""

    kind: Literal["probe_succeeds"] = "probe_succeeds"


Check = Annotated[AlertsCleared | SignalWithin | ProbeSucceeds, Field(discriminator="kind")]


class ActionRecord(Value):
    """An action as stored in a plan: its kind and validated parameters."""

    kind: str
    parameters: dict[str, JsonValue]


class Action(Value, ABC):
    """Base of the typed actions; one subclass a kind, listed in `actions.ACTIONS`.

    Parameters are the pydantic fields, each with a constrained type: no text from an alert or a
    log reaches a target unless it matches the inventory. Carrying out is the executor's work.
    """

    kind: ClassVar[str]
    executor: ClassVar[str]
    risk: ClassVar[Risk]
    reversibility: ClassVar[Reversibility]
    is_idempotent: ClassVar[bool] = False
    """True if running it twice does what running it once does."""
    time_limit_s: ClassVar[float] = 60.0

    host: str | None = None
    """Name of the inventory host it runs on; subclasses narrow it to `HostName`, or to `None`."""

    @classmethod
    @abstractmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> "tuple[Action, ...]":
        """Return the actions of this kind that these entities call for, the first cause first.

        Targets come from the inventory alone; empty if it knows none of the entities.
        """

    @property
    @abstractmethod
    def target(self) -> Entity:
        """What is locked, rate-limited and shown as changed."""

    @abstractmethod
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the argument vectors that will run, in order; never a shell string."""

    @abstractmethod
    def probe_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return read-only argument vectors that show whether the action took effect."""

    @abstractmethod
    def took_effect(
        self, probe_outputs: tuple[str, ...], before: tuple[str, ...] | None = None
    ) -> bool | None:
        """Judge the probes' outputs: True done, False not done, None cannot be told.

        `before` is what the same probes printed before the action started (`Execution.before`);
        without it many actions cannot be told apart from "it was like that already".
        """

    def describe_probe(self, outputs: tuple[str, ...]) -> str:
        """Return what the probes saw, one line for a human; empty if there is nothing to say."""
        return ""

    @abstractmethod
    def describe(self) -> str:
        """Return one sentence that says what will change."""

    def preview_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return read-only argument vectors that show what the action would meet or change."""
        return ()

    def describe_preview(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the outputs of `preview_commands` mean, a few sentences for a human."""
        return ()

    def require_known(self, inventory: Inventory) -> None:
        """Raise `TargetUnknown` unless the inventory lists this very target; aliases do not count.

        Subclasses add their unit or path; the base checks the host.
        """
        if self.host is not None and self.host not in {entry.name for entry in inventory.hosts}:
            raise TargetUnknown(
                f"{self.kind}: host {self.host!r} is not in the inventory",
                hint="add it under `inventory.hosts`, or correct the name",
            )

    def checks(self) -> tuple[Check, ...]:
        """Return what must hold afterwards for the fix to count as verified."""
        return (ProbeSucceeds(), AlertsCleared())

    def undo(self) -> "Action | None":
        """Return the action that takes this one back, or None if there is none."""
        return None

    def record(self) -> ActionRecord:
        """Return this action as data."""
        without = {"host"} if self.host is None else set[str]()
        parameters = self.model_dump(mode="json", exclude=without)
        return ActionRecord(kind=self.kind, parameters=parameters)
