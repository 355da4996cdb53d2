"""`iir` as a process: help, completion, what it imports, errors, and `iir serve`."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import httpx
import pytest
from click.testing import CliRunner

from it_incident_response.cli import COMMANDS, cli

IIR = [sys.executable, "-c", "from it_incident_response.cli import main; main()"]
HEAVY = ("httpx", "sqlalchemy", "pydantic", "numpy", "rich", "asyncio", "yaml", "uvloop", "orjson")
STARTS_WITHIN_S = 30
STOPS_WITHIN_S = 10


def run(*arguments, cwd=None, **variables):
    return subprocess.run(
        [*IIR, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **variables},
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def commands(group, path=()):
    """Yield the words of every command there is."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.fixture(scope="module")
def every_command():
    return list(commands(cli))


def test_every_command_explains_itself(every_command):
    assert len(every_command) > 35
    for words in every_command:
        done = CliRunner().invoke(cli, [*words, "--help"])
        assert done.exit_code == 0, words
        assert f"Usage: cli {' '.join(words)}" in done.output
        described = done.output.split("\n\n")[1].strip()
        assert len(described) > 10, f"{words} does not say what it is for"


def test_the_table_of_commands_says_what_the_commands_say(every_command):
    tops = {words[0] for words in every_command if len(words) == 1}
    assert tops == set(COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys, json\n"
        "from it_incident_response.cli import cli\n"
        "try:\n    cli(['--help'], prog_name='iir')\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    *text, modules = done.stdout.splitlines()
    assert not set(HEAVY) & set(json.loads(modules))
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", "\n".join(text), re.M), name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    done = CliRunner().invoke(
        cli, [], prog_name="iir", env={"_IIR_COMPLETE": f"{shell}_source"}, auto_envvar_prefix=None
    )
    if shell == "bash" and done.exit_code != 0:
        pytest.skip("no bash here to ask for its version")
    assert "_iir_completion" in done.output
    assert "_IIR_COMPLETE" in done.output


def test_completion_completes():
    def asked(words, number):
        env = {"_IIR_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        return CliRunner().invoke(cli, [], prog_name="iir", env=env).output.split("\n")

    assert "incidents" in asked("iir inc", 1)
    assert "timeline" in asked("iir incidents ti", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["incidnets"], "No such command 'incidnets'"),
        (["incidents", "lsit"], "No such command 'lsit'"),
        (["incidents", "list", "--opne"], "No such option"),
        (["incidents", "list", "--limit", "0"], "0 is not in the range"),
        (["incidents", "list", "--status", "fixed"], "'fixed' is not one of"),
        (["incidents", "show"], "Missing argument"),
        (["--set", "nonsense", "db", "stats"], "KEY=VALUE"),
        (["--set", "server.prot=1", "db", "stats"], "server.prot"),
        (["--profile", "phase9", "db", "stats"], "phase9"),
        (["--config", "none.yaml", "db", "stats"], "none.yaml"),
        (["demo", "--fault", "gremlins"], "gremlins"),
        (["serve", "--port", "70000"], "70000"),
        (["simulate", "--fault", "gremlins"], "gremlins"),
        (["--set", "store.url=mysql://x", "db", "stats"], "not a database URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_is_named_and_ends_with_2(arguments, said):
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert isinstance(done.exception, SystemExit)


def test_a_database_that_cannot_be_opened_is_an_error_without_traceback(tmp_path):
    (tmp_path / "iir.db").write_bytes(b"this is no database" * 100)
    done = CliRunner().invoke(cli, ["--set", f"data_dir={tmp_path}", "db", "stats"])
    assert done.exit_code in (2, 5), done.output
    assert "iir.db" in done.stderr
    assert isinstance(done.exception, SystemExit)


def test_debug_shows_the_traceback(tmp_path):
    asked = ["--set", f"data_dir={tmp_path}", "incidents", "show", "INC-000009"]
    quiet = CliRunner().invoke(cli, asked)
    assert quiet.exit_code == 3
    assert quiet.stderr.startswith("Error: ")
    assert "Traceback" not in quiet.stderr
    loud = run("--debug", *asked)
    assert loud.returncode != 0
    assert "Traceback" in loud.stderr
    assert "NotFound" in loud.stderr


def test_a_reader_that_goes_away_is_no_error(demo_record):
    """`iir audit list | head -1`."""
    command = [*IIR, "--set", f"data_dir={demo_record}", "audit", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read().decode()
        process.wait(30)
    assert "Traceback" not in said


def test_without_a_terminal_and_without_yes_the_demo_does_not_act(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["demo", "--fast", "--json"])
    assert done.exit_code == 0, done.output
    assert "no terminal" in done.stderr
    played = json.loads(done.stdout)
    assert played["fault_is_gone"] is False
    assert "rejected" in played["escalation"]


def test_the_demo_takes_away_nothing_but_its_own_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "iir-demo" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    done = CliRunner().invoke(cli, ["demo", "--yes", "--fast"])
    assert done.exit_code == 2
    assert "move it away" in done.stderr
    assert mine.read_text() == "years of work"


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[subprocess.Popen, str]]:
    """`iir serve` on any free port, and the URL it printed."""
    command = [*IIR, "--set", f"data_dir={tmp_path / 'served'}", "serve", "--port", "0"]
    log = tmp_path / "serve.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            line = process.stdout.readline()
            found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
            assert found, f"{line!r}; {log.read_text()}"
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()
            process.stdout.read()


def test_serve_takes_alerts_in_and_stops_cleanly(served, tmp_path, wait_until):
    process, url = served
    body = {
        "version": "4",
        "groupKey": "{}",
        "status": "firing",
        "receiver": "iir",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "Down", "instance": "web-1"},
                "annotations": {},
                "startsAt": "2026-03-01T12:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": "b44b1a5d7b6e7f60",
            }
        ],
    }
    assert httpx.post(f"{url}/webhooks/alertmanager", json=body).is_success
    shown = ["--set", f"data_dir={tmp_path / 'served'}", "incidents", "list", "--json"]

    def listed():
        return json.loads(CliRunner().invoke(cli, shown).stdout)

    wait_until(lambda: len(listed()) == 1, 15, "the incident")
    taken = int(url.rpartition(":")[2])
    second = run(
        "--set", f"data_dir={tmp_path / 'other'}", "serve", "--port", str(taken), cwd=tmp_path
    )
    assert second.returncode == 2
    assert str(taken) in second.stderr
    assert "Traceback" not in second.stderr
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(STOPS_WITHIN_S) == 0
    assert time.monotonic() - began < STOPS_WITHIN_S
    assert "stopped" in process.stdout.read()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", taken), timeout=5).close()


def test_serve_refuses_to_be_open_to_the_world(tmp_path):
    done = run(
        "--set", f"data_dir={tmp_path}", "--set", "server.host=0.0.0.0", "serve", "--port", "0"
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "0.0.0.0" in done.stderr
    assert "credentials" in done.stderr
