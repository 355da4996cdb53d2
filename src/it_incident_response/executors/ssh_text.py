"""Text to and from a remote shell: quoted on its way out, harmless on its way back."""

import re
import shlex
from collections.abc import Sequence

from it_incident_response.errors import InputRejected

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences (ECMA-48), such as colours
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands, such as window titles
    r"|\x1b[@-Z\\-_]?"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls but tab and newline, and the marks that reorder text (Unicode UAX 9)."""


def command_line(vector: Sequence[str]) -> str:
    """Return the vector as one line whose words a POSIX shell reads back exactly.

    SSH has no argument vectors: sshd hands one string to the user's login shell. Raises
    `InputRejected` for NUL and newlines, which no argument of ours has a use for.
    """
    for word in vector:
        if any(character in word for character in "\0\n\r"):
            raise InputRejected(f"an argument of {vector[0]!r} holds a NUL or a line break")
    return shlex.join(vector)


def clean(output: bytes) -> str:
    """Return output fit to be stored, parsed and shown.

    Undecodable bytes and control characters become U+FFFD one by one: were they removed, a file
    name could be made to look like another one.
    """
    text = output.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return _CONTROLS.sub("\ufffd", _ESCAPES.sub("\ufffd", text))


def sudoers_line(user: str, vector: Sequence[str]) -> str:
    """Return the line that lets `user` run exactly this vector as root without a password.

    The program's folder is a guess: most systems have /usr/bin. Comma, colon, equals sign and
    backslash need a backslash within arguments (sudoers(5)).
    """
    escaped = (re.sub(r"([,:=\\*?\[\]!])", r"\\\1", word) for word in vector[1:])
    return f"{user} ALL=(root) NOPASSWD: {' '.join([f'/usr/bin/{vector[0]}', *escaped])}"
