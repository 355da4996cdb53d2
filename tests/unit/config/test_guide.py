"""The guide's own file and variables load as they stand."""

import re
from pathlib import Path

import pytest

from it_incident_response.config import load

REPOSITORY = Path(__file__).parents[3]
GUIDE_FILE = REPOSITORY / "config" / "real_integration_config.yaml"
GUIDE_ENV = """
# Infrastructure
PROMETHEUS_URL=http://localhost:9090
ELASTICSEARCH_URL=http://localhost:9200
GRAFANA_URL=https://localhost:3000
GRAFANA_API_KEY=your_grafana_api_key

# JIRA (already in your .env)
JIRA_BASE_URL=https://jira.example.com
JIRA_USERNAME=user@example.com
JIRA_TOKEN=your_jira_token

# SSH/Ansible
ANSIBLE_INVENTORY=/etc/ansible/hosts
SSH_KEY_PATH=/home/user/.ssh/id_rsa
SSH_USER=deployment

# Kubernetes (optional)
KUBECONFIG=$HOME/.kube/config

# Feature Flags
USE_REAL_DATA=false
EXECUTE_REAL_REMEDIATION=false
REQUIRE_APPROVAL_FOR_CHANGES=true
DRY_RUN_MODE=true
"""


def test_our_example_is_the_guide_s_file_to_the_letter(shared):
    guide = next((shared / "seed").glob("*.txt")).read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(# config/real_integration_config\.yaml\n.*?)```", guide, re.S)
    assert block is not None
    assert GUIDE_FILE.read_text(encoding="utf-8") == block[1]


def test_the_guide_s_file_and_variables_load_together(tmp_path):
    (tmp_path / ".env").write_text(GUIDE_ENV)
    loaded = load(file=GUIDE_FILE, environ={"HOME": "/home/u"}, cwd=tmp_path)
    settings = loaded.settings
    assert settings.prometheus.url == "http://localhost:9090"
    assert settings.alertmanager.url == "http://alertmanager.example.com:9093"
    assert settings.infrastructure.logging.elasticsearch.index_pattern == "logs-*"
    assert settings.infrastructure.logging.splunk.url == "https://splunk.example.com:8089"
    assert settings.infrastructure.visualization.grafana.api_key is not None
    assert settings.automation.deployment.ansible.playbook_dir == Path("/opt/playbooks")
    assert settings.ssh.username == "deployment"
    assert settings.ssh.timeout_s == 30.0
    assert settings.automation.remediation.terraform.auto_approve is False
    assert settings.agents.diagnostic.use_rules_engine is True
    assert (settings.resolution.execute_real_commands, settings.resolution.dry_run) == (False, True)
    assert settings.ticketing.jira.url == "https://jira.example.com"
    assert settings.ticketing.jira.username == "user@example.com"
    assert settings.ports.is_all_simulated
    assert not settings.may_change_real_systems
    assert str(loaded.origins["ticketing.jira.url"]) == ".env:9 JIRA_BASE_URL"
    assert str(loaded.origins["automation.remediation.ssh.timeout"]).endswith("config.yaml:34")


def test_the_guide_s_file_loads_with_no_variable_set(tmp_path):
    settings = load(file=GUIDE_FILE, environ={}, cwd=tmp_path).settings
    assert settings.ticketing.jira.token is None
    assert settings.ssh.username is None


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("PROMETHEUS_URL", "http://p:1", lambda s: s.prometheus.url),
        ("ALERTMANAGER_URL", "http://a:1", lambda s: s.alertmanager.url),
        ("ELASTICSEARCH_URL", "http://e:1", lambda s: s.infrastructure.logging.elasticsearch.url),
        ("GRAFANA_URL", "http://g:1", lambda s: s.infrastructure.visualization.grafana.url),
        ("JIRA_BASE_URL", "http://j:1", lambda s: s.ticketing.jira.url),
        ("JIRA_URL", "http://k:1", lambda s: s.ticketing.jira.url),
        ("JIRA_USERNAME", "u", lambda s: s.ticketing.jira.username),
        ("JIRA_PROJECT_KEY", "OPS", lambda s: s.ticketing.jira.project_key),
        ("JIRA_ISSUE_TYPE", "Bug", lambda s: s.ticketing.jira.issue_type),
        ("SSH_USER", "deploy", lambda s: s.ssh.username),
        ("SSH_KEY_PATH", "/k", lambda s: str(s.ssh.private_key)),
        ("KUBECONFIG", "/a:/b", lambda s: s.automation.deployment.kubernetes.kubeconfig),
        (
            "ANSIBLE_INVENTORY",
            "/etc/h",
            lambda s: str(s.automation.deployment.ansible.inventory_file),
        ),
        ("IIR_DATA_DIR", "/d", lambda s: str(s.data_dir)),
        (
            "IIR_DATABASE_URL",
            "postgresql://u@h/d",
            lambda s: s.database_url.get_secret_value(),
        ),
    ],
)
def test_each_variable_sets_its_key(loaded, variable, value, shown):
    assert shown(loaded(environ={variable: value}).settings) == value


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        ("GRAFANA_API_KEY", lambda s: s.infrastructure.visualization.grafana.api_key),
        ("SPLUNK_API_KEY", lambda s: s.infrastructure.logging.splunk.api_key),
        ("JIRA_TOKEN", lambda s: s.ticketing.jira.token),
    ],
)
def test_each_secret_variable_sets_its_key(loaded, variable, secret):
    assert secret(loaded(environ={variable: "s3cret"}).settings).get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    ("variable", "flag"),
    [
        ("EXECUTE_REAL_REMEDIATION", lambda s: s.resolution.execute_real_commands),
        ("REQUIRE_APPROVAL_FOR_CHANGES", lambda s: s.resolution.require_approval),
        ("DRY_RUN_MODE", lambda s: s.resolution.dry_run),
    ],
)
@pytest.mark.parametrize(("word", "meaning"), [("true", True), ("False", False), ("1", True)])
def test_each_flag(loaded, variable, flag, word, meaning):
    assert flag(loaded(environ={variable: word}).settings) is meaning
