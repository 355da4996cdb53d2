"""The parts of the SSH executor: text, keys, settings, and that loading them is cheap."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from it_incident_response.errors import ConfigError, InputRejected
from it_incident_response.executors.ssh_settings import SshSettings
from it_incident_response.executors.ssh_text import clean, command_line, sudoers_line
from tests.unit.executors.loopback_host import LoopbackHost


@given(st.binary(max_size=500))
def test_any_output_becomes_harmless_text(output: bytes) -> None:
    text = clean(output)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in text)
    assert not set(text) & {"\x7f", "\x9b", "\u202e", "\u2066", "\u200f"}
    text.encode()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"plain \xc3\xa9\ttext\r\n", "plain é\ttext\n"),
        (b"\x1b[1;31mred\x1b[0m", "\ufffdred\ufffd"),
        (b"\x1b]0;title\x07shown", "\ufffdshown"),
        (b"cut \xc3", "cut \ufffd"),
        ("a\u202eb".encode(), "a\ufffdb"),
    ],
)
def test_output_is_cleaned(output: bytes, expected: str) -> None:
    assert clean(output) == expected


def test_names_that_differ_do_not_become_equal() -> None:
    """Removing characters could make one path look like two records of a listing."""
    assert clean(b"/srv/\x01/\n") != "/srv//\n"


@pytest.mark.parametrize("word", ["a\0b", "a\nb", "a\rb"])
def test_line_breaks_and_nul_do_not_reach_a_shell(word: str) -> None:
    with pytest.raises(InputRejected):
        command_line(("echo", word))


def test_sudoers_lines_escape_what_sudoers_would_interpret() -> None:
    line = sudoers_line("deploy", ("find", "/srv/a:b,c", "-printf", "%s=\\t*"))
    assert line == r"deploy ALL=(root) NOPASSWD: /usr/bin/find /srv/a\:b\,c -printf %s\=\\t\*"


async def test_without_key_and_agent_the_error_says_what_to_do(
    web: LoopbackHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = web.executor(private_key=None)
    with pytest.raises(ConfigError, match="no SSH private key") as caught:
        await executor.check_host("web-1")
    assert "ssh-add" in str(caught.value)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(web.folder / "gone"))
    with pytest.raises(ConfigError, match="does not answer"):
        await executor.check_host("web-1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"connect_timeout_s": 0},
        {"command_timeout_s": -1},
        {"max_output_bytes": 10},
        {"max_sessions": 0},
        {"strict_host_keys": False},
    ],
)
def test_settings_have_bounds_and_no_way_around_host_keys(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SshSettings.model_validate(wrong)


def test_importing_the_executor_does_not_load_the_ssh_library() -> None:
    code = "import sys, it_incident_response.executors.ssh; print('asyncssh' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_no_agent_forwarding_and_no_x11_is_ever_asked_for() -> None:
    import it_incident_response.executors.ssh as module

    folder = Path(module.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("ssh*.py"))
    for word in ("agent_forwarding", "known_hosts=None", "x11"):
        assert word not in text.replace("x509", "")
