"""Writes the PostgreSQL dump of the newest revision: `python -m tests.real.store_dump`.

The dump of a released revision never changes again.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from it_incident_response.storage import open_store, schema
from tests.contracts.store_fixtures import FixedClock
from tests.real.stack.postgres import Postgres, running_postgres
from tests.unit.storage import sample_record

_OPTIONS = ("--inserts", "--no-owner", "--no-privileges", "--schema=public")


async def _fill(url: str) -> None:
    store = open_store(url, clock=FixedClock())
    await store.open()
    await sample_record.fill(store)
    await store.close()


def _dump(postgres: Postgres, url: str) -> str:
    """Return the statements that make the database anew, without comments and psql's commands."""
    binary = Path(postgres.server.argv[0]).with_name("pg_dump")
    done = subprocess.run([binary, *_OPTIONS, url], capture_output=True, text=True, check=True)
    lines = (line for line in done.stdout.splitlines() if not line.startswith(("--", "\\")))
    return "\n".join(line for line in lines if line and "SCHEMA public" not in line) + "\n"


if __name__ == "__main__":
    target = sample_record.DUMPS / f"{schema.HEAD}.postgresql.sql"
    if target.exists() and sys.argv[1:] != ["--replace"]:
        sys.exit(f"{target} exists: the dump of a released revision stays; else give --replace")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres(Path(folder) / "log") as server,
    ):
        url = server.create_database()
        asyncio.run(_fill(url))
        target.write_text(_dump(server, url), encoding="utf-8")
