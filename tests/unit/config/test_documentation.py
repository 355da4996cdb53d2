"""The page on configuration leaves no key and no variable out, and the examples load."""

import re
from pathlib import Path

import pytest

from it_incident_response.config import load, profile_names
from it_incident_response.config.environment import LOADER_VARIABLES, NAMED_VARIABLES
from it_incident_response.config.schema import schema
from it_incident_response.safety.policy import Policy

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
QUOTED = set(re.findall(r"`([^`\n]+)`", PAGE))


def is_documented(key: str) -> bool:
    """A key stands in full, or without the section that its table is about."""
    parts = key.split(".")
    return any(".".join(parts[start:]) in QUOTED for start in range(len(parts)))


def test_every_key_is_documented():
    assert [key for key in schema().leaves if not is_documented(key)] == []


@pytest.mark.parametrize("name", [*NAMED_VARIABLES, *LOADER_VARIABLES])
def test_every_variable_is_documented(name):
    assert name in QUOTED


def test_every_phase_is_documented():
    phases = {name for name in profile_names() if name.startswith("phase")}
    assert len(phases) == 4
    assert phases <= QUOTED


def test_the_example_files_load(tmp_path):
    folder = REPOSITORY / "config"
    overrides = {"inventory": str(folder / "inventory.yaml")}
    loaded = load(environ={}, overrides=overrides, cwd=tmp_path)
    assert loaded.settings.inventory.host("10.0.0.11:9100").name == "web-1"
    assert Policy.load(folder / "policy.yaml").rules
