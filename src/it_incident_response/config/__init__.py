"""Settings and where each came from; no I/O but reading files, no adapter, no decision."""

from it_incident_response.config.load import LoadedConfig, load
from it_incident_response.config.origin import Origin
from it_incident_response.config.problems import ConfigProblems, Problem
from it_incident_response.config.profiles import profile_names
from it_incident_response.config.settings import Settings

__all__ = [
    "ConfigProblems",
    "LoadedConfig",
    "Origin",
    "Problem",
    "Settings",
    "load",
    "profile_names",
]
