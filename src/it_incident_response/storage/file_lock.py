"""A lock between processes on one machine: `flock` on a file, given back even by `kill -9`."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from it_incident_response.errors import ConfigError, StoreUnavailable

_POLL_S = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Pauses between attempts; the last one repeats."""


class FileLock:
    """One lock file; tasks of this process queue in order, other processes are polled for."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._gate = asyncio.Lock()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lock during the block.

        Raises `StoreUnavailable` if another process has it longer than the time limit.
        """
        async with self._gate:
            descriptor = self._opened()
            try:
                await self._lock(descriptor)
                yield
            finally:
                os.close(descriptor)

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot write {str(self._path)!r}: {error.strerror}",
                hint="SQLite needs a folder that the user who runs iir may write to",
            ) from error

    async def _lock(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        attempt = 0
        while not _try_lock(descriptor):
            if loop.time() > deadline:
                raise StoreUnavailable(
                    f"another process has held {str(self._path)!r} for {self._timeout_s:.0f} s",
                    hint="look who has it open (fuser, lsof): one `iir serve` a database is usual",
                )
            await asyncio.sleep(_POLL_S[min(attempt, len(_POLL_S) - 1)])
            attempt += 1


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
