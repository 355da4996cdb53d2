"""Credentials and TLS as Prometheus configures them, handed to the connectors."""

import pytest

from it_incident_response.executors.ssh_settings import SshSettings
from it_incident_response.integrations._grafana_settings import GrafanaSettings
from it_incident_response.integrations.connector import ConnectorSettings
from it_incident_response.integrations.prometheus_client import PrometheusSettings

PROMETHEUS = "infrastructure: {monitoring: {prometheus: {url: 'http://p:1', %s}}}"


def fields(loaded, text):
    system = loaded(PROMETHEUS % text).settings.prometheus
    return PrometheusSettings.model_validate(system.connector_fields())


def test_a_bearer_token(loaded):
    assert fields(loaded, "authorization: {credentials: t}").bearer_token.get_secret_value() == "t"


def test_another_scheme_is_sent_as_a_header(loaded):
    made = fields(loaded, "authorization: {type: ApiKey, credentials: t}")
    assert made.bearer_token is None
    assert made.headers["Authorization"].get_secret_value() == "ApiKey t"


def test_basic_auth_tls_headers_and_timeout(loaded, tmp_path):
    made = fields(
        loaded,
        "basic_auth: {username: u, password: p}, tls_config: {ca_file: ca.pem}, "
        "headers: {X-Scope-OrgID: t1}, timeout: 2s",
    )
    assert (made.username, made.password.get_secret_value()) == ("u", "p")
    assert made.ca_file == tmp_path / "ca.pem"
    assert made.timeout_s == 2.0
    assert made.headers["X-Scope-OrgID"].get_secret_value() == "t1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authorization: {credentials: t}, basic_auth: {username: u, password: p}", "exclude"),
        ("headers: {'X Y': z}", "is not a header name"),
        ('headers: {X-Y: "a\\nb"}', "has control characters"),
        ("headers: {Authorization: z}", "write credentials under"),
        ("tls_config: {cert_file: a}", "key_file is missing"),
        ("tls_config: {ca_file: a, insecure_skip_verify: true}", "keep one"),
        ("basic_auth: {username: 'a:b', password: p}", "cannot contain a colon"),
        ("timeout: 0", "greater than 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(refused, text, expected):
    problems = refused(PROMETHEUS % text)
    assert any(expected in problem for problem in problems), problems


def test_alertmanager_has_its_own_credentials_and_never_those_of_prometheus(loaded):
    yaml = """
infrastructure:
  monitoring:
    prometheus:
      url: http://p:1
      alert_manager_url: http://a:1
      authorization: {credentials: prometheus-only}
    alertmanager:
      basic_auth: {username: u, password: p}
"""
    settings = loaded(yaml).settings
    made = settings.alertmanager.connector_fields()
    assert made["url"] == "http://a:1"
    assert made["bearer_token"] is None
    assert made["username"] == "u"


def test_two_addresses_of_alertmanager_have_to_agree(refused, loaded):
    yaml = "infrastructure: {monitoring: {alertmanager: {url: 'http://b:1'}}}"
    (problem,) = refused(yaml, {"ALERTMANAGER_URL": "http://a:1"})
    assert "keep one of them" in problem
    assert loaded(yaml).settings.alertmanager.url == "http://b:1"


@pytest.mark.parametrize(
    ("yaml", "system", "expected"),
    [
        ("logging: {elasticsearch: {api_key: k}}", "elasticsearch", "ApiKey k"),
        ("logging: {splunk: {api_key: k}}", "splunk", "k"),
        ("visualization: {grafana: {api_key: k}}", "grafana", "k"),
    ],
)
def test_keys_are_sent_as_each_system_wants_them(loaded, yaml, system, expected):
    infrastructure = loaded(f"infrastructure: {{{yaml}}}").settings.infrastructure
    found = {
        "elasticsearch": infrastructure.logging.elasticsearch,
        "splunk": infrastructure.logging.splunk,
        "grafana": infrastructure.visualization.grafana,
    }[system]
    made = found.connector_fields()
    header = made["headers"].get("Authorization") or made["bearer_token"]
    assert header.get_secret_value() == expected


def test_jira_takes_user_and_token_or_a_token_alone(loaded):
    cloud = loaded(environ={"JIRA_USERNAME": "u", "JIRA_TOKEN": "t"}).settings.ticketing.jira
    made = ConnectorSettings.model_validate(cloud.connector_fields() | {"url": "https://j"})
    assert (made.username, made.password.get_secret_value()) == ("u", "t")
    data_center = loaded(environ={"JIRA_TOKEN": "t"}).settings.ticketing.jira
    assert data_center.connector_fields()["bearer_token"].get_secret_value() == "t"


def test_ssh_settings_are_those_of_the_executor(loaded, tmp_path):
    ssh = loaded(
        "automation: {remediation: {ssh: {timeout: 5s, command_timeout: 2m, sudo: false}}}",
        {"SSH_USER": "deploy", "SSH_KEY_PATH": "key"},
    ).settings.ssh
    made = SshSettings.model_validate(ssh.executor_fields())
    assert made.username == "deploy"
    assert made.private_key == tmp_path / "key"
    assert made.known_hosts == tmp_path / "home" / ".ssh" / "known_hosts"
    assert (made.connect_timeout_s, made.command_timeout_s, made.sudo) == (5.0, 120.0, False)


def test_the_relatives_of_prometheus_are_configured_beside_it(loaded, tmp_path):
    made = fields(
        loaded,
        "tenant: team-a, query_params: {dedup: true, max_source_resolution: 5m}, "
        "external_labels: {cluster: eu}, scrape_interval: 30s, catalogue_files: [own.yaml]",
    )
    assert made.tenant == "team-a"
    assert made.query_params == {"dedup": "true", "max_source_resolution": "5m"}
    assert made.external_labels == {"cluster": "eu"}
    assert made.scrape_interval_s == 30.0
    assert made.catalogue_files == (tmp_path / "own.yaml",)


def test_grafanas_dashboards_and_meanings_reach_its_connector(loaded):
    text = (
        "infrastructure: {visualization: {grafana: {url: 'http://g:1', api_key: glsa_x, org_id: 2, "
        "dashboards: {checkout: uid-1, '*': [uid-2]}, signals: {Failures: error_ratio}, "
        "search: false, annotations: true}}}"
    )
    section = loaded(text).settings.infrastructure.visualization.grafana
    made = GrafanaSettings.model_validate(section.connector_fields())
    assert made.bearer_token.get_secret_value() == "glsa_x"
    assert made.dashboards == {"checkout": ("uid-1",), "*": ("uid-2",)}
    assert made.signals == {"Failures": "error_ratio"}
    assert (made.org_id, made.search) == (2, False)
    assert section.annotations is True
