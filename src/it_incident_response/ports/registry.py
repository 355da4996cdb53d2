"""How connectors are found: by the entry-point group that adapters, ours or others', join."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

from pydantic import BaseModel

from it_incident_response.domain.inventory import Inventory
from it_incident_response.errors import ConfigError
from it_incident_response.ports.clock import Clock, SystemClock

CONNECTOR_GROUP = "it_incident_response.connectors"


@dataclass(frozen=True)
class Surroundings:
    """What a connector may know of the installation it works in."""

    clock: Clock = field(default_factory=SystemClock)
    inventory: Inventory = Inventory()
    """Other names and addresses of hosts and services, to find them in labels."""
    transport: Any = None
    """An `httpx.AsyncBaseTransport` in place of the network: tests and the simulated wire."""


class RegisteredConnector(Protocol):
    """One outside system: its name, its settings, which ports it fills and how it is built."""

    @property
    def name(self) -> str:
        """The name in configuration and messages, such as `prometheus`."""
        ...

    @property
    def settings(self) -> type[BaseModel]:
        """The settings model; its instances are what `build` takes."""
        ...

    @property
    def capabilities(self) -> frozenset[type]:
        """The port Protocols that what `build` returns implements."""
        ...

    def read_settings(self, given: Mapping[str, Any]) -> Any:
        """Return validated settings; raises `ConfigError` naming the field, never its value."""
        ...

    def build(self, settings: Any, surroundings: Surroundings) -> Any:
        """Return the adapter; makes no connection yet. Raises `ConfigError`."""
        ...


@cache
def registered_connectors() -> Mapping[str, RegisteredConnector]:
    """Return every installed connector by name, ours and those of outside packages.

    An entry point names one connector or a collection of them. Raises `ConfigError` if one
    cannot be imported or two have the same name.
    """
    found: dict[str, RegisteredConnector] = {}
    for entry in sorted(entry_points(group=CONNECTOR_GROUP), key=lambda entry: entry.name):
        try:
            loaded = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"the connector package {entry.value!r} cannot be loaded: {error}",
                hint=f"reinstall or remove the package that declares {entry.name!r}",
            ) from error
        for connector in loaded if isinstance(loaded, Iterable) else (loaded,):
            if connector.name in found:
                raise ConfigError(
                    f"two installed packages offer a connector named {connector.name!r}",
                    hint="uninstall one of them",
                )
            found[connector.name] = connector
    return found


def registered_connector(name: str) -> RegisteredConnector:
    """Return the connector of that name; raises `ConfigError` naming those there are."""
    connectors = registered_connectors()
    if name not in connectors:
        raise ConfigError(
            f"there is no connector named {name!r}",
            hint=f"installed are: {', '.join(sorted(connectors)) or 'none'}",
        )
    return connectors[name]
