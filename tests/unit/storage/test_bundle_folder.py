"""Where a bundle is written, and where never."""

import pytest

from it_incident_response.errors import Conflict, InputRejected
from it_incident_response.storage.bundle_folder import write_bundle


def test_files_are_written_below_the_folder(tmp_path):
    write_bundle(tmp_path / "a" / "b", {"x.json": "{}", "context/y.json": "[\ud800]"})
    assert (tmp_path / "a" / "b" / "x.json").read_text() == "{}"
    assert (tmp_path / "a" / "b" / "context" / "y.json").read_text() == "[?]"


@pytest.mark.parametrize("name", ["../out.json", "/tmp/out.json", "context/../../out.json"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(InputRejected, match="outside"):
        write_bundle(tmp_path / "b", {name: "x"})
    assert not (tmp_path / "out.json").exists()


def test_an_empty_folder_is_used_a_full_one_is_not(tmp_path):
    folder = tmp_path / "b"
    folder.mkdir()
    write_bundle(folder, {"x.json": "1"})
    with pytest.raises(Conflict, match="not empty"):
        write_bundle(folder, {"y.json": "2"})
    assert not (folder / "y.json").exists()
