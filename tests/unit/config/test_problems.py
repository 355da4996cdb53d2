"""Whatever is wrong is named with file and line or variable, all at once, with what to write."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from it_incident_response.config import ConfigProblems, Problem
from it_incident_response.config.document import parse_document
from it_incident_response.config.origin import Origin, OriginKind
from it_incident_response.errors import ConfigError


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("servr: {}", "iir.yaml:1: servr: unknown key; did you mean 'server'?"),
        (
            "infrastructure:\n  monitoring:\n    promtheus: {url: x}",
            "iir.yaml:3: infrastructure.monitoring.promtheus: unknown key; "
            "did you mean 'prometheus'?",
        ),
        ("prometheus: {url: x}", "iir.yaml:1: prometheus: unknown key"),
        ("dry_run: true", "iir.yaml:1: dry_run: unknown key; did you mean agents.resolution."),
        ("server: 9095", "iir.yaml:1: server: is a section, not a value; indent under it"),
        ("- a", "iir.yaml:1: must hold `key: value` lines"),
        ("server: {port: many}", "iir.yaml:1: server.port: cannot be 'many'; write a whole number"),
        ("server: {port: 70000}", "server.port: input should be less than or equal to 65535 (it i"),
        ("server: {port: }", "server.port: has no value; write a whole number, or delete the line"),
        ("use_real_data: maybe", "use_real_data: cannot be 'maybe'; write true or false"),
        ("polling: {interval: soon}", "polling.interval: 'soon' is not a duration; write for exa"),
        ("server: {max_body: 5X}", "server.max_body: '5X' is not a size; write for example"),
        ("server:\n\tport: 1", "iir.yaml:2: is not valid YAML"),
        ("server: {port: 1", "is not valid YAML"),
        ("server: {port: 1}\nserver: {host: x}", "iir.yaml:2: server: stands there a second time"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("a: !!python/object:os.system x", "is not valid YAML"),
        ("data_dir: 2026-02-31", "is not valid YAML"),
        (
            "verification: {soak: 10m, timeout: 5m}",
            "verification: soak must be shorter than timeout",
        ),
        ("store: {url: mysql://x}", "store: url is not a database URL; write sqlite:///"),
        ("server: {tls: {cert_file: c.pem}}", "server.tls: key_file is missing"),
        ("server: {basic_auth: {username: u}}", "password (or password_file) is missing"),
        ("server: {authorization: {type: Digest}}", "the receiver understands `Bearer`"),
        (
            "inventory:\n  hosts:\n    - name: ok\n      address: x\n    - name: 'a b'\n"
            "      address: x",
            "iir.yaml:5: inventory.hosts.1.name",
        ),
        ("inventory: {hosts: [{name: a, adress: x}]}", "inventory.hosts.0.adress: unknown key"),
        ("inventory: nowhere.yaml", "nowhere.yaml: cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(refused, yaml, expected):
    problems = refused(yaml)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost:9090", "the scheme is missing; write http://localhost:9090"),
        ("ftp://host", "is neither http nor https"),
        ("http://", "names no valid host"),
        ("http://host:99999", "is not a URL"),
        ("http://host:0", "names no valid host and port"),
        ("http://ho st:1", "names no valid host"),
        ("http://host:1/?a=b", "has a query"),
        ("http://host/a b", "has a query, fragment or space"),
        ("http://[::1", "is not a URL"),
        ("", "the scheme is missing"),
        (7, "the scheme is missing"),
    ],
)
def test_a_bad_url_is_said_with_what_to_write(refused, url, expected):
    key = "infrastructure.monitoring.prometheus.url"
    (problem,) = refused(overrides={key: url})
    assert problem.startswith(f"command line: {key}: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://h:1/", "http://h:1"),
        ("https://h/prefix/", "https://h/prefix"),
        ("http://[::1]:9090", "http://[::1]:9090"),
        ("http://prometheus_1:9090", "http://prometheus_1:9090"),
    ],
)
def test_a_good_url_is_kept_without_its_last_slash(loaded, url, kept):
    assert loaded(environ={"PROMETHEUS_URL": url}).settings.prometheus.url == kept


def test_all_problems_are_told_at_once(refused):
    problems = refused(
        "servr: {}\nserver: {port: x}\nports: {logs: splunk}\npolling: {interval: never}",
        {"PROMETHEUS_URL": "nonsense", "IIR__SERVER__HOOST": "x", "USE_REAL_DATA": "perhaps"},
        overrides={"no.such.key": 1},
    )
    assert len(problems) == 8
    assert any(
        problem.startswith("environment variable PROMETHEUS_URL: infrastructure.monitoring")
        for problem in problems
    )
    assert any("IIR__SERVER__HOOST: server.hoost: unknown key; did" in p for p in problems)
    assert any(problem.startswith("command line: no.such.key: unknown key") for problem in problems)


def test_the_error_is_a_config_error_with_a_readable_text(loaded):
    with pytest.raises(ConfigError) as caught:
        loaded("servr: {}\npolicy: 5")
    assert str(caught.value).startswith("configuration: 2 problems\n  - iir.yaml:1: servr:")
    with pytest.raises(ConfigError, match=r"^configuration: iir.yaml:1: servr: unknown key"):
        loaded("servr: {}")


def test_a_section_cannot_be_set_as_a_whole_by_a_variable(refused):
    (problem,) = refused(None, {"IIR__SERVER": "x"})
    assert "is a section, not a value; set one of its keys: host, port" in problem


def test_a_misspelt_variable_of_ours_is_pointed_out(loaded):
    (warning,) = loaded(environ={"IIR_DATABSE_URL": "x", "IIR_SOMETHING_ELSE": "y"}).warnings
    assert "IIR_DATABSE_URL: means nothing here; did you mean IIR_DATABASE_URL?" in warning


def test_a_broken_line_in_dotenv_is_an_error(refused, tmp_path):
    (tmp_path / ".env").write_text("PROMETHEUS_URL=http://p:1\n\n= 5\n")
    (problem,) = refused()
    assert problem == ".env:3: is not NAME=value; mend or delete the line"


def test_unreadable_files(refused, tmp_path):
    (problem,) = refused(None, {"IIR_CONFIG": "missing.yaml"})
    assert problem == "missing.yaml: cannot be read: No such file or directory"
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\n")
    (problem,) = refused(None, {"IIR_CONFIG": "binary.yaml"})
    assert problem.startswith("binary.yaml:2: is not UTF-8")
    (tmp_path / "big.yaml").write_text("# " + "x" * 5_000_000)
    (problem,) = refused(None, {"IIR_CONFIG": "big.yaml"})
    assert "is larger than" in problem


def test_the_inventory_s_own_file_and_line_are_named(refused, tmp_path):
    (tmp_path / "hosts.yaml").write_text("hosts:\n  - name: web-1\n    port: none\n")
    problems = refused("inventory: hosts.yaml")
    path = tmp_path / "hosts.yaml"
    assert f"{path}:3: inventory.hosts.0.port: cannot be 'none'; write a whole number" in problems
    assert any("inventory.hosts.0.address: field required" in problem for problem in problems)


def test_an_inventory_in_its_own_file(loaded, tmp_path):
    (tmp_path / "hosts.yaml").write_text("hosts: [{name: web-1, address: '${ADDRESS}'}]")
    config = loaded("inventory: hosts.yaml", {"ADDRESS": "10.0.0.1"})
    assert config.settings.inventory.hosts[0].address == "10.0.0.1"
    assert tmp_path / "hosts.yaml" in config.files


def test_aliases_that_would_fill_the_memory_are_refused(refused):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]")
    (problem,) = refused("\n".join(lines))
    assert "too many or too deeply nested" in problem


def test_deep_nesting_is_refused(refused):
    (problem,) = refused("a: " + "[" * 200 + "]" * 200)
    assert "too many or too deeply nested" in problem


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:{}[]&*!|>-? '\"\n\t#%@`0.\x00é"), max_size=60))
def test_any_text_is_read_or_refused_by_name(text):
    problems: tuple[Problem, ...] = ()
    try:
        parse_document(text, Origin(OriginKind.FILE, "x.yaml"))
    except ConfigProblems as error:
        problems = error.problems
    assert all(problem.where.startswith("x.yaml") for problem in problems)


def test_warnings_say_what_has_no_effect(loaded):
    warnings = loaded(
        "ticketing: {jira: {enabled: true}}\nagents: {resolution: {execute_real_commands: true}}"
    ).warnings
    assert len(warnings) == 2
    assert any("ticketing.jira is enabled" in warning for warning in warnings)
    assert any("nothing real is changed" in warning for warning in warnings)
