"""Writes a bundle's directory: readable for its owner only, never over anything that is there."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from it_incident_response.errors import Conflict, InputRejected


def require_free(folder: Path) -> None:
    """Raise `Conflict` if there is anything at the place where a bundle is to be written."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Conflict(f"{folder} exists and is no directory", hint="name another with --out")
    if folder.is_dir() and any(folder.iterdir()):
        raise Conflict(
            f"{folder} is not empty, nothing was written", hint="name another folder with --out"
        )


def write_bundle(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts by file name; raises `Conflict` if the folder is not empty or no folder.

    Raises `InputRejected` if the place cannot be written to.
    """
    try:
        require_free(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in texts.items():
            _write(folder, name, text)
    except OSError as error:
        raise InputRejected(f"cannot write the bundle to {folder}: {error.strerror}") from error


def _write(folder: Path, name: str, text: str) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts:
        raise InputRejected(f"{name!r} would lie outside of the bundle")
    target = folder.joinpath(*parts)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    # O_EXCL: whoever put a file or a link there meanwhile is not written through.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(target, flags, 0o600), "w", encoding="utf-8", newline="") as file:
        file.write(text.encode("utf-8", "replace").decode("utf-8"))
