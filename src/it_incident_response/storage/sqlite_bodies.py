"""The receiver's own way into SQLite: one hop to a thread and back for each durable batch.

Every step of a general connection is a hop to its thread and back, each of which waits its turn
behind a busy event loop: ten of them for a batch bound how many alerts a second are acknowledged.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Row = tuple[str, int, bytes]
"""Source, time received in microseconds since 1970, body."""

ROWS_AT_ONCE = 250
"""Rows in one statement: three parameters each, below the limit of every SQLite build."""
_INSERT = "INSERT INTO inbox (source, received_at, body) VALUES "


class BodyWriter:
    """Appends to the inbox through one connection, which belongs to one thread."""

    def __init__(self, path: Path, *, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def append(self, rows: Sequence[Row]) -> None:
        """Store rows in one durable transaction; raises `sqlite3.Error` if none was stored."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox")
        loop = asyncio.get_running_loop()
        # A cancelled caller must not let the next one begin before this one has ended.
        await asyncio.shield(loop.run_in_executor(self._thread, self._append, rows))

    async def close(self) -> None:
        """Close the connection; a later `append` opens it again."""
        if self._thread is None:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()
        self._thread = None

    def _append(self, rows: Sequence[Row]) -> None:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Many rows a statement: each statement gives the interpreter away and waits for it.
            for start in range(0, len(rows), ROWS_AT_ONCE):
                portion = rows[start : start + ROWS_AT_ONCE]
                places = ",".join(["(?,?,?)"] * len(portion))
                given = [value for row in portion for value in row]
                connection.execute(_INSERT + places, given)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # With no isolation level the driver begins nothing by itself.
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout_s, isolation_level=None
            )
            connection.execute("PRAGMA synchronous=FULL")
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
