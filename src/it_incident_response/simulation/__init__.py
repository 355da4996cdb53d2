"""One coherent simulated world behind the ports; it sees no action, rule or real connector."""

from it_incident_response.simulation.clock import PacedClock, VirtualClock
from it_incident_response.simulation.executor import SimulatedExecutor
from it_incident_response.simulation.faults import FAULTS, Fault
from it_incident_response.simulation.ports_adapter import SimulatedSources
from it_incident_response.simulation.shop import SHOP
from it_incident_response.simulation.world import SimulatedWorld

__all__ = [
    "FAULTS",
    "SHOP",
    "Fault",
    "PacedClock",
    "SimulatedExecutor",
    "SimulatedSources",
    "SimulatedWorld",
    "VirtualClock",
]
