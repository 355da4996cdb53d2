"""CleanDisk: deletes old regular files in one folder that the inventory allows to be cleaned."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from it_incident_response.actions.targets import entry_of, hosts_concerned, require_listed
from it_incident_response.domain.action import Action, Reversibility, Risk
from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.inventory import CleanablePath, HostEntry, HostName, Inventory

_SHOWN = 20
_RECORD_END = "//\n"
"""Ends a listed file: no path that `find` prints below a normal path contains two slashes, so no
file name, not even one with a newline in it, can pretend to be another entry."""


class CleanDisk(Action):
    """Deletes files untouched for `older_than_hours` in one folder, on its file system only.

    Symbolic links are neither followed nor deleted, folders stay, mount points below are not
    entered. Needs GNU find, whose -delete works relative to open folders and so cannot be led
    astray by a link swapped in meanwhile.
    """

    kind: ClassVar[str] = "clean_disk"
    executor: ClassVar[str] = "ssh"
    risk: ClassVar[Risk] = Risk.HIGH
    reversibility: ClassVar[Reversibility] = Reversibility.IRREVERSIBLE
    is_idempotent: ClassVar[bool] = True
    """A second run deletes only what the approval covers already: files past the same age."""
    time_limit_s: ClassVar[float] = 600.0

    host: HostName
    path: CleanablePath
    older_than_hours: Annotated[int, Field(ge=1, le=24 * 3660)] = 24

    @classmethod
    def propose(cls, entities: Sequence[Entity], inventory: Inventory) -> tuple[Action, ...]:
        """Return one cleaning for each cleanable folder of the concerned hosts.

        If mount points are named, only folders below one of them.
        """
        mounts = [entity.name for entity in entities if entity.kind is EntityKind.MOUNT]
        return tuple(
            cls(host=host.name, path=path)
            for host in hosts_concerned(entities, inventory)
            for path in _below(host, mounts)
        )

    @property
    def target(self) -> Entity:
        """The folder on its host, as `host:path`."""
        return Entity(EntityKind.MOUNT, f"{self.host}:{self.path}")

    def require_known(self, inventory: Inventory) -> None:
        """Raise `TargetUnknown` unless the folder is one of the host's `cleanable_paths`."""
        allowed = entry_of(self.host, inventory).cleanable_paths
        require_listed(self.kind, self.path, allowed, "cleanable_paths")

    def commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the deleting `find`; it prints nothing but errors.

        Under `timeout`, since what runs as root by sudo cannot be stopped from outside.
        """
        limit = str(int(self.time_limit_s) - 10)  # ends before we would give up waiting
        return (("timeout", "-k", "5", limit, *self._find(), "-delete"),)

    def probe_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return a look for a first file that is still there, and at the space in use."""
        return ((*self._find(), "-print", "-quit"), ("df", "-P", "-k", "--", self.path))

    def preview_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the same `find`, listing sizes and paths in place of deleting."""
        return ((*self._find(), "-printf", "%s\\t%p//\\n"), ("df", "-P", "-k", "--", self.path))

    def describe_preview(self, outputs: tuple[str, ...]) -> tuple[str, ...]:
        """Return how much would go, the largest files by name, and how full the disk is."""
        if not outputs:
            return ()
        files = _parse_listing(outputs[0])
        total = sum(size for size, _ in files)
        notes = [f"{len(files)} files, {_human(total)}, would be deleted from {self.path}"]
        largest = sorted(files, reverse=True)[:_SHOWN]
        notes += [f"{_human(size)}  {path}" for size, path in largest]
        if len(files) > _SHOWN:
            notes.append(f"and {len(files) - _SHOWN} smaller ones")
        used = used_kib(outputs[1]) if len(outputs) > 1 else None
        if used is not None:
            notes.append(f"{_human(used * 1024)} are in use on its file system now")
        return tuple(notes)

    def describe_probe(self, outputs: tuple[str, ...]) -> str:
        """Return whether old files are left, and the space in use."""
        left = "old files are left" if outputs and outputs[0].strip() else "no old file is left"
        used = used_kib(outputs[1]) if len(outputs) > 1 else None
        return left if used is None else f"{left}, {_human(used * 1024)} are in use"

    def took_effect(
        self, probe_outputs: tuple[str, ...], before: tuple[str, ...] | None = None
    ) -> bool | None:
        """True if no old file is left and, where known before, less space is in use.

        Deleted files that a process still holds open free nothing: that is False, and honest.
        """
        if len(probe_outputs) < 2:
            return None
        if probe_outputs[0].strip():
            return False
        if before is None or len(before) < 2:
            return True
        used, used_before = used_kib(probe_outputs[1]), used_kib(before[1])
        if used is None or used_before is None:
            return None
        return used < used_before or not before[0].strip()

    def describe(self) -> str:
        """Return what will change."""
        return (
            f"Delete the files in {self.path} on {self.host} that nothing has written to for "
            f"{self.older_than_hours} hours; they cannot be brought back."
        )

    def _find(self) -> tuple[str, ...]:
        minutes = self.older_than_hours * 60
        return ("find", "-P", self.path, "-xdev", "-type", "f", "-mmin", f"+{minutes}")


def used_kib(df_output: str) -> int | None:
    """Return the used KiB that `df -P -k PATH` prints (POSIX: third column of the second line)."""
    lines = df_output.splitlines()
    columns = lines[1].split() if len(lines) > 1 else []
    return int(columns[2]) if len(columns) >= 6 and columns[2].isdecimal() else None


def _below(host: HostEntry, mounts: Sequence[str]) -> tuple[str, ...]:
    if not mounts:
        return host.cleanable_paths
    roots = [mount.rstrip("/") for mount in mounts]
    return tuple(
        path
        for path in host.cleanable_paths
        if any(path == root or path.startswith(root + "/") for root in roots)
    )


def _parse_listing(output: str) -> list[tuple[int, str]]:
    records = output.split(_RECORD_END)[:-1]  # the last is empty, or cut off
    entries = (record.partition("\t") for record in records)
    return [(int(size), path) for size, _, path in entries if size.isdecimal() and path]


def _human(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
