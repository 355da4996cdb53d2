"""What listens: webhook receivers and the API. Sees ports, never adapters."""

from it_incident_response.servers.app import create_app
from it_incident_response.servers.intake import Intake
from it_incident_response.servers.listening import serving

__all__ = ["Intake", "create_app", "serving"]
