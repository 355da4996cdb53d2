"""The lock between processes: one holder, in order, given back by death."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from it_incident_response.errors import ConfigError, StoreUnavailable
from it_incident_response.storage.file_lock import FileLock

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def test_tasks_take_turns_in_order(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", timeout_s=5)
    inside: list[int] = []
    order: list[int] = []

    async def enter(number: int) -> None:
        async with lock.held():
            assert inside == []
            inside.append(number)
            await asyncio.sleep(0)
            inside.remove(number)
            order.append(number)

    await asyncio.gather(*(enter(number) for number in range(10)))
    assert order == list(range(10))


async def test_two_locks_on_one_file_exclude_each_other(tmp_path: Path) -> None:
    first, second = (FileLock(tmp_path / "lock", timeout_s=0.05) for _ in range(2))
    async with first.held():
        with pytest.raises(StoreUnavailable, match="another process"):
            async with second.held():
                pass
    async with second.held():
        pass


async def test_another_process_excludes_until_it_is_killed(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", timeout_s=0.05)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreUnavailable):
            async with lock.held():
                pass
        holder.kill()
        holder.wait()
    async with lock.held():
        pass


async def test_a_folder_that_is_missing_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        async with FileLock(tmp_path / "absent" / "lock", timeout_s=1).held():
            pass
