"""Which world each port gets, and when something real may be changed."""

import pytest

PROMETHEUS = {"PROMETHEUS_URL": "http://p:9090"}
ALERTMANAGER = {"ALERTMANAGER_URL": "http://a:9093"}
ELASTICSEARCH = {"ELASTICSEARCH_URL": "http://e:9200"}
REAL = {"USE_REAL_DATA": "true"}
INVENTORY = "inventory: {hosts: [{name: web-1, address: 10.0.0.1, user: deploy}]}\n"


def ports(loaded, environ, yaml=None):
    return loaded(yaml, environ).settings.ports.model_dump()


def test_configured_is_not_chosen(loaded):
    chosen = ports(loaded, PROMETHEUS | ALERTMANAGER | ELASTICSEARCH)
    assert chosen.pop("traces") == "none"
    assert set(chosen.values()) == {"simulated"}


def test_real_data_uses_what_is_configured_and_invents_nothing(loaded):
    assert ports(loaded, REAL | PROMETHEUS) == {
        "alerts": "prometheus",
        "metrics": "prometheus",
        "logs": "none",
        "changes": "real",
        "traces": "none",
        "silences": "none",
        "execution": "simulated",
    }
    chosen = ports(loaded, REAL | PROMETHEUS | ALERTMANAGER)
    assert (chosen["alerts"], chosen["silences"]) == ("alertmanager", "alertmanager")
    assert ports(loaded, REAL | ALERTMANAGER)["metrics"] == "none"


SPLUNK = "infrastructure: {logging: {splunk: {url: 'https://s:8089', api_key: '${SPLUNK_KEY}'}}}"


def test_real_logs_are_of_every_system_that_can_answer(loaded):
    def asked(environ, yaml=None):
        return loaded(yaml, REAL | PROMETHEUS | environ).settings.log_systems

    assert asked({}) == ()
    assert asked(ELASTICSEARCH) == ("elasticsearch",)
    assert asked(ELASTICSEARCH, SPLUNK) == ("elasticsearch",)
    assert asked({}, SPLUNK) == ()
    both = ("elasticsearch", "splunk")
    assert asked(ELASTICSEARCH | {"SPLUNK_KEY": "k" * 12}, SPLUNK) == both
    assert asked(ELASTICSEARCH, "ports: {logs: none}") == ()


def test_a_chosen_log_system_needs_its_secret(refused):
    (problem,) = refused(SPLUNK + "\nports: {logs: splunk}")
    assert "SPLUNK_KEY" in problem


def test_each_port_is_chosen_on_its_own(loaded):
    yaml = "ports: {metrics: simulated, alerts: prometheus, silences: alertmanager}"
    chosen = ports(loaded, REAL | PROMETHEUS | ALERTMANAGER, yaml)
    assert chosen["metrics"] == "simulated"
    assert chosen["alerts"] == "prometheus"


def test_real_data_without_any_real_system_is_an_error(refused):
    (problem,) = refused(None, REAL)
    assert "ports.alerts: is prometheus, but" in problem
    assert "set PROMETHEUS_URL" in problem


@pytest.mark.parametrize(
    ("port", "choice", "variable"),
    [
        ("alerts", "prometheus", "PROMETHEUS_URL"),
        ("metrics", "prometheus", "PROMETHEUS_URL"),
        ("alerts", "alertmanager", "ALERTMANAGER_URL"),
        ("silences", "alertmanager", "ALERTMANAGER_URL"),
        ("logs", "elasticsearch", "ELASTICSEARCH_URL"),
        ("logs", "splunk", "SPLUNK_URL"),
    ],
)
def test_a_chosen_system_needs_its_address(refused, port, choice, variable):
    (problem,) = refused(f"ports:\n  {port}: {choice}\n")
    assert problem.startswith(f"iir.yaml:2: ports.{port}: is {choice}")
    assert variable in problem


