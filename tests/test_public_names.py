"""The names that the user's guide gives stand at the paths it gives."""

from importlib import import_module
from importlib.util import find_spec

import pytest

PACKAGE = "it_incident_response"

NOW = [
    ("", "IncidentResponseSystem"),
    (".system", "IncidentResponseSystem"),
    (".integrations", "PrometheusIncidentDetector"),
    (".integrations", "ElasticsearchLogAnalyzer"),
    (".integrations.prometheus_client", "PrometheusIncidentDetector"),
    (".integrations.elasticsearch_client", "ElasticsearchIncidentDetector"),
    (".integrations.elasticsearch_client", "ElasticsearchLogAnalyzer"),
    (".integrations.grafana_client", "GrafanaMetricsClient"),
    (".integrations.splunk_client", "SplunkLogAnalyzer"),
    (".tools.base", "MCPTool"),
    (".tools.log_analyzer", "LogAnalyzerTool"),
    (".tools.system_monitor", "SystemMonitorTool"),
    (".tools.deployment", "DeploymentSystemTool"),
    (".analysis.rules_engine", "DiagnosticRule"),
    (".analysis.rules_engine", "RulesEngine"),
    (".safety.approval_manager", "ApprovalManager"),
    (".safety.approval_manager", "DryRunExecutor"),
    (".agents.diagnostic_agent", "DiagnosticAgent"),
    (".agents.resolution_agent", "ResolutionAgent"),
]

LATER = [
    (".tools.infrastructure_automation", "AnsibleAutomationTool"),
    (".analysis.ml_model", "MLDiagnosticModel"),
]


@pytest.mark.parametrize(("module", "name"), NOW)
def test_name_is_there(module: str, name: str) -> None:
    assert getattr(import_module(f"{PACKAGE}{module}"), name).__name__ == name


@pytest.mark.parametrize(("module", "name"), LATER)
def test_name_of_a_later_release_is_not_there_yet(module: str, name: str) -> None:
    path = f"{PACKAGE}{module}"
    if find_spec(path) is not None:
        assert not hasattr(import_module(path), name), f"{name} has arrived: move it to NOW"


@pytest.mark.parametrize("module", ["", ".agents", ".integrations", ".analysis", ".safety"])
def test_exported_names_exist(module: str) -> None:
    imported = import_module(f"{PACKAGE}{module}")
    assert [name for name in getattr(imported, "__all__", []) if not hasattr(imported, name)] == []
