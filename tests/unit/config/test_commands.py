"""`iir config`: what people and programs see, and the exit codes they can rely on."""

import asyncio
import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from it_incident_response.cli import cli
from it_incident_response.cli.config_checks import check_all
from it_incident_response.cli.config_commands import config as config_group
from it_incident_response.config import load
from it_incident_response.config.schema import schema

STARTER = Path("iir.yaml")


def run(*arguments, env=None, group=config_group):
    return CliRunner().invoke(group, arguments, env=env or {})


@pytest.fixture
def prometheus():
    """A loopback server that answers as Prometheus' build information does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"status":"success","data":{"version":"2.42.0"}}'
            is_build = self.path == "/api/v1/status/buildinfo"
            self.send_response(200 if is_build else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_check_works_when_all_that_is_used_works(prometheus):
    result = run("check", "--json", env={"USE_REAL_DATA": "1", "PROMETHEUS_URL": prometheus})
    assert result.exit_code == 0, result.output
    found = {row["system"]: row for row in json.loads(result.output)["systems"]}
    assert found["prometheus"]["is_working"] is True
    assert found["prometheus"]["version"] == "2.42.0"
    assert found["prometheus"]["used_for"] == "alerts, metrics"
    assert found["prometheus"]["latency_s"] > 0
    assert found["database"]["is_working"] is True


def test_check_fails_when_something_used_is_down(prometheus):
    dead = "http://127.0.0.1:9"
    environ = {"USE_REAL_DATA": "1", "PROMETHEUS_URL": prometheus, "ALERTMANAGER_URL": dead}
    result = run("check", "--within", "5", env=environ)
    assert result.exit_code == 6
    assert "error: alertmanager: http://127.0.0.1:9 cannot be reached" in result.output
    assert "to mend it: is it running" in result.output


def test_what_is_configured_but_not_used_only_warns(prometheus):
    result = run("check", env={"PROMETHEUS_URL": prometheus, "GRAFANA_URL": "http://127.0.0.1:9"})
    assert result.exit_code == 0
    assert "warning, not used: grafana: http://127.0.0.1:9 cannot be reached" in result.output


def test_check_of_a_wrong_configuration_lists_the_problems_also_as_json():
    Path("bad.yaml").write_text("servr: {}\npolicy: 5\n")
    result = run("--config", "bad.yaml", "config", "check", "--json", group=cli)
    assert result.exit_code == 2
    answer = json.loads(result.output)
    assert answer["ok"] is False
    assert [problem["where"] for problem in answer["problems"]] == ["bad.yaml:1", "bad.yaml:2"]
    result = run("--config", "bad.yaml", "config", "check", group=cli)
    assert result.exit_code == 2
    assert "bad.yaml:1: servr: unknown key; did you mean 'server'?" in result.output
    assert "Traceback" not in result.output


async def test_hosts_files_and_database_are_looked_at(tmp_path):
    async def greet(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    key = tmp_path / "key"
    key.write_text("k")
    key.chmod(0o600)
    (tmp_path / "c.yaml").write_text(
        "ports: {execution: ssh}\n"
        "inventory:\n  hosts:\n"
        f"    - {{name: good, address: 127.0.0.1, port: {port}, user: a}}\n"
        "    - {name: bad, address: 127.0.0.1, port: 9, user: a}\n"
        "    - {name: behind, address: 10.9.9.9, jump: good, user: a}\n"
        "diagnosis: {rules_dirs: [no-such-folder]}\n"
        "automation: {deployment: {ansible: {playbook_dir: .}}}\n"
        f"store: {{url: 'sqlite:///{key}/x.db'}}\n"
    )
    environ = {"HOME": str(tmp_path), "SSH_KEY_PATH": str(key)}
    config = load(file=Path("c.yaml"), environ=environ, cwd=tmp_path)
    async with server:
        found = {row.system: row for row in await check_all(config.settings, 5.0)}
    assert found["ssh good"].reading.version == "OpenSSH_9.2p1"
    assert found["ssh bad"].is_failure
    assert "ssh behind" not in found
    assert found["private_key"].reading.is_working
    assert found["known_hosts"].is_failure
    assert found["rules_dirs"].is_failure
    assert found["playbook_dir"].reading.is_working
    assert not found["playbook_dir"].used_for
    assert found["database"].is_failure
    assert "not writable" in found["database"].reading.wrong


async def test_a_sqlite_file_is_not_made_by_looking(tmp_path):
    config = load(environ={"IIR_DATA_DIR": str(tmp_path / "new")}, cwd=tmp_path)
    rows = await check_all(config.settings, 5.0)
    (row,) = [row for row in rows if row.system == "database"]
    assert row.reading.is_working
    assert not (tmp_path / "new").exists()


def test_show_names_value_and_origin():
    Path("iir.yaml").write_text("server:\n  port: 1234\n")
    result = run(
        "--config",
        "iir.yaml",
        "--set",
        "polling.interval=2m",
        "config",
        "show",
        "--json",
        group=cli,
    )
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert shown["settings"]["server.port"] == {"value": 1234, "origin": "iir.yaml:2"}
    assert shown["settings"]["polling.interval"] == {"value": "2m", "origin": "command line"}
    assert shown["settings"]["ports.alerts"] == {"value": "simulated", "origin": "default"}
    assert set(shown["settings"]) == set(schema().leaves)
    assert shown["files"] == [str(Path.cwd() / "iir.yaml")]


def test_show_changed_leaves_the_defaults_out():
    shown = json.loads(run("show", "--changed", "--json", env={"SSH_USER": "deploy"}).output)
    assert set(shown["settings"]) == {"automation.remediation.ssh.username", "use_real_data"}


def test_profiles_are_listed():
    found = json.loads(run("profiles", "--json").output)
    phases = ["phase1-detect", "phase2-analyse", "phase3-approve", "phase4-automate"]
    assert {*phases, "simulated"} <= {item["name"] for item in found}
    assert all(item["summary"].endswith(".") for item in found)
    assert "phase3-approve" in run("profiles").output


def test_init_writes_a_private_file_that_loads_and_never_overwrites():
    result = run("init")
    assert result.exit_code == 0, result.output
    assert STARTER.stat().st_mode & 0o777 == 0o600
    loaded = load(environ={}, cwd=Path.cwd())
    assert loaded.files == (Path.cwd() / STARTER,)
    assert loaded.settings.ports.is_all_simulated
    STARTER.write_text("mine: 1")
    result = CliRunner().invoke(cli, ["config", "init"])
    assert result.exit_code == 2
    assert "exists and is left as it is" in result.output
    assert STARTER.read_text() == "mine: 1"
    assert json.loads(run("init", "other.yaml", "--json").output) == {"written": "other.yaml"}


def test_every_line_of_the_starter_file_is_right_once_uncommented():
    run("init", "starter.yaml")
    lines = Path("starter.yaml").read_text().splitlines()
    settings = [line[2:] for line in lines if re.match(r"# ( *)(- |[a-z_]+:( |$)|X-)", line)]
    text = "\n".join(settings)
    assert len(yaml.safe_load(text)) == 17
    private = Path("private")
    private.write_text("x")
    private.chmod(0o600)
    environ = {
        "HOME": "/nobody",
        "SSH_KEY_PATH": str(private),
        "IIR__SERVER__TLS__KEY_FILE": str(private),
        "IIR_PAYLOAD_KEYS": base64.b64encode(bytes(range(32))).decode(),
    }
    for name in re.findall(r"\$\{([A-Z_]+)\}", text):
        environ.setdefault(name, "x")
    Path("full.yaml").write_text(text)
    config = load(file=Path("full.yaml"), environ=environ, cwd=Path.cwd())
    assert config.settings.inventory.hosts[0].services[0].unit == "shop.service"
    assert config.settings.store.retention.max_size_bytes == 5_000_000_000
