"""Which service a repository, project or application is: by configuration, else its own name."""

from collections.abc import Mapping

from it_incident_response.domain.entity import Entity, EntityKind


class ServiceNames:
    """Maps names of other systems to those of our services."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = {name.casefold(): service for name, service in (known or {}).items()}

    def entity(self, name: str | None) -> Entity | None:
        """Return the service: `acme/checkout` is looked up whole, then as `checkout`."""
        if not name:
            return None
        last = name.rstrip("/").rpartition("/")[2] or name
        service = self._known.get(name.casefold()) or self._known.get(last.casefold()) or last
        return Entity(EntityKind.SERVICE, service)
