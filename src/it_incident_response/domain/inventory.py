"""Inventory: the hosts and services that exist; the only values that may become a target."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from it_incident_response.domain.entity import Entity, EntityKind
from it_incident_response.domain.model import Value

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$")]
UnitName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,250}\.(service|socket|timer|target|path)$"
    ),
]
SiteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,62})$")]
"""Part of a task queue's name."""
_NEVER_BELOW = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")
"""Folders of the operating system (FHS 3.0): nothing in them is ever litter."""

_NEVER_ITSELF = ("/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/var", "/var/lib")
"""Folders whose sub-folders may be cleaned, but which hold too much to be cleaned whole."""


def _require_normal(path: str) -> str:
    if path == "/" or path.startswith("//") or posixpath.normpath(path) != path:
        raise ValueError(
            "write the path without `..`, `.`, `//` or a slash at the end, and not `/`"
        )
    return path


def _require_litter(path: str) -> str:
    is_below = any(path == root or path.startswith(root + "/") for root in _NEVER_BELOW)
    if is_below or path in _NEVER_ITSELF:
        raise ValueError(f"{path} belongs to the operating system; name a folder of old files")
    return path


ServiceName = HostName
"""The same alphabet: letters, digits, dot, dash, underscore; never a dash first."""

AbsolutePath = Annotated[
    str,
    StringConstraints(pattern=r"^/[A-Za-z0-9._/@+-]*$", max_length=4096),
    AfterValidator(_require_normal),
]
"""A path in normal form, of harmless characters."""

CleanablePath = Annotated[AbsolutePath, AfterValidator(_require_litter)]
"""A folder whose old files may be deleted: never part of the operating system."""


class ServiceEntry(Value):
    """A service on a host, and how it is run there."""

    name: ServiceName
    unit: UnitName | None = None
    """systemd unit; None if it is not run by systemd."""
    replicas: int | None = Field(default=None, ge=1, le=1000)
    """How many run here in normal times; None counts as one."""
    aliases: tuple[str, ...] = ()
    """Other names in labels for it: instance URLs, jobs, container names."""


class HostEntry(Value):
    """A host that can be reached and acted on."""

    name: HostName
    address: str
    port: int = Field(default=22, ge=1, le=65535)
    user: str | None = None
    jump: str | None = None
    """Name of the inventory host to go through, if any."""
    environment: str = "production"
    site: SiteName | None = None
    """The network segment whose workers act on it; None: any worker can reach it."""
    aliases: tuple[str, ...] = ()
    """Other names in labels for it: addresses, `10.0.0.1:9100`..."""
    services: tuple[ServiceEntry, ...] = ()
    certificate_unit: UnitName | None = None
    """systemd unit that renews this host's certificates when started."""
    cleanable_paths: tuple[CleanablePath, ...] = ()
    """Folders whose old files `CleanDisk` may delete; nothing else ever is."""
    certificate_paths: tuple[AbsolutePath, ...] = ()
    """Certificate files whose dates a diagnostic command may read."""


class Inventory(Value):
    """All hosts, and which service depends on which."""

    hosts: tuple[HostEntry, ...] = ()
    depends_on: Mapping[str, tuple[str, ...]] = {}
    """Service name to the services it calls."""

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> "Inventory":
        names = [host.name for host in self.hosts]
        if double := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"host {sorted(double)[0]!r} is listed twice")
        for host in self.hosts:
            if host.jump is not None and host.jump not in names:
                raise ValueError(f"host {host.name!r} jumps through unknown host {host.jump!r}")
        return self

    def host(self, name: str) -> HostEntry | None:
        """Return the host of that exact name or alias, else None."""
        return next((h for h in self.hosts if name == h.name or name in h.aliases), None)

    def locate(self, service: str) -> tuple[tuple[HostEntry, ServiceEntry], ...]:
        """Return every (host, service) whose service has that exact name or alias."""
        return tuple(
            (host, entry)
            for host in self.hosts
            for entry in host.services
            if service == entry.name or service in entry.aliases
        )

    def named(self, name: str) -> tuple[Entity, ...]:
        """Return what a name, alias, address, `address:port` or URL means here, services first.

        A name the inventory does not know is taken for a service of that name.
        """
        return self._known(name) or (Entity(EntityKind.SERVICE, name),)

    def enrich(self, entities: Sequence[Entity]) -> tuple[Entity, ...]:
        """Return the entities with their inventory names put in front, without repetition."""
        known = [found for entity in entities for found in self._known(entity.name)]
        return tuple(dict.fromkeys([*known, *entities]))

    def _known(self, name: str) -> tuple[Entity, ...]:
        located = self.locate(name)
        services = [Entity(EntityKind.SERVICE, entry.name) for _, entry in located]
        if located:
            is_alias = all(name != entry.name for _, entry in located)
            hosts = [host for host, _ in located] if is_alias else []
        else:
            place = _host_part(name)
            hosts = [h for h in self.hosts if place in (h.name, h.address, *h.aliases)]
        return tuple(dict.fromkeys([*services, *(Entity(EntityKind.HOST, h.name) for h in hosts)]))


def _host_part(name: str) -> str:
    """Return the host of a URL or of `host:port`, else the name itself."""
    place = name.partition("://")[2].partition("/")[0] if "://" in name else name
    host, colon, port = place.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else place
