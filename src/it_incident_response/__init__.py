"""Detects incidents, explains them with evidence, asks a human, acts, verifies, and records it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from it_incident_response.system import IncidentResponseSystem

__version__ = "0.1.0"

__all__ = ["IncidentResponseSystem", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the façade when it is first asked for, so that the command line starts fast."""
    if name == "IncidentResponseSystem":
        return import_module("it_incident_response.system").IncidentResponseSystem
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
