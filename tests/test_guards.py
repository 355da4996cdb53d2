"""What tests/conftest.py promises to every test, tried out."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import NetworkForbidden
from tests.real.stack.waiting import Eventually, NotInTime, WaitUntil

ROOT = Path(__file__).parent.parent
# TEST-NET-1 of RFC 5737: an address that nobody has.
OUTSIDE = "192.0.2.1"


def test_addresses_beyond_loopback_are_refused() -> None:
    with socket.socket() as client, pytest.raises(NetworkForbidden, match=OUTSIDE):
        client.connect((OUTSIDE, 80))


async def test_async_code_and_names_are_refused_too() -> None:
    with pytest.raises(NetworkForbidden, match=OUTSIDE):
        await asyncio.open_connection(OUTSIDE, 80)
    async with httpx.AsyncClient() as client:
        with pytest.raises(NetworkForbidden, match="example"):
            await client.get("http://www.example.com/")


def test_an_invalid_name_fails_as_everywhere() -> None:
    with pytest.raises(httpx.ConnectError, match="Name or service not known"):
        httpx.get("http://nobody.invalid/")


def test_loopback_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()


def test_environment_and_folders_are_clean(tmp_path: Path) -> None:
    assert not [name for name in os.environ if name.startswith("IIR_")]
    assert Path.home().is_relative_to(tmp_path)
    assert Path.cwd() == tmp_path


def test_waiting_returns_what_came_true(wait_until: WaitUntil) -> None:
    answers = iter(["", "", "here"])
    assert wait_until(lambda: next(answers), 5, "an answer") == "here"


def test_waiting_says_what_was_seen_last(wait_until: WaitUntil) -> None:
    with pytest.raises(NotInTime, match=r"waited 0.05 s for a miracle; last value was 0"):
        wait_until(lambda: 0, 0.05, "a miracle")
    with pytest.raises(NotInTime, match=r"last attempt raised ZeroDivisionError: division"):
        wait_until(lambda: 1 / 0, 0.05, "a miracle")


async def test_eventually_takes_both_kinds_of_condition(eventually: Eventually) -> None:
    async def later() -> str:
        return "async"

    assert await eventually(later, 1, "it") == "async"
    assert await eventually(lambda: "sync", 1, "it") == "sync"
    with pytest.raises(NotInTime):
        await eventually(lambda: None, 0.05, "nothing")


_SKIPS = """
import pytest

@pytest.mark.real
def test_without_its_component():
    pytest.skip("prometheus is not installed")

@pytest.mark.real
def test_without_the_shared_folder():
    pytest.skip("the folder ../shared is not beside this checkout")

def test_not_real():
    pytest.skip("as everywhere")
"""


def test_ci_fails_for_a_real_test_without_its_component(tmp_path: Path) -> None:
    module = tmp_path / "test_skips.py"
    module.write_text(_SKIPS)
    options = ["-c", "pyproject.toml", "-p", "tests.conftest", "-p", "no:cacheprovider", "--real"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(module)],
        cwd=ROOT,
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 skipped" in run.stdout.splitlines()[-1], run.stdout
    assert "CI must run every real test, but: Skipped: prometheus is not installed" in run.stdout
