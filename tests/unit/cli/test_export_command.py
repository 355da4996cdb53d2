"""`iir incidents export` on the record of a demo, and what `iir investigate` makes of it."""

import json
import shutil
import stat

import pytest

KEY = "INC-000001"


@pytest.fixture(scope="module")
def exported(demo_shell, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "bundle"
    told = demo_shell.json("incidents", "export", KEY, "--out", str(folder))
    assert told["folder"] == str(folder)
    return folder


def load(folder, name):
    return json.loads((folder / name).read_text())


def test_a_bundle_holds_what_was_kept_and_says_what_it_lacks(exported):
    alert = load(exported, "alert.json")
    assert alert["service"] == "search"
    assert alert["monitor"] == "ServiceDown"
    rows = (exported / "metrics.csv").read_text().splitlines()
    assert rows[0] == "timestamp,service,metric,value"
    assert any(",search,up,0.0" in row for row in rows)
    lines = [json.loads(line) for line in (exported / "logs.ndjson").read_text().splitlines()]
    assert any("connection refused" in line["msg"] for line in lines)
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    assert load(exported, "context/deploys.json")
    manifest = load(exported, "manifest.json")
    assert manifest["incident"] == KEY
    assert "traces.json: nothing was kept" in manifest["missing"]
    assert manifest["counts"]["metrics.csv"] == len(rows) - 1


def test_only_the_owner_may_read_it(exported):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in exported.rglob("*")}
    assert modes == {0o600, 0o700}


def test_nothing_is_ever_overwritten(exported, demo_shell, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    said = demo_shell.refused(4, "incidents", "export", KEY, "--out", str(exported))
    assert "is not empty" in said
    assert {path: path.stat().st_mtime_ns for path in exported.rglob("*")} == before
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    demo_shell.refused(4, "incidents", "export", KEY, "--out", str(link))
    assert not (tmp_path / "elsewhere").exists()


def test_an_unknown_incident_leaves_no_folder(demo_shell, tmp_path):
    demo_shell.refused(3, "incidents", "export", "INC-999999", "--out", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_place_that_cannot_be_written_to_is_an_error_with_its_reason(demo_shell, tmp_path):
    (tmp_path / "file").write_text("")
    said = demo_shell.refused(
        2, "incidents", "export", KEY, "--out", str(tmp_path / "file" / "bundle")
    )
    assert "cannot write the bundle" in said


def test_an_investigation_of_the_export_blames_what_the_incident_was_about(exported, demo_shell):
    found = demo_shell.json("investigate", str(exported))
    assert found["first_failing_service"] in {"search", "search-1", "search-1:8086"}
    assert found["root_cause"]["change"] is None
    assert found["root_cause"] == found["hypotheses"][0]


def test_a_secret_that_is_configured_later_is_taken_out_of_an_export(demo_shell, tmp_path):
    known = "connection refused"
    section = "infrastructure.monitoring.prometheus.basic_auth"
    name, password = f"{section}.username=us", f"{section}.password={known}"
    out = str(tmp_path / "b")
    demo_shell.ok("--set", name, "--set", password, "incidents", "export", KEY, "--out", out)
    text = "".join(p.read_text() for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert known not in text
    assert "[redacted:secret]" in text


def test_a_truth_in_the_folder_changes_nothing(exported, demo_shell, tmp_path):
    copy = tmp_path / exported.name
    shutil.copytree(exported, copy)
    truth = {"root_cause_commit": "none", "first_failing_service": "zebra", "remediation": "pray"}
    (copy / "ground_truth.json").write_text(json.dumps(truth))
    assert demo_shell.json("investigate", str(copy)) == demo_shell.json(
        "investigate", str(exported)
    )
