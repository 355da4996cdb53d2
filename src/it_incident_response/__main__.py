"""`python -m it_incident_response` is `iir`."""

from it_incident_response.cli import main

main()
