"""One module per outside system that is read or told; wire shape in, domain values out."""

from it_incident_response.integrations import (
    alertmanager_client,
    elasticsearch_client,
    grafana_client,
    jaeger_client,
    prometheus_client,
    splunk_client,
    tempo_client,
)
from it_incident_response.integrations.alertmanager_client import (
    AlertmanagerClient,
    check_alerts,
    check_webhook,
    parse_alerts,
    parse_webhook,
)
from it_incident_response.integrations.connector import Connector, ConnectorSettings
from it_incident_response.integrations.elasticsearch_client import (
    ElasticsearchIncidentDetector,
    ElasticsearchLogAnalyzer,
)
from it_incident_response.integrations.grafana_client import GrafanaMetricsClient
from it_incident_response.integrations.prometheus_client import PrometheusIncidentDetector
from it_incident_response.integrations.splunk_client import SplunkLogAnalyzer

CONNECTORS: tuple[Connector, ...] = (
    alertmanager_client.CONNECTOR,
    elasticsearch_client.CONNECTOR,
    grafana_client.CONNECTOR,
    jaeger_client.CONNECTOR,
    prometheus_client.CONNECTOR,
    splunk_client.CONNECTOR,
    tempo_client.CONNECTOR,
)
"""Every connector of this package; outside packages add theirs by entry point."""

__all__ = [
    "CONNECTORS",
    "AlertmanagerClient",
    "Connector",
    "ConnectorSettings",
    "ElasticsearchIncidentDetector",
    "ElasticsearchLogAnalyzer",
    "GrafanaMetricsClient",
    "PrometheusIncidentDetector",
    "SplunkLogAnalyzer",
    "check_alerts",
    "check_webhook",
    "parse_alerts",
    "parse_webhook",
]
