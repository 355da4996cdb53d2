"""Default < profile < file < .env < environment < command line, and where each value is from."""

from it_incident_response.config import load
from it_incident_response.config.schema import schema

KEY = "infrastructure.monitoring.prometheus.url"
FILE = """
infrastructure:
  monitoring:
    prometheus:
      url: http://file:1
"""


def origin(loaded, key=KEY):
    return str(loaded.origins[key])


def test_without_anything_all_is_simulated(loaded):
    config = loaded()
    assert config.settings.ports.is_all_simulated
    assert config.profile == "simulated"
    assert set(config.origins) == set(schema().leaves)
    assert {str(place) for place in config.origins.values()} <= {"default", "profile simulated"}


def test_each_layer_covers_the_one_below(loaded, tmp_path):
    assert origin(loaded()) == "default"
    config = loaded(FILE)
    assert (config.settings.prometheus.url, origin(config)) == ("http://file:1", "iir.yaml:5")
    (tmp_path / ".env").write_text("\n\nexport PROMETHEUS_URL='http://dotenv:1'\n")
    config = loaded(FILE)
    assert config.settings.prometheus.url == "http://dotenv:1"
    assert origin(config) == ".env:3 PROMETHEUS_URL"
    variables = {"PROMETHEUS_URL": "http://environment:1"}
    config = loaded(FILE, variables)
    assert config.settings.prometheus.url == "http://environment:1"
    assert origin(config) == "environment variable PROMETHEUS_URL"
    config = loaded(FILE, variables, overrides={KEY: "http://command:1"})
    assert (config.settings.prometheus.url, origin(config)) == ("http://command:1", "command line")


def test_the_file_covers_the_profile(loaded):
    config = loaded(FILE + "agents: {resolution: {dry_run: false}}", profile="phase1-detect")
    assert config.settings.resolution.dry_run is False
    assert origin(config, "ports.metrics") == "profile phase1-detect"
    assert origin(config, "agents.resolution.dry_run").startswith("iir.yaml:6")


def test_a_variable_in_the_environment_alone_counts_for_a_real_key_over_any_in_dotenv(
    loaded, tmp_path
):
    (tmp_path / ".env").write_text("IIR__TICKETING__JIRA__URL=http://dotenv:1\n")
    config = loaded(environ={"JIRA_URL": "http://environment:1"})
    assert config.settings.ticketing.jira.url == "http://environment:1"


def test_generic_variables_reach_every_kind_of_key(loaded, tmp_path):
    config = loaded(
        environ={
            "IIR__SERVER__PORT": "1234",
            "IIR__CORRELATION__WINDOW": "5m",
            "IIR__DIAGNOSIS__RULES_DIRS": "[rules, /more]",
            "IIR__INFRASTRUCTURE__MONITORING__PROMETHEUS__HEADERS": "{X-Scope-OrgID: t1}",
            "IIR__POLICY": "policy.yaml",
        }
    )
    settings = config.settings
    assert settings.server.port == 1234
    assert settings.correlation.window_s == 300
    assert [str(path) for path in settings.diagnosis.rules_dirs] == [
        str(tmp_path / "rules"),
        "/more",
    ]
    assert settings.prometheus.headers["X-Scope-OrgID"].get_secret_value() == "t1"
    assert settings.policy == tmp_path / "policy.yaml"


def test_an_empty_variable_counts_as_unset(loaded, tmp_path):
    (tmp_path / ".env").write_text("JIRA_TOKEN=\nPROMETHEUS_URL=http://dotenv:1\n")
    config = loaded(environ={"SSH_USER": "", "PROMETHEUS_URL": ""})
    assert config.settings.ticketing.jira.token is None
    assert config.settings.ssh.username is None
    assert config.settings.prometheus.url == "http://dotenv:1"


def test_the_loader_s_own_variables(loaded, tmp_path):
    (tmp_path / "mine.yaml").write_text("server: {port: 77}\n")
    config = loaded(environ={"IIR_CONFIG": "mine.yaml", "IIR_PROFILE": "simulated"})
    assert config.settings.server.port == 77
    assert config.files == (tmp_path / "mine.yaml",)


def test_the_guide_s_file_is_read_only_where_real_data_are_asked_for(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "real_integration_config.yaml").write_text(FILE)
    for simulated in (
        load(environ={}, cwd=tmp_path),
        load(environ={}, profile="simulated", cwd=tmp_path),
        load(environ={"USE_REAL_DATA": "false"}, profile="phase1", cwd=tmp_path),
    ):
        assert simulated.files == ()
        assert simulated.settings.prometheus.url is None
    for real in (
        load(environ={"USE_REAL_DATA": "true"}, cwd=tmp_path),
        load(environ={}, overrides={"use_real_data": True}, cwd=tmp_path),
        load(environ={}, profile="phase1-detect", cwd=tmp_path),
    ):
        assert real.settings.prometheus.url == "http://file:1"
        assert str(real.origins[KEY]) == "config/real_integration_config.yaml:5"


def test_our_own_file_is_read_by_itself_and_before_the_guide_s(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "real_integration_config.yaml").write_text(FILE)
    (tmp_path / "iir.yaml").write_text("server: {port: 1}")
    for environ in ({}, {"USE_REAL_DATA": "true", "PROMETHEUS_URL": "http://environment:1"}):
        config = load(environ=environ, cwd=tmp_path)
        assert config.files == (tmp_path / "iir.yaml",)
        assert config.settings.server.port == 1


def test_paths_start_from_where_they_are_written(loaded, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("policy: p.yaml\ndata_dir: ~/d\n")
    settings = loaded(environ={"IIR_CONFIG": "sub/c.yaml"}).settings
    assert settings.policy == tmp_path / "sub" / "p.yaml"
    assert settings.data_dir == tmp_path / "home" / "d"
    moved = loaded(environ={"IIR_DATA_DIR": "$HOME/e"}).settings
    assert moved.data_dir == tmp_path / "home" / "e"
    assert moved.database_url.get_secret_value() == f"sqlite:///{tmp_path}/home/e/iir.db"


def test_a_section_with_all_its_keys_commented_out_is_empty(loaded):
    yaml = "infrastructure:\n  monitoring:\n    prometheus:\n      # url: x\nserver:\n"
    assert loaded(yaml).settings.prometheus.url is None


def test_anchors_and_merge_keys_work(loaded):
    yaml = """
infrastructure:
  logging:
    elasticsearch: &there {url: "http://e:1", timeout: 3s}
  visualization:
    grafana:
      <<: *there
      timeout: 4s
"""
    grafana = loaded(yaml).settings.infrastructure.visualization.grafana
    assert (grafana.url, grafana.timeout_s) == ("http://e:1", 4.0)
