"""Carries out actions on hosts over SSH: host keys checked, arguments quoted, all bounded."""

import asyncio
from collections import OrderedDict
from functools import cached_property, partial
from typing import TYPE_CHECKING

from it_incident_response.domain.action import Action, Risk
from it_incident_response.domain.inventory import HostEntry, Inventory
from it_incident_response.errors import (
    ActionInDoubt,
    ConfigError,
    ConnectorError,
    ConnectorUnavailable,
    IncidentResponseError,
    TargetUnknown,
)
from it_incident_response.executors.ssh_run import Bounds, Ending, NotStarted, Run, TerminalRefused
from it_incident_response.executors.ssh_settings import SshSettings
from it_incident_response.executors.ssh_text import clean, command_line, sudoers_line
from it_incident_response.ports import Health, Outcome, Preview, Probe

if TYPE_CHECKING:
    from it_incident_response.executors.ssh_connection import SshConnections

__all__ = ["SshExecutor", "SshSettings"]

Vector = tuple[str, ...]

_ENVIRONMENT = ("env", "LC_ALL=C")
"""Programs print what we parse only in this locale; sshd need not accept it as a variable."""
_REPLACE_SHELL = "exec"
"""sshd passes our signals to the shell's process group; `timeout` would start one of its own below
a shell that stays, and be out of reach."""
_SUDO = ("sudo", "-n", "--")
_MAY_SUDO = ("sudo", "-n", "-l", "--")
_REMEMBERED_KEYS = 1024
_LOOK_LIMIT_S = 60.0
_CHECK_LIMIT_S = 15.0


