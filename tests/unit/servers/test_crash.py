"""`kill -9` under load: every body that was acknowledged is in the store."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from it_incident_response.ports.clock import SystemClock
from it_incident_response.storage import open_store
from tests.unit.servers.conftest import JSON, WEBHOOK, webhook

REPOSITORY = Path(__file__).parents[3]
SENDERS = 16


async def start(database: Path) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("crash_server.py")),
        str(database),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        return process, (await process.stdout.readline()).decode().strip()


async def send_until_killed(url: str, sender: int, acknowledged: list[bytes]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for number in range(100_000):
            body = webhook(f"Alert-{sender}-{number}")
            try:
                answer = await client.post(url + WEBHOOK, content=body, headers=JSON)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                acknowledged.append(body)


async def stored_bodies(database: Path) -> list[bytes]:
    store = open_store(f"sqlite:///{database}", clock=SystemClock())
    await store.open()
    try:
        async with store.ingestion(1_000_000) as ingestion:
            return [item.body for item in ingestion.items]
    finally:
        await store.close()


@pytest.mark.parametrize("kill_after", [1, 150])
async def test_nothing_acknowledged_is_lost(tmp_path, eventually, kill_after):
    database = tmp_path / "iir.db"
    process, url = await start(database)
    acknowledged: list[bytes] = []
    try:
        async with asyncio.TaskGroup() as senders:
            for sender in range(SENDERS):
                senders.create_task(send_until_killed(url, sender, acknowledged))
            await eventually(
                lambda: len(acknowledged) >= kill_after, 30, f"{kill_after} acknowledged bodies"
            )
            process.kill()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    stored = await stored_bodies(database)
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored)), "a body was stored twice"