@pytest.mark.parametrize(
    ("port", "system", "area"),
    [
        ("execution", "ansible", "acting"),
        ("execution", "kubernetes", "acting"),
        ("execution", "terraform", "acting"),
        ("changes", "jira", "record"),
    ],
)
def test_a_system_of_a_later_version_is_refused_with_what_to_write_now(refused, port, system, area):
    (problem,) = refused(f"ports: {{{port}: {system}}}")
    assert f"ports.{port}: {system} cannot serve {port} in this version" in problem
    assert f"`{area}`" in problem
    assert "until then write one of: simulated" in problem


def test_a_slip_in_a_port_gets_a_suggestion(refused):
    (problem,) = refused("ports: {alerts: promethus}")
    assert "did you mean 'prometheus'?" in problem


def test_nothing_real_is_changed_unless_all_three_switches_say_so(loaded):
    for execution in ("simulated", "ssh"):
        for execute in ("true", "false"):
            for dry_run in ("true", "false"):
                settings = loaded(
                    INVENTORY + f"ports: {{execution: {execution}}}",
                    {"EXECUTE_REAL_REMEDIATION": execute, "DRY_RUN_MODE": dry_run},
                ).settings
                all_say_so = (execution, execute, dry_run) == ("ssh", "true", "false")
                assert settings.may_change_real_systems is all_say_so


def test_real_execution_follows_real_data_only_with_real_commands(loaded):
    environ = REAL | PROMETHEUS
    assert ports(loaded, environ, INVENTORY)["execution"] == "simulated"
    environ = environ | {"EXECUTE_REAL_REMEDIATION": "true"}
    assert ports(loaded, environ, INVENTORY)["execution"] == "ssh"


def test_dry_run_is_off_by_itself_only_in_a_world_all_simulated(loaded):
    assert loaded().settings.resolution.dry_run is False
    assert loaded(None, REAL | PROMETHEUS).settings.resolution.dry_run is True
    assert loaded("agents: {resolution: {dry_run: true}}").settings.resolution.dry_run is True
    with_ssh = loaded(INVENTORY + "ports: {execution: ssh}").settings
    assert with_ssh.resolution.dry_run is True


def test_ssh_needs_hosts_and_a_user(refused):
    (problem,) = refused("ports: {execution: ssh}")
    assert "the inventory lists no host" in problem
    (problem,) = refused(
        "ports: {execution: ssh}\ninventory: {hosts: [{name: web-1, address: 10.0.0.1}]}"
    )
    assert "host 'web-1' names no user" in problem
    assert "SSH_USER" in problem


@pytest.mark.parametrize(
    ("profile", "execution", "approval", "dry_run", "may_act"),
    [
        ("phase1-detect", "simulated", True, True, False),
        ("phase2-analyse", "simulated", True, True, False),
        ("phase3-approve", "ssh", True, False, True),
        ("phase4-automate", "ssh", False, False, True),
    ],
)
def test_the_roll_out_phases(loaded, profile, execution, approval, dry_run, may_act):
    settings = loaded(INVENTORY, PROMETHEUS | ALERTMANAGER, profile=profile).settings
    assert settings.ports.alerts == "alertmanager"
    assert settings.ports.metrics == ("none" if profile == "phase1-detect" else "prometheus")
    assert settings.ports.execution == execution
    assert settings.resolution.require_approval is approval
    assert settings.resolution.dry_run is dry_run
    assert settings.may_change_real_systems is may_act


def test_a_profile_can_be_called_by_its_phase(loaded, refused):
    assert loaded(None, PROMETHEUS, profile="phase2").profile == "phase2-analyse"
    (problem,) = refused(profile="phase")
    assert "there is no profile 'phase'" in problem
    (problem,) = refused(None, {"IIR_PROFILE": "phase1-detekt"})
    assert problem.startswith("environment variable IIR_PROFILE")
    assert "did you mean 'phase1-detect'?" in problem