class SshExecutor:
    """An `Executor` for the actions whose `executor` is `ssh`.

    Connections are kept and shared; `close` ends them. The same `key` runs once in one process
    and gives the same outcome again; across processes the action journal holds that promise,
    since a host has no memory of ours.
    """

    def __init__(self, inventory: Inventory, settings: SshSettings) -> None:
        self._inventory = inventory
        self._settings = settings
        self._hosts = {host.name: host for host in inventory.hosts}
        self._attempts: OrderedDict[str, asyncio.Task[Outcome]] = OrderedDict()
        self._stops: OrderedDict[str, str] = OrderedDict()
        self._without_terminal: set[str] = set()

    @property
    def name(self) -> str:
        """The name that `Action.executor` refers to."""
        return "ssh"

    async def preview(self, action: Action) -> Preview:
        """Show the exact commands, whether sudo lets us run them, and what they would meet.

        Connects and looks, changing nothing; raises `TargetUnknown` and `ConnectorError`.
        """
        host = self._host(action)
        notes = [await self._objection(host, action, each) for each in action.commands()]
        runs = [await self._look(host, action, each) for each in action.preview_commands()]
        if all(run.is_usable for run in runs):
            notes += action.describe_preview(tuple(run.stdout for run in runs))
        notes += [run.describe_failure() for run in runs if not run.is_success]
        return Preview(
            commands=tuple(self._vector(action, each) for each in action.commands()),
            where=self._where(host),
            notes=tuple(note for note in notes if note),
        )

    async def execute(self, action: Action, *, key: str) -> Outcome:
        """Run the action's commands in order until one fails; see `Executor.execute`.

        Interrupting a read-only action leaves nothing in doubt: that is a failed outcome. When
        this call is cancelled, the running command is stopped before the cancellation goes on.
        """
        host = self._host(action)
        attempt = self._attempts.get(key)
        if attempt is not None:
            return await _joined(attempt, key)
        attempt = asyncio.ensure_future(self._execute(host, action, key))
        self._attempts[key] = attempt
        if len(self._attempts) > _REMEMBERED_KEYS:
            self._attempts.popitem(last=False)
        try:
            return await attempt
        except ActionInDoubt:
            raise
        except IncidentResponseError:
            self._attempts.pop(key, None)  # nothing was started: it may be tried again
            raise

    def how_it_stopped(self, key: str) -> str | None:
        """Return what a cancelled attempt did when it was told to stop; None if it was not."""
        return self._stops.get(key)

    async def probe(self, action: Action, *, before: tuple[str, ...] | None = None) -> Probe:
        """Run the action's probes; a probe that fails tells nothing."""
        host = self._host(action)
        runs = [await self._look(host, action, each) for each in action.probe_commands()]
        results = tuple(run.result() for run in runs)
        failures = [run.describe_failure() for run in runs if not run.is_success]
        if failures:
            return Probe(took_effect=None, detail="; ".join(failures), results=results)
        outputs = tuple(run.stdout for run in runs)
        effect = action.took_effect(outputs, before)
        verdict = _VERDICTS[effect]
        state = action.describe_probe(outputs)
        detail = f"{verdict}: {state}" if state else verdict
        return Probe(took_effect=effect, detail=detail, results=results, outputs=outputs)

    async def check(self) -> Health:
        """Log in to every host of the inventory; raises the first host's `ConnectorError`."""
        checks = (self.check_host(name) for name in self._hosts)
        answers = await asyncio.gather(*checks, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return Health(detail=f"logged in to {len(answers)} hosts")

    async def check_host(self, name: str) -> Health:
        """Log in to one host and run `true`; raises `TargetUnknown`, `ConnectorError`."""
        host = self._hosts.get(name)
        if host is None:
            raise TargetUnknown(f"host {name!r} is not in the inventory")
        run = await self._run(host, ("true",), _CHECK_LIMIT_S, is_change=False)
        if not run.is_success:
            raise ConnectorUnavailable("ssh", f"{self._where(host)}: {run.describe_failure()}")
        return Health(detail=self._where(host))

    async def close(self) -> None:
        """Close every connection."""
        if "_connections" in self.__dict__:
            await self._connections.close()

    @cached_property
    def _connections(self) -> "SshConnections":
        from it_incident_response.executors.ssh_connection import SshConnections

        return SshConnections(self._hosts, self._settings)

    def _host(self, action: Action) -> HostEntry:
        """Return the host to act on; raises `TargetUnknown` unless the target is listed."""
        if action.executor != self.name or action.host is None:
            raise ConfigError(
                f"{action.kind} is not carried out over SSH but by {action.executor!r}"
            )
        action.require_known(self._inventory)
        return self._hosts[action.host]

    def _where(self, host: HostEntry) -> str:
        via = f" through {host.jump}" if host.jump else ""
        return f"{self._connections.user(host)}@{host.name} ({host.address}:{host.port}){via}"

    def _uses_sudo(self, action: Action) -> bool:
        return self._settings.sudo and action.risk is not Risk.READ_ONLY

    def _limit_s(self, action: Action) -> float:
        return min(action.time_limit_s, self._settings.command_timeout_s or action.time_limit_s)

    def _vector(self, action: Action, command: Vector) -> Vector:
        if self._uses_sudo(action):
            return (*_ENVIRONMENT, *_SUDO, *command)
        return _unprivileged(command, self._limit_s(action))

    async def _execute(self, host: HostEntry, action: Action, key: str) -> Outcome:
        runs: list[Run] = []
        for command in action.commands():
            try:
                run = await self._step(host, action, command, key)
            except ConnectorError as error:
                if not runs:
                    raise
                return _outcome(runs, error.message)
            runs.append(run)
            if run.is_unknown and action.risk is not Risk.READ_ONLY:
                raise self._in_doubt(host, run)
            if not run.is_usable:
                return _outcome(runs, self._explain(host, command, run))
        return _outcome(runs, None)

    async def _step(self, host: HostEntry, action: Action, command: Vector, key: str) -> Run:
        is_change = action.risk is not Risk.READ_ONLY
        vector, limit_s = self._vector(action, command), self._limit_s(action)
        return await self._run(host, vector, limit_s, is_change=is_change, key=key)

    def _note_stop(self, key: str, seen: str) -> None:
        self._stops[key] = seen
        if len(self._stops) > _REMEMBERED_KEYS:
            self._stops.popitem(last=False)

    async def _run(
        self, host: HostEntry, vector: Vector, limit_s: float, *, is_change: bool, key: str = ""
    ) -> Run:
        """Run one command; a connection that turns out to be dead is replaced.

        Raises `ConnectorError` only when the command was certainly not started.
        """
        from it_incident_response.executors.ssh_command import run_command

        line = f"{_REPLACE_SHELL} {command_line(vector)}"
        by_sudo = is_change and self._settings.sudo
        for is_last in (False, False, True):
            terminal = by_sudo and host.name not in self._without_terminal
            bounds = Bounds(limit_s, self._settings.max_output_bytes, not is_change, terminal)
            async with self._connections.use(host) as connection:
                try:
                    ended = await run_command(
                        connection, line, bounds, on_stop=partial(self._note_stop, key)
                    )
                except TerminalRefused:
                    self._without_terminal.add(host.name)
                    continue
                except NotStarted as reason:
                    if connection.is_closed() and not is_last:
                        continue
                    raise ConnectorUnavailable(
                        "ssh", f"{self._where(host)} did not run {vector[-1]!r}: {reason}"
                    ) from None
                return Run(vector, ended, clean(ended.stdout), clean(ended.stderr))
        raise AssertionError("the last attempt returns or raises")

    async def _look(self, host: HostEntry, action: Action, command: Vector) -> Run:
        """Run a read-only command as the user, or by sudo if that fails and sudo permits it."""
        limit_s = min(self._limit_s(action), _LOOK_LIMIT_S)
        run = await self._run(host, _unprivileged(command, limit_s), limit_s, is_change=False)
        if run.ended.ending is not Ending.EXITED or run.is_success or not self._uses_sudo(action):
            return run
        if not await self._may_sudo(host, command):
            return run
        vector = (*_ENVIRONMENT, *_SUDO, *command)
        return await self._run(host, vector, limit_s, is_change=False)

    async def _may_sudo(self, host: HostEntry, command: Vector) -> bool:
        vector = (*_ENVIRONMENT, *_MAY_SUDO, *command)
        run = await self._run(host, vector, _CHECK_LIMIT_S, is_change=False)
        return run.is_success

    async def _objection(self, host: HostEntry, action: Action, command: Vector) -> str:
        """Return why sudo would refuse the command; empty if it would not."""
        if not self._uses_sudo(action) or await self._may_sudo(host, command):
            return ""
        return self._sudo_advice(host, command)

    def _sudo_advice(self, host: HostEntry, command: Vector) -> str:
        line = sudoers_line(self._connections.user(host), command)
        return f"sudo on {host.name} does not permit this; add there with visudo:  {line}"

    def _explain(self, host: HostEntry, command: Vector, run: Run) -> str:
        if run.is_sudo_refusal:
            return self._sudo_advice(host, command)
        return f"{host.name}: {run.describe_failure()}"

    def _in_doubt(self, host: HostEntry, run: Run) -> ActionInDoubt:
        return ActionInDoubt(
            f"{self._where(host)}: {run.describe_failure()}; nobody knows how far it got",
            hint="look at the target before anything is tried again",
        )


_VERDICTS = {
    True: "it took effect",
    False: "it did not take effect",
    None: "whether it took effect cannot be told",
}


def _unprivileged(command: Vector, limit_s: float) -> Vector:
    """Return the vector with a limit kept by the host itself, for when the connection is lost.

    It lets our own limit pass first. What sudo runs as root, `timeout` could not stop: that has
    no such net.
    """
    return (*_ENVIRONMENT, "timeout", "-k", "5", str(int(limit_s) + 5), *command)


def _outcome(runs: list[Run], error: str | None) -> Outcome:
    results = tuple(run.result() for run in runs)
    return Outcome(succeeded=error is None, results=results, error=error)


async def _joined(attempt: "asyncio.Task[Outcome]", key: str) -> Outcome:
    """Return what the first call under this key gets, without running anything."""
    try:
        return await asyncio.shield(attempt)
    except asyncio.CancelledError:
        if not attempt.cancelled():
            raise
    raise ActionInDoubt(
        f"the attempt {key} was cancelled while it ran; nobody knows how far it got",
        hint="look at the target before anything is tried again",
    )
