"""The topology as people write it: clear errors for what cannot be meant."""

from pathlib import Path

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.integrations.topology_file import TopologyFile
from it_incident_response.ports import TopologySource

GOOD = """
services: [web, checkout, db]
calls:
  web: [checkout]
  checkout: [db]
runs_on:
  db: [db-1, db-2]
"""


async def test_what_is_written_is_the_graph_and_an_edit_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(GOOD)
    source = TopologyFile(path)
    assert isinstance(source, TopologySource)
    topology = await source.topology()
    assert topology.calls == {"web": frozenset({"checkout"}), "checkout": frozenset({"db"})}
    assert topology.runs_on == {"db": frozenset({"db-1", "db-2"})}
    path.write_text("")
    assert (await source.topology()).calls == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("calls: {web: [nobody]}\nservices: [web]", "calls names 'nobody'"),
        ("calls: {web: checkout}", "calls.web"),
        ("cals: {}", "cals: Extra inputs"),
        ("- a", "valid dictionary"),
        ("a: [\nb: c", "line 2: no valid YAML"),
        ("calls: {web: [7]}", "calls.web.0"),
        ("calls: {web: ['a\\nb', \"x\\ny\"]}", "calls.web.1"),
        ("a: &a [x]\ncalls: {web: *a}", "line 2: anchors"),
        ("!!python/object/apply:os.system [true]", "no valid YAML"),
        ("[" * 20_000, "no valid YAML"),
        ("x" * 1_000_001, "larger than"),
    ],
)
async def test_what_cannot_be_meant_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        await TopologyFile(path).topology()
    assert words in str(caught.value)


async def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        await TopologyFile(tmp_path / "absent").topology()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        await TopologyFile(tmp_path / "binary").topology()
