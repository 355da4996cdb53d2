"""The composition root and the façade: the only place that chooses real or simulated."""

from it_incident_response.system.adapters import make_world
from it_incident_response.system.composition import Runtime, open_configured
from it_incident_response.system.facade import IncidentResponseSystem
from it_incident_response.system.views import IncidentView

__all__ = ["IncidentResponseSystem", "IncidentView", "Runtime", "make_world", "open_configured"]
