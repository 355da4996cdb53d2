"""From the alerts of a real Prometheus to approved remediation, in a few calls.

    PROMETHEUS_URL=http://localhost:9090 python run_real_demo.py

Reading is real; acting stays a dry run unless EXECUTE_REAL_REMEDIATION=true and DRY_RUN_MODE=false.
"""

import getpass
import os
import sys

from it_incident_response.errors import IncidentResponseError
from it_incident_response.integrations import PrometheusIncidentDetector
from it_incident_response.system import IncidentResponseSystem


def main() -> int:
    """Handle every alert that fires now; returns the exit status."""
    url = os.environ.setdefault("PROMETHEUS_URL", "http://localhost:9090")
    alerts = PrometheusIncidentDetector(url).get_active_alerts()
    print(f"Found {len(alerts)} active alerts at {url}")
    with IncidentResponseSystem(use_real_data=True, preload_incidents=False) as system:
        for alert in alerts:
            handle(system, alert)
    return 0


def handle(system: IncidentResponseSystem, alert: dict) -> None:
    """Open an incident for one alert, explain it, and act if a person says so."""
    labels = alert["labels"]
    incident_id = system.create_incident(
        title=labels["alertname"],
        description=alert["annotations"]["description"],
        severity=labels["severity"],
        affected_systems=labels.get("instance", "").split(","),
    )
    print(f"\nCreated incident: {incident_id} ({labels['alertname']})")
    report = system.analyze_incident(incident_id)
    print(f"Root cause: {report['root_cause'] or 'inconclusive'} ({report['confidence']:.0%})")
    for item in report["evidence"][:5]:
        print(f"  - {item['summary']}")
    for action in report["recommended_actions"]:
        print(f"  recommended: {action}")
    if not sys.stdin.isatty() or input("Execute remediation? (y/n): ").lower() != "y":
        return
    result = system.implement_resolution(incident_id, approved_by=getpass.getuser())
    print(f"{result['status']}: {result['message']}")
    for taken in result["actions_taken"]:
        print(f"  {taken['state']}: {taken['action']} on {taken['target']}")
        for command in taken["commands"]:
            print(f"    {' '.join(command)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except IncidentResponseError as error:
        sys.exit(f"error: {error}")
