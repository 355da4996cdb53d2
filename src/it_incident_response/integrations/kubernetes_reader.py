"""Kubernetes, read only: what changed in the cluster, and what runs where."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain

from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.domain.topology import Topology
from it_incident_response.integrations import _kubernetes_changes as read
from it_incident_response.integrations._kubernetes_api import (
    Kind,
    KubernetesLister,
    Listed,
)
from it_incident_response.integrations._kubernetes_settings import KubernetesSettings
from it_incident_response.integrations._kubernetes_topology import topology_of
from it_incident_response.ports import ChangeBatch, Health, SteadyClock, SystemClock

CHANGES_MAX = 2000
"""Of one answer, the newest ones: a broken cluster makes thousands of warnings."""


def _events(selector: str) -> Kind:
    return Kind(
        "events",
        "CoreV1Api",
        "list_event_for_all_namespaces",
        "list_namespaced_event",
        selector=selector,
    )


_WARNINGS = _events("type=Warning")
_SCALED = _events("reason=ScalingReplicaSet")
_RESCALED = _events("reason=SuccessfulRescale")
_REPLICA_SETS = Kind(
    "replicasets",
    "AppsV1Api",
    "list_replica_set_for_all_namespaces",
    "list_namespaced_replica_set",
    group="apps",
)
_CONFIG_MAPS = Kind(
    "configmaps",
    "CoreV1Api",
    "list_config_map_for_all_namespaces",
    "list_namespaced_config_map",
    metadata_only=True,
)
_SECRETS = Kind(
    "secrets",
    "CoreV1Api",
    "list_secret_for_all_namespaces",
    "list_namespaced_secret",
    metadata_only=True,
)
_NODES = Kind("nodes", "CoreV1Api", "list_node", None)
_SERVICES = Kind(
    "services", "CoreV1Api", "list_service_for_all_namespaces", "list_namespaced_service"
)
_PODS = Kind("pods", "CoreV1Api", "list_pod_for_all_namespaces", "list_namespaced_pod")
_SLICES = Kind(
    "endpointslices",
    "DiscoveryV1Api",
    "list_endpoint_slice_for_all_namespaces",
    "list_namespaced_endpoint_slice",
    group="discovery.k8s.io",
)


class KubernetesReader:
    """Changes and topology of one cluster; every request is a `list`, nothing is ever written."""

    def __init__(
        self, settings: KubernetesSettings | None = None, clock: SteadyClock | None = None
    ) -> None:
        self._settings = settings or KubernetesSettings()
        self._lister = KubernetesLister(self._settings, clock or SystemClock())

    async def check(self) -> Health:
        """Ask for the server's version; raises `ConnectorError` or `ConfigError`."""
        return Health(version=await self._lister.version())

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return what changed within the window, oldest first; raises `ConnectorError`."""
        return (await self.read_changes(window)).changes

    async def read_changes(self, window: TimeWindow) -> ChangeBatch:
        """Return the changes, with what could not be read; raises if that is everything."""
        kinds = [_WARNINGS, _SCALED, _RESCALED, _REPLICA_SETS, _CONFIG_MAPS, _NODES]
        if self._settings.reads_secret_metadata:
            kinds.append(_SECRETS)
        listed = await self._listed(kinds)
        events = chain.from_iterable(
            listed[kind].objects for kind in (_WARNINGS, _SCALED, _RESCALED)
        )
        found = [
            *read.of_events(events, window),
            *read.of_replica_sets(listed[_REPLICA_SETS].objects, window),
            *read.of_configuration("ConfigMap", listed[_CONFIG_MAPS].objects, window),
            *read.of_nodes(listed[_NODES].objects, window),
        ]
        if _SECRETS in listed:
            found += read.of_configuration("Secret", listed[_SECRETS].objects, window)
        found.sort(key=lambda change: (change.at, change.change_id))
        gaps = _gaps(listed.values())
        if len(found) > CHANGES_MAX:
            gaps.append(f"{len(found) - CHANGES_MAX:,} older changes are left out")
        return ChangeBatch(changes=tuple(found[-CHANGES_MAX:]), gaps=tuple(gaps))

    async def topology(self) -> Topology:
        """Return which services run on which nodes; raises `ConnectorError`."""
        listed = await self._listed([_SERVICES, _SLICES, _PODS])
        return await asyncio.to_thread(
            topology_of,
            listed[_SERVICES].objects,
            listed[_SLICES].objects,
            listed[_PODS].objects,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._lister.close)

    async def _listed(self, kinds: Sequence[Kind]) -> dict[Kind, Listed]:
        """Return the objects of each kind; raises what all kinds failed with, if all did."""
        answers = await asyncio.gather(*(self._lister.objects_of(kind) for kind in kinds))
        errors = [answer.error for answer in answers if answer.error is not None]
        if len(errors) == len(kinds):
            raise errors[0]
        return dict(zip(kinds, answers, strict=True))


def _gaps(listed: Iterable[Listed]) -> list[str]:
    """Return what is missing; the three questions for events fail alike, and are named once."""
    return list(dict.fromkeys(gap for each in listed for gap in each.gaps))
