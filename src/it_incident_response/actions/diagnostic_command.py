"""RunDiagnosticCommand: one read-only look at a host, from a closed list."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from it_incident_response.actions.diagnostic_facts import (
    Facts,
    certificate_facts,
    disk_facts,
    failed_unit_facts,
    folder_facts,
    log_facts,
    memory_facts,
    process_facts,
    socket_facts,
    unit_facts,
    uptime_facts,
)
from it_incident_response.actions.targets import (
    entry_of,
    hosts_concerned,
    require_listed,
    services_concerned,
)
from it_incident_response.actions.unit_state import show_command
from it_incident_response.domain.action import Action, Check, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.evidence import CommandOutput
from it_incident_response.domain.execution import CommandResult
from it_incident_response.domain.inventory import (
    AbsolutePath,
    HostEntry,
    HostName,
    Inventory,
    UnitName,
)

Vector = tuple[str, ...]


class DiagnosticCommand(StrEnum):
    """What may be looked at; each is one fixed argument vector."""

    UNIT_STATUS = "unit_status"
    UNIT_LOG = "unit_log"
    FAILED_UNITS = "failed_units"
    DISK_USAGE = "disk_usage"
    INODE_USAGE = "inode_usage"
    FOLDER_USAGE = "folder_usage"
    MEMORY = "memory"
    TOP_CPU = "top_cpu"
    TOP_MEMORY = "top_memory"
    SOCKETS = "sockets"
    KERNEL_LOG = "kernel_log"
    UPTIME = "uptime"
    CERTIFICATE_DATES = "certificate_dates"


class _Recipe(NamedTuple):
    vector: Callable[["RunDiagnosticCommand"], Vector]
    facts: Callable[[str], Facts]
    needs: str | None = None


_JOURNAL = ("journalctl", "--no-pager", "--quiet", "--utc", "--output=short-iso")
_PS = ("ps", "-e", "-o", "pid,user:20,pcpu,pmem,rss,etimes,comm")
"""The command's name only, not its arguments: those often carry secrets."""


def _fixed(*vector: str) -> Callable[["RunDiagnosticCommand"], Vector]:
    return lambda _: vector


_RECIPES: Mapping[DiagnosticCommand, _Recipe] = {
    DiagnosticCommand.UNIT_STATUS: _Recipe(
        lambda a: show_command(a.unit or ""), unit_facts, needs="unit"
    ),
    DiagnosticCommand.UNIT_LOG: _Recipe(
        lambda a: (*_JOURNAL, f"--lines={a.lines}", f"--unit={a.unit}"), log_facts, needs="unit"
    ),
    DiagnosticCommand.FAILED_UNITS: _Recipe(
        _fixed("systemctl", "list-units", "--failed", "--no-legend", "--plain", "--no-pager"),
        failed_unit_facts,
    ),
    # Local file systems only (-l): a dead NFS server would hang df for ever.
    DiagnosticCommand.DISK_USAGE: _Recipe(_fixed("df", "-P", "-k", "-l"), disk_facts),
    DiagnosticCommand.INODE_USAGE: _Recipe(_fixed("df", "-P", "-i", "-l"), disk_facts),
    DiagnosticCommand.FOLDER_USAGE: _Recipe(
        lambda a: ("du", "-x", "-k", "--max-depth=1", "--", a.path or ""),
        folder_facts,
        needs="path",
    ),
    DiagnosticCommand.MEMORY: _Recipe(_fixed("cat", "/proc/meminfo"), memory_facts),
    DiagnosticCommand.TOP_CPU: _Recipe(_fixed(*_PS, "--sort=-pcpu"), process_facts),
    DiagnosticCommand.TOP_MEMORY: _Recipe(_fixed(*_PS, "--sort=-rss"), process_facts),
    DiagnosticCommand.SOCKETS: _Recipe(_fixed("ss", "-s"), socket_facts),
    DiagnosticCommand.KERNEL_LOG: _Recipe(
        lambda a: (*_JOURNAL, "--dmesg", f"--lines={a.lines}"), log_facts
    ),
    DiagnosticCommand.UPTIME: _Recipe(_fixed("cat", "/proc/uptime", "/proc/loadavg"), uptime_facts),
    DiagnosticCommand.CERTIFICATE_DATES: _Recipe(
        lambda a: (
            *("openssl", "x509", "-noout", "-subject", "-startdate", "-enddate"),
            *("-in", a.path or ""),
        ),
        certificate_facts,
        needs="path",
    ),
}

