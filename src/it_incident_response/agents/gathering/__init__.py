"""Gathering: what is asked of which source about one incident, and how the answers are told."""

from it_incident_response.agents.gathering.gatherer import Gathered, Gatherer
from it_incident_response.agents.gathering.known_topology import KnownTopology
from it_incident_response.agents.gathering.sources import GatherSettings, Sources

__all__ = ["GatherSettings", "Gathered", "Gatherer", "KnownTopology", "Sources"]
