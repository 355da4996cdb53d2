"""The guide's five incidents, begun as faults of the simulated world."""

from datetime import timedelta

from it_incident_response.agents.detection_agent import DetectionAgent
from it_incident_response.domain.alert import Alert
from it_incident_response.domain.entity import Entity
from it_incident_response.domain.inventory import Inventory
from it_incident_response.ports import AlertSource
from it_incident_response.simulation import Fault, SimulatedWorld

GUIDE_FAULTS = (
    "memory_leak",
    "database_connection_timeouts",
    "api_errors_after_deploy",
    "disk_full",
    "tls_certificate_expiry",
)
"""The five incidents of the proof of concept, as faults of the simulated world.

They begin in reverse order: a leak that is left alone soon becomes another incident.
"""

PRELOAD_WITHIN = timedelta(hours=1)
PRELOAD_STEP_S = 60.0
PRELOAD_APART_S = 330.0
"""Virtual time from one to the next: enough that they are not taken for one incident."""


async def preload(
    world: SimulatedWorld, source: AlertSource, detection: DetectionAgent, inventory: Inventory
) -> None:
    """Begin each fault at another place, and take in the alerts about that place."""
    faults: dict[str, Fault] = {}
    for kind in GUIDE_FAULTS:
        taken = [fault.target for fault in faults.values()]
        faults[kind] = world.draw(kind, avoid=taken)
    for kind in reversed(GUIDE_FAULTS):
        target = world.begin(faults[kind]).fault.target
        mine = await _alerts_about(target, world, source, inventory)
        await detection.absorb(mine)
        await world.run(PRELOAD_APART_S)


async def _alerts_about(
    target: Entity, world: SimulatedWorld, source: AlertSource, inventory: Inventory
) -> list[Alert]:
    """Return the next alerts about `target`, not those about what it drags down."""
    began = world.clock.now()
    mine: list[Alert] = []
    while not mine and world.clock.now() < began + PRELOAD_WITHIN:
        await world.run(PRELOAD_STEP_S)
        firing = [a for a in await source.firing_alerts() if a.starts_at >= began]
        mine = [alert for alert in firing if target in inventory.enrich(alert.entities)]
    return mine