_OF_A_HOST = (
    DiagnosticCommand.FAILED_UNITS,
    DiagnosticCommand.DISK_USAGE,
    DiagnosticCommand.MEMORY,
    DiagnosticCommand.TOP_CPU,
    DiagnosticCommand.UPTIME,
    DiagnosticCommand.KERNEL_LOG,
)
_MAX_PROPOSED = 24


class RunDiagnosticCommand(Action):
    """Runs one command of the closed list; it changes nothing and needs no root.

    The logs need the SSH user to be in the group `systemd-journal` (or `adm`).
    """

    kind: ClassVar[str] = "run_diagnostic_command"
    executor: ClassVar[str] = "ssh"
    risk: ClassVar[Risk] = Risk.READ_ONLY
    reversibility: ClassVar[Reversibility] = Reversibility.NOTHING_TO_UNDO
    is_idempotent: ClassVar[bool] = True
    time_limit_s: ClassVar[float] = 30.0

    host: HostName
    command: DiagnosticCommand
    unit: UnitName | None = None
    path: AbsolutePath | None = None
    lines: Annotated[int, Field(ge=1, le=2000)] = 200

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        needs = _RECIPES[self.command].needs
        for name in ("unit", "path"):
            is_given = getattr(self, name) is not None
            if is_given != (name == needs):
                problem = "takes no" if is_given else "needs a"
                raise ValueError(f"{self.command} {problem} {name}")
        return self

    @classmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> tuple[Action, ...]:
        """Return state and log of each concerned unit, then the basics of each host, at most 24."""
        units = [(h, s.unit) for h, s in services_concerned(entities, inventory) if s.unit]
        looks = [
            cls(host=host.name, command=command, unit=unit)
            for host, unit in units
            for command in (DiagnosticCommand.UNIT_STATUS, DiagnosticCommand.UNIT_LOG)
        ]
        looks += [
            cls(host=host.name, command=command)
            for host in hosts_concerned(entities, inventory)
            for command in _OF_A_HOST
        ]
        return tuple(looks[:_MAX_PROPOSED])

    @property
    def target(self) -> Entity:
        """The host that is looked at."""
        return Entity(EntityKind.HOST, self.host)

    def require_known(self, inventory: Inventory) -> None:
        """Raise `TargetUnknown` unless host, unit and path are listed in the inventory."""
        entry = entry_of(self.host, inventory)
        if self.unit is not None:
            require_listed(self.kind, self.unit, _units(entry), "services[].unit")
        if self.path is not None:
            is_certificate = self.command is DiagnosticCommand.CERTIFICATE_DATES
            where = "certificate_paths" if is_certificate else "cleanable_paths"
            require_listed(self.kind, self.path, getattr(entry, where), where)

    def commands(self) -> tuple[Vector, ...]:
        """Return the one command."""
        return (_RECIPES[self.command].vector(self),)

    def probe_commands(self) -> tuple[Vector, ...]:
        """Return nothing: there is no effect to look for."""
        return ()

    def took_effect(
        self, probe_outputs: tuple[str, ...], before: tuple[str, ...] | None = None
    ) -> bool | None:
        """Return True: a look has no effect that could be missing."""
        return True

    def checks(self) -> tuple[Check, ...]:
        """Return nothing: a look does not claim to fix anything."""
        return ()

    def describe(self) -> str:
        """Return what is looked at."""
        about = self.unit or self.path
        return (
            f"Look at {self.command.value.replace('_', ' ')}{f' of {about}' if about else ''} "
            + (f"on {self.host}; nothing is changed.")
        )

    def facts(self, output: str) -> Facts:
        """Return the named facts that the command's output states."""
        return _RECIPES[self.command].facts(output)

    def finding(self, result: CommandResult) -> CommandOutput:
        """Return the result as citable evidence; its output must be redacted already."""
        return CommandOutput(
            entity=self._about(),
            command=" ".join(result.command),
            exit_status=result.exit_status,
            output=result.output,
            facts=self.facts(result.output) if result.exit_status == 0 else {},
        )

    def _about(self) -> Entity:
        if self.unit is None:
            return self.target
        return Entity(EntityKind.SERVICE, f"{self.host}/{self.unit}")


def _units(entry: HostEntry) -> tuple[str, ...]:
    units = [service.unit for service in entry.services if service.unit is not None]
    return (*units, entry.certificate_unit) if entry.certificate_unit else tuple(units)
