"""What happens around the systems that are watched: changes from outside, and what stands where."""

from it_incident_response.config import Settings
from it_incident_response.integrations._kubernetes_settings import KubernetesSettings
from it_incident_response.integrations.change_files import ChangeFiles
from it_incident_response.integrations.change_payloads.naming import ServiceNames
from it_incident_response.integrations.git_changes import GitChanges
from it_incident_response.integrations.kubernetes_reader import KubernetesReader
from it_incident_response.integrations.topology_file import TopologyFile
from it_incident_response.ports import ChangeSource, Clock, TopologySource


def outside_changes(settings: Settings, clock: Clock) -> dict[str, ChangeSource]:
    """Return what can tell of changes besides our own record."""
    given = settings.infrastructure.changes
    names = ServiceNames(given.services)
    found: dict[str, ChangeSource] = {}
    if given.folder is not None:
        found["files"] = ChangeFiles(given.folder, clock, names)
    if given.repositories:
        found["git"] = GitChanges(given.repositories, names)
    if given.kubernetes:
        found["kubernetes"] = _kubernetes(settings)
    return found


def topologies(settings: Settings, clock: Clock) -> dict[str, TopologySource]:
    """Return what can tell who calls whom and what runs where, besides the inventory."""
    given = settings.infrastructure.topology
    found: dict[str, TopologySource] = {}
    if given.file is not None:
        found["file"] = TopologyFile(given.file)
    if given.kubernetes:
        found["kubernetes"] = _kubernetes(settings)
    return found


def _kubernetes(settings: Settings) -> KubernetesReader:
    section = settings.automation.deployment.kubernetes
    return KubernetesReader(KubernetesSettings.model_validate(section.reader_fields()))
