import pytest
from hypothesis import given
from hypothesis import strategies as st

from it_incident_response.config.expansion import UnsetVariable, expand


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("100%", "100%"),
    ],
)
def test_references(text, result):
    variables = {"A": "1", "B": "", "EMPTY": ""}
    if "${B}" in text:
        with pytest.raises(UnsetVariable, match="B is not set"):
            expand(text, variables)
        return
    assert expand(text, variables) == result


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${A", "${A-b}"])
def test_a_broken_reference_is_refused(text):
    with pytest.raises(UnsetVariable, match="literal"):
        expand(text, {"A": "1"})


@given(st.text())
def test_what_was_put_in_is_never_expanded_again(value):
    if value:
        assert expand("<${A}>", {"A": value, "SECRET": "s"}) == f"<{value}>"


def test_in_the_file_values_are_expanded_once_and_keys_never(loaded):
    yaml = 'ticketing: {jira: {project_key: "${KEY}", issue_type: "${TYPE:-Task}"}}'
    settings = loaded(yaml, {"KEY": "${HOME}"}).settings
    assert settings.ticketing.jira.project_key == "${HOME}"
    assert settings.ticketing.jira.issue_type == "Task"


def test_the_environment_itself_is_never_expanded(loaded):
    assert loaded(environ={"JIRA_TOKEN": "a${HOME}"}).settings.ticketing.jira.token is not None
    token = loaded(environ={"JIRA_TOKEN": "a${HOME}"}).settings.ticketing.jira.token
    assert token.get_secret_value() == "a${HOME}"


def test_dotenv_values_are_expanded_unless_in_single_quotes(loaded, tmp_path):
    (tmp_path / ".env").write_text(
        "BASE=db\nJIRA_USERNAME=${BASE}-user\nJIRA_TOKEN='${BASE}$x'\nSSH_USER=${NOPE}\n"
    )
    config = loaded()
    jira = config.settings.ticketing.jira
    assert jira.username == "db-user"
    assert jira.token.get_secret_value() == "${BASE}$x"
    assert config.settings.ssh.username is None
    assert any(".env:4 SSH_USER" in warning for warning in config.warnings)


def test_a_value_that_is_overridden_needs_no_variable(loaded):
    yaml = 'data_dir: "${NOT_SET}"'
    assert loaded(yaml, {"IIR_DATA_DIR": "/d"}).settings.data_dir.as_posix() == "/d"


def test_an_unset_variable_is_an_error_only_where_it_is_used(loaded, refused):
    yaml = """
infrastructure: {monitoring: {prometheus: {url: "${WHERE}"}}}
ticketing: {jira: {url: "${JIRA_HOST}"}}
"""
    assert loaded(yaml).settings.prometheus.url is None
    (problem,) = refused(yaml + "ports: {alerts: prometheus}")
    assert problem.startswith(
        "iir.yaml:2: infrastructure.monitoring.prometheus.url: variable WHERE"
    )
    (problem,) = refused('data_dir: "${NOT_SET}"')
    assert "iir.yaml:1: data_dir: variable NOT_SET is not set" in problem
