"""A bundle's files are read as far as they can be; the answer that lies beside them never is."""

import json

import pytest

from it_incident_response.errors import InputRejected
from it_incident_response.integrations.bundle_files import read_bundle

LINE = {"timestamp": "2026-05-04T12:00:00Z", "service": "a", "severity_text": "WARN", "msg": "hm"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "alert.json").write_text(
        json.dumps({"service": "a", "metric": "m", "fired_at": "2026-05-04T12:30:00Z"})
    )
    (tmp_path / "logs.ndjson").write_text(json.dumps(LINE) + "\n")
    rows = "timestamp,service,metric,value\n2026-05-04T12:00:00Z,a,m,1\n"
    (tmp_path / "metrics.csv").write_text(rows)
    (tmp_path / "traces.json").write_text("[]")
    for name in ("commits", "deploys", "flags"):
        (tmp_path / "context" / f"{name}.json").write_text("[]")
    return tmp_path


def test_a_whole_bundle_has_no_gaps(folder):
    bundle = read_bundle(folder)
    assert bundle.gaps == ()
    assert bundle.alert.service == "a"
    assert [line.level.value for line in bundle.lines] == ["warning"]
    assert bundle.metrics[0].values == (1.0,)


def test_the_answer_is_never_read(folder):
    (folder / "ground_truth.json").write_text(json.dumps({"root_cause": "SECRET-ANSWER"}))
    assert "SECRET-ANSWER" not in repr(read_bundle(folder))


def test_further_files_are_notices_with_their_times(folder):
    feed = {"source": "s", "events": [{"timestamp": "2026-05-04T12:20:00Z", "status": "degraded"}]}
    (folder / "feed.json").write_text(json.dumps(feed))
    found = [n for n in read_bundle(folder).notices if n.at is not None]
    assert [(n.file, "degraded" in n.text) for n in found] == [("feed.json", True)]


@pytest.mark.parametrize("name", ["alert.json", "logs.ndjson", "metrics.csv", "traces.json"])
def test_what_is_missing_is_a_gap(folder, name):
    (folder / name).unlink()
    assert any(name in gap for gap in read_bundle(folder).gaps)


@pytest.mark.parametrize(
    "junk", [b"\xff\xfe\x00", b"{", b"[[[[", b"null", b"7", b'{"a": NaN}', b"[" * 100_000]
)
@pytest.mark.parametrize(
    "name", ["traces.json", "context/commits.json", "feed.json", "patterns.json"]
)
def test_junk_is_no_end(folder, name, junk):
    (folder / name).write_bytes(junk)
    assert read_bundle(folder).alert.service == "a"


def test_lines_and_samples_that_are_none_are_counted(folder):
    with (folder / "logs.ndjson").open("ab") as file:
        file.write(b'nonsense\n{"msg": "no time"}\n\xff\xff\n[1]\n' + b"x" * 900_000 + b"\n")
    with (folder / "metrics.csv").open("a") as file:
        file.write("2026-05-04T12:01:00Z,a,m,NaN\nx,a,m,1\n2026-05-04T12:02:00Z,a,m,inf\n")
    bundle = read_bundle(folder)
    assert len(bundle.lines) == 1
    assert any("metrics.csv: 3 rows" in gap for gap in bundle.gaps)
    assert any("logs.ndjson: 5 lines" in gap for gap in bundle.gaps)


def test_a_link_out_of_the_bundle_is_not_followed(folder, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "passwd.json"
    secret.write_text(json.dumps([{"sha": "f" * 40, "message": "stolen"}]))
    (folder / "context" / "commits.json").unlink()
    (folder / "context" / "commits.json").symlink_to(secret)
    bundle = read_bundle(folder)
    assert bundle.commits == ()
    assert any("outside of the bundle" in gap for gap in bundle.gaps)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(InputRejected, match="no directory"):
        read_bundle(tmp_path / "none")
    with pytest.raises(InputRejected, match="holds no alert"):
        read_bundle(tmp_path)
