"""DryRunExecutor: shows what would run, and runs nothing."""

from collections.abc import Coroutine
from typing import Any, overload

from it_incident_response.domain.action import Action
from it_incident_response.domain.execution import CommandResult
from it_incident_response.errors import InputRejected, PolicyDenied
from it_incident_response.ports import Executor, Outcome, Preview, Probe


class DryRunExecutor:
    """Stands before an executor and previews instead of executing.

    `DryRunExecutor(dry_run=True).execute("text")`, as in the guide, answers what was asked and runs
    nothing; text is never run, dry run or not. `DryRunExecutor(inner)` is itself an `Executor`.
    """

    def __init__(self, inner: Executor | bool | None = None, *, dry_run: bool = True) -> None:
        self._inner = None if isinstance(inner, bool) else inner
        self.dry_run = inner if isinstance(inner, bool) else dry_run

    @property
    def name(self) -> str:
        """The name of the executor behind it."""
        return self._inner.name if self._inner is not None else "dry_run"

    @overload
    def execute(self, command: str, **kwargs: Any) -> dict[str, Any]: ...

    @overload
    def execute(self, command: Action, *, key: str) -> Coroutine[Any, Any, Outcome]: ...

    def execute(
        self, command: str | Action, **kwargs: Any
    ) -> dict[str, Any] | Coroutine[Any, Any, Outcome]:
        """Return what would run: a dictionary for text, an `Outcome` to await for an action.

        The results of an outcome have no exit status, since nothing ran. Raises `PolicyDenied` for
        text when `dry_run` is False.
        """
        if isinstance(command, Action):
            return self._outcome(command, str(kwargs.get("key", "")))
        if not isinstance(command, str):
            raise InputRejected(f"a command is a text or a typed action, not {command!r:.80}")
        if self.dry_run:
            return {"status": "dry_run", "command": command, "args": kwargs}
        raise PolicyDenied(
            "a command given as text is never run: it cannot be checked against the inventory, "
            "undone or verified",
            hint="use a typed action, for example RestartService(host=..., unit=...), in a plan",
        )

    async def preview(self, action: Action) -> Preview:
        """Return the inner executor's preview; without one, the action's own commands."""
        if self._inner is None:
            return Preview(commands=action.commands(), where=str(action.target))
        return await self._inner.preview(action)

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        """Let the inner executor look; without one nothing can be told."""
        if self._inner is None:
            return Probe(took_effect=None, detail="dry run without an executor")
        return await self._inner.probe(action, before=before)

    async def _outcome(self, action: Action, key: str) -> Outcome:
        if not self.dry_run and self._inner is not None:
            return await self._inner.execute(action, key=key)
        preview = await self.preview(action)
        would_run = tuple(CommandResult(command=command) for command in preview.commands)
        return Outcome(succeeded=True, results=would_run)
