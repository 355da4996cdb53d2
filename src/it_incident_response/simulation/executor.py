"""Carries out typed actions on the simulated world, as an `Executor`."""

from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import CommandResult
from it_incident_response.errors import TargetUnknown
from it_incident_response.ports.acting import Outcome, Preview, Probe
from it_incident_response.simulation.host_shell import look
from it_incident_response.simulation.remedies import Deed
from it_incident_response.simulation.world import SimulatedWorld

_READ_ONLY = "run_diagnostic_command"
_LOOK_S = 0.5


class SimulatedExecutor:
    """Does to the world what a real executor of that name would do to real hosts."""

    def __init__(self, world: SimulatedWorld, name: str) -> None:
        self._world = world
        self._name = name
        self._outcomes: dict[str, Outcome] = {}

    @property
    def name(self) -> str:
        """The name that `Action.executor` refers to."""
        return self._name

    async def preview(self, action: Action) -> Preview:
        """Show what would run, changing nothing; raises `TargetUnknown`."""
        self._require_known(action)
        outputs = self._look(action, action.preview_commands())
        notes = action.describe_preview(tuple(result.output for result in outputs))
        return Preview(commands=action.commands(), where=self._where(action), notes=notes)

    async def execute(self, action: Action, *, key: str) -> Outcome:
        """Run the action once; the same key again returns the outcome of the first time."""
        self._require_known(action)
        if key in self._outcomes:
            return self._outcomes[key]
        # The outcome is kept before time passes: a second call meanwhile must not act again.
        act = self._read if action.kind == _READ_ONLY else self._act
        outcome, takes_s = act(action)
        self._outcomes[key] = outcome
        await self._world.clock.sleep(takes_s)
        return outcome

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        """Look whether the action took effect, changing nothing; raises `TargetUnknown`."""
        self._require_known(action)
        self._world.catch_up()
        if not action.probe_commands():
            return self._probe_service(action, before)
        results = self._look(action, action.probe_commands())
        if any(result.exit_status for result in results):
            return Probe(took_effect=None, detail="a probe failed", results=results)
        outputs = tuple(result.output for result in results)
        took_effect = action.took_effect(outputs, before)
        detail = {True: "took effect", False: "did not take effect", None: "cannot be told"}
        return Probe(
            took_effect=took_effect, detail=detail[took_effect], results=results, outputs=outputs
        )

    def _read(self, action: Action) -> tuple[Outcome, float]:
        results = self._look(action, action.commands())
        failed = [result for result in results if result.exit_status]
        error = failed[0].output if failed else None
        return Outcome(succeeded=not failed, results=results, error=error), _LOOK_S

    def _act(self, action: Action) -> tuple[Outcome, float]:
        deed = Deed(
            kind=action.kind,
            host=action.host,
            target=action.target.name,
            parameters=action.record().parameters,
        )
        effect = self._world.perform(deed)
        commands = action.commands() or ((action.kind, action.target.name),)
        results = tuple(
            CommandResult(
                command=command,
                exit_status=0 if effect.succeeded else 1,
                output=effect.output,
                duration_s=effect.takes_s,
            )
            for command in commands
        )
        error = None if effect.succeeded else effect.output
        outcome = Outcome(succeeded=effect.succeeded, results=results, error=error)
        return outcome, effect.takes_s

    def _probe_service(self, action: Action, before: tuple[str, ...] | None) -> Probe:
        service = self._world.state.services.get(action.target.name)
        if service is None:
            took_effect = action.took_effect((), before)
            return Probe(took_effect=took_effect, detail="nothing to look at")
        seen = (f"version={service.release.version}", f"replicas={service.replicas}")
        wanted = action.record().parameters.get("replicas")
        if wanted is not None:
            took_effect = service.replicas == wanted
        else:
            took_effect = None if before is None else seen[0] != before[0]
        return Probe(took_effect=took_effect, detail=", ".join(seen), outputs=seen)

    def _look(
        self, action: Action, commands: tuple[tuple[str, ...], ...]
    ) -> tuple[CommandResult, ...]:
        results = []
        for command in commands:
            status, output = look(self._world, action.host or "", command)
            results.append(CommandResult(command=command, exit_status=status, output=output))
        return tuple(results)

    def _require_known(self, action: Action) -> None:
        action.require_known(self._world.inventory)
        if action.host is not None and self._world.inventory.host(action.host) is None:
            raise TargetUnknown(
                f"the simulated world has no host {action.host!r}",
                hint=f"it has {', '.join(host.name for host in self._world.inventory.hosts)}",
            )

    def _where(self, action: Action) -> str:
        entry = self._world.inventory.host(action.host) if action.host else None
        if entry is None:
            return f"{self._name} of the simulated world"
        return f"{entry.user}@{entry.name} ({entry.address}:{entry.port})"
