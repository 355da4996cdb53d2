"""Secrets that stand in files of their own, and who else may read them."""

import stat
from pathlib import Path

_BYTES_MAX = 65_536


def read_secret(path: Path) -> str:
    """Return the file's text without its last line break; raises `ValueError` with the mending."""
    check_private(path)
    try:
        data = path.read_bytes()[: _BYTES_MAX + 1]
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text") from error
    if len(data) > _BYTES_MAX:
        raise ValueError(f"{path} is larger than {_BYTES_MAX} bytes; it should hold one secret")
    if not text.strip():
        raise ValueError(f"{path} is empty; it should hold one secret")
    return text


def check_private(path: Path) -> None:
    """Raise `ValueError` if the file is missing, no file, or readable by others."""
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a file")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise ValueError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
