"""What can be broken: hosts, services and the other things that labels name."""

from enum import StrEnum
from typing import NamedTuple


class EntityKind(StrEnum):
    """The kinds of thing that monitoring labels name."""

    HOST = "host"
    SERVICE = "service"
    INSTANCE = "instance"
    NODE = "node"
    POD = "pod"
    NAMESPACE = "namespace"
    CONTAINER = "container"
    JOB = "job"
    DEVICE = "device"
    MOUNT = "mount"


class Entity(NamedTuple):
    """One named thing, such as `host web-1`; hashable, cheap, ordered."""

    kind: EntityKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"
