"""Who can change something, and how it is previewed and probed."""

from typing import Protocol, runtime_checkable

from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import CommandResult
from it_incident_response.domain.model import Value


class Preview(Value):
    """What would happen, found out without changing anything."""

    commands: tuple[tuple[str, ...], ...]
    """The exact argument vectors, including any sudo; SSH itself left out."""
    where: str
    """Such as `deploy@web-1 (10.0.0.1:22)`."""
    notes: tuple[str, ...] = ()


class Outcome(Value):
    """How one action ended."""

    succeeded: bool
    results: tuple[CommandResult, ...] = ()
    error: str | None = None


class Probe(Value):
    """A read-only look at whether an action took effect."""

    took_effect: bool | None
    """None if it cannot be told."""
    detail: str
    results: tuple[CommandResult, ...] = ()
    outputs: tuple[str, ...] = ()
    """What each probe command printed, in order, as the action parses it; empty if one failed.

    Kept as `Execution.before` before an action starts, and given back to `probe` afterwards. The
    probes of our actions print states and counts, nothing secret: not redacted.
    """


@runtime_checkable
class Executor(Protocol):
    """Something that carries out typed actions."""

    @property
    def name(self) -> str:
        """The name that `Action.executor` refers to."""
        ...

    async def preview(self, action: Action) -> Preview:
        """Show what would run, changing nothing; raises `TargetUnknown`, `ConnectorError`."""
        ...

    async def execute(self, action: Action, *, key: str) -> Outcome:
        """Run the action once; `key` marks the attempt at the target where it can.

        A refused or failed command is an `Outcome` with `succeeded=False`. Raises `ActionInDoubt`
        when the connection broke or the time limit passed after the action had been started, and
        `ConnectorError` only when certainly nothing was started.

        When it is cancelled it stops what it began, as far as the target lets it, within a few
        seconds, and then lets the cancellation go on; see `StopWitness`.
        """
        ...

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        """Look, without changing anything, whether the action took effect.

        `before` is the `outputs` of a probe made before the action started: a restart, for one, is
        proven only by a difference. Raises `TargetUnknown`, `ConnectorError`.
        """
        ...


@runtime_checkable
class StopWitness(Protocol):
    """An executor that can tell what became of an action whose `execute` was cancelled."""

    def how_it_stopped(self, key: str) -> str | None:
        """Return what was seen when the attempt under `key` was stopped; None if it was not."""
        ...


class FleetHistory(Value):
    """What policy needs to know about recent actions."""

    started_last_hour: int = 0
    targets_last_hour: tuple[str, ...] = ()
    """Targets as text, one entry an action, so that a target acted on twice stands twice."""
    hosts_last_hour: tuple[str, ...] = ()
    """Names of the hosts acted on, each once."""
    locked_targets: tuple[str, ...] = ()
