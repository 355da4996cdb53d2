"""Secrets: read from private files only, and shown nowhere."""

import base64
import json

import pytest
from click.testing import CliRunner

from it_incident_response.cli.config_commands import config as config_group
from it_incident_response.config.display import MASK, mask_url, shown_settings
from it_incident_response.config.schema import schema

SECRET = "s3cr3t-7d1f"
KEY = base64.b64encode(bytes(range(100, 132))).decode()
"""An encryption key has to look like one."""
TOKEN_FILE = """
ports: {alerts: prometheus}
infrastructure:
  monitoring:
    prometheus:
      url: http://p:1
      authorization:
        credentials_file: token
"""


def write_secret(tmp_path, text=SECRET + "\n", mode=0o600):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_from_its_file(loaded, tmp_path):
    write_secret(tmp_path)
    config = loaded(TOKEN_FILE)
    credentials = config.settings.prometheus.authorization.credentials
    assert credentials.get_secret_value() == SECRET
    origin = config.origins["infrastructure.monitoring.prometheus.authorization.credentials"]
    assert str(origin) == "iir.yaml:8 (credentials_file)"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(refused, tmp_path, mode):
    path = write_secret(tmp_path, mode=mode)
    (problem,) = refused(TOKEN_FILE)
    assert problem.startswith("iir.yaml:8: ")
    assert f"(mode {mode:04o}); run: chmod 600 {path}" in problem


@pytest.mark.parametrize(("text", "reason"), [("", "is empty"), ("x" * 70_000, "is larger than")])
def test_an_unusable_secret_file_is_refused(refused, tmp_path, text, reason):
    write_secret(tmp_path, text)
    (problem,) = refused(TOKEN_FILE)
    assert reason in problem
    assert "xxx" not in problem


def test_a_missing_secret_file_is_refused_where_it_is_used(refused, loaded):
    (problem,) = refused(TOKEN_FILE)
    assert "cannot be read: No such file" in problem
    assert loaded(TOKEN_FILE.replace("ports: {alerts: prometheus}", "")) is not None


def test_a_secret_and_its_file_exclude_each_other_in_one_place(refused, tmp_path):
    write_secret(tmp_path)
    (problem,) = refused(TOKEN_FILE + f"        credentials: {SECRET}")
    assert "exclude each other; keep one" in problem
    assert SECRET not in problem


def test_a_secret_of_a_higher_layer_replaces_the_file_of_a_lower(loaded, tmp_path):
    (tmp_path / "t").write_text("low")
    (tmp_path / "t").chmod(0o600)
    yaml = "ticketing: {jira: {token_file: t}}"
    token = loaded(yaml, {"JIRA_TOKEN": "high"}).settings.ticketing.jira.token
    assert token.get_secret_value() == "high"
    other = loaded("ticketing: {jira: {token: x}}", {"IIR__TICKETING__JIRA__TOKEN_FILE": "t"})
    assert other.settings.ticketing.jira.token.get_secret_value() == "low"


def test_a_private_key_that_others_can_read_is_refused_where_it_is_used(refused, loaded, tmp_path):
    key = write_secret(tmp_path, mode=0o644)
    yaml = "inventory: {hosts: [{name: a, address: b, user: c}]}\nports: {execution: %s}"
    (problem,) = refused(yaml % "ssh", {"SSH_KEY_PATH": str(key)})
    assert problem.startswith("environment variable SSH_KEY_PATH: ")
    assert f"run: chmod 600 {key}" in problem
    assert loaded(yaml % "simulated", {"SSH_KEY_PATH": str(key)}).settings.ssh.private_key == key
    (problem,) = refused("server: {tls: {cert_file: c, key_file: token}}")
    assert "chmod 600" in problem


def test_a_file_with_a_secret_that_others_can_read_is_warned_about(loaded, tmp_path):
    yaml = f"ticketing: {{jira: {{token: {SECRET}}}}}"
    (warning,) = loaded(yaml).warnings
    assert warning.endswith("or write ${VARIABLE} in its place")
    assert "ticketing.jira.token" in warning
    assert SECRET not in warning
    assert loaded("ticketing: {jira: {token: '${T:-x}'}}").warnings == ()


def all_secrets():
    """Every secret key of the schema, with a secret text."""
    overrides = {
        key: {"X-Key": SECRET} if leaf.is_compound else SECRET
        for key, leaf in schema().leaves.items()
        if leaf.is_secret
    }
    overrides["temporal.encryption_keys"] = KEY
    overrides["temporal.address"] = "temporal.example.com:7233"
    overrides["store.url"] = f"postgresql://iir:{SECRET}@db/iir?password={SECRET}"
    for key in list(overrides):
        section, _, name = key.rpartition(".")
        if name == "password":
            overrides[f"{section}.username"] = "user"
            # The two kinds of credentials exclude each other: the next test has the other.
            overrides.pop(f"{section.rpartition('.')[0]}.authorization.credentials", None)
    return overrides


def test_no_secret_is_shown_anywhere(loaded):
    overrides = all_secrets()
    assert len(overrides) > 15
    config = loaded(overrides=overrides)
    shown = list(shown_settings(config))
    assert [row.key for row in shown] == list(schema().leaves)
    text = (
        json.dumps(shown) + repr(config) + str(config.settings) + config.settings.model_dump_json()
    )
    assert SECRET not in text
    assert KEY not in text
    assert SECRET not in repr(config.settings.engine)
    assert KEY not in repr(config.settings.engine)
    assert {"ticketing.jira.token", "server.basic_auth.password"} <= {
        row.key for row in shown if row.value == MASK
    }


def test_no_secret_is_in_the_error_about_it(refused):
    texts = []
    for key, leaf in schema().leaves.items():
        if leaf.is_secret:
            texts += refused(overrides={key: [SECRET] if not leaf.is_compound else SECRET})
    texts += refused(None, {"PROMETHEUS_URL": f"http://user:{SECRET}@p:1"})
    texts += refused(None, {"IIR_DATABASE_URL": f"mysql://user:{SECRET}@p:1"})
    assert len(texts) > 15
    assert SECRET not in "".join(texts)


def test_the_command_shows_no_secret(loaded):
    environ = {"JIRA_TOKEN": SECRET, "IIR_DATABASE_URL": f"postgresql://u:{SECRET}@h/d"}
    for arguments in (["show"], ["show", "--json"], ["show", "--changed"]):
        result = CliRunner().invoke(config_group, arguments, env=environ)
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
        assert MASK in result.output


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/lib/iir.db", "sqlite:////var/lib/iir.db"),
        ("postgresql://u:p@h:5432/d", f"postgresql://u:{MASK}@h:5432/d"),
        ("postgresql://u:p%40@x@h/d?password=q", f"postgresql://u:{MASK}@h/d?{MASK}"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_a_database_url_is_shown_without_its_password(url, shown):
    assert mask_url(url) == shown
