"""`iir eval logs`: what it prints and what it refuses."""

import csv
import json

import pytest
from click.testing import CliRunner

from it_incident_response.cli import log_evaluation
from it_incident_response.cli.eval_commands import evaluate
from it_incident_response.errors import InputRejected

ROWS = [(f"disk {n} full on /dev/sd{n}", "disk <*> full on <*>") for n in range(30)]
ROWS += [("link up", "link up"), ("took 3 ms", "took <*> ms")] * 10


def write(folder, name="Acme", rows=ROWS, header=("LineId", "Content", "EventTemplate")):
    with (folder / f"{name}_2k.log_structured_corrected.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows((n, *row) for n, row in enumerate(rows))


def run(*words):
    return CliRunner().invoke(evaluate, list(map(str, words)))


def test_json_has_exactly_the_promised_keys(tmp_path):
    write(tmp_path)
    write(tmp_path, "Other", rows=[("user x came", "user <*> came")])
    done = run("logs", tmp_path, "--lines", 3000, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    scores = ["grouping_accuracy", "fga", "pa", "fta"]
    assert list(found) == [*scores, "lines_per_second", "drain3_lines_per_second", "systems"]
    assert found["systems"]["Acme"] == dict.fromkeys(scores, 1.0)
    assert found["systems"]["Other"] == {
        "grouping_accuracy": 1.0,
        "fga": 1.0,
        "pa": 0.0,
        "fta": 0.0,
    }
    assert found["pa"] == 0.5
    assert found["lines_per_second"] > 0


def test_people_get_a_table(tmp_path):
    write(tmp_path)
    done = run("logs", tmp_path, "--lines", 1000)
    assert "Acme" in done.stdout
    assert "mean" in done.stdout
    assert "lines a second on one core" in done.stdout


def test_without_drain3_its_speed_is_null_and_why_is_said(tmp_path, monkeypatch):
    def absent():
        raise ImportError("drain3")

    write(tmp_path)
    monkeypatch.setattr(log_evaluation, "Drain3", absent)
    done = run("logs", tmp_path, "--lines", 1000, "--json")
    assert json.loads(done.stdout)["drain3_lines_per_second"] is None
    assert "it-incident-response[eval]" in done.stderr


@pytest.mark.parametrize("kind", ["absent", "empty", "file"])
def test_a_wrong_folder_is_refused(tmp_path, kind):
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
    if kind == "file":
        folder.write_text("x")
    done = run("logs", folder)
    assert isinstance(done.exception, InputRejected)
    assert str(folder) in str(done.exception)
    assert done.exit_code != 0


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        (("LineId", "Content", "Template"), ROWS, "EventTemplate"),
        (("LineId", "Content", "EventTemplate"), [], "no lines"),
        (("LineId", "Content", "EventTemplate"), [("only content",)], "too few columns"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, header, rows, said):
    write(tmp_path, rows=rows, header=header)
    done = run("logs", tmp_path)
    assert isinstance(done.exception, InputRejected)
    assert said in str(done.exception)
