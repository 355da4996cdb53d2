"""The embedded server against Temporal's own binary: it serves, comes back, and leaves nothing."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from it_incident_response.errors import ConfigError, ConnectorUnavailable, StoreUnavailable
from it_incident_response.workflow.engine.connection import connect
from it_incident_response.workflow.engine.embedded import EmbeddedServer, running_address
from it_incident_response.workflow.engine.engine_folder import EngineFolder, read_note
from it_incident_response.workflow.engine.ports import free_port as free_port_of
from it_incident_response.workflow.engine.server_binary import find_binary
from it_incident_response.workflow.engine.server_process import arguments
from it_incident_response.workflow.engine.settings import EngineSettings
from tests.real.stack.parked_workflow import QUEUE, Parked, shout
from tests.real.stack.process import free_port
from tests.real.stack.waiting import eventually, wait_until


class Fresh:
    """Counts how often the server said that its file is new; may fail at first."""

    def __init__(self, failures: int = 0) -> None:
        self.times = 0
        self._failures = failures

    async def __call__(self) -> None:
        self.times += 1
        if self.times <= self._failures:
            raise StoreUnavailable("the database is away")


@pytest.fixture
def settings(engine_folder: Path) -> EngineSettings:
    return EngineSettings(folder=engine_folder)


@asynccontextmanager
async def working(client: Client) -> AsyncIterator[None]:
    async with Worker(client, task_queue=QUEUE, workflows=[Parked], activities=[shout]):
        yield


async def park(client: Client, name: str, text: str = "hello"):
    return await client.start_workflow(Parked.run, text, id=name, task_queue=QUEUE)


def is_alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def other_pid(server: EmbeddedServer, before: int) -> int:
    """Return the pid of the next server once it serves."""
    await eventually(lambda: server.pid not in (None, before), 20, "another server")
    await server.until_ready(20)
    assert server.pid is not None
    return server.pid


async def test_a_workflow_can_be_started_as_soon_as_it_is_entered(settings):
    """Without any retry: right after a start the server answers with errors for a moment."""
    for attempt in range(5):
        async with EmbeddedServer(settings) as server:
            client = await connect(settings, server.address)
            await client.workflow_service.start_workflow_execution(
                StartWorkflowExecutionRequest(
                    namespace="default",
                    workflow_id=f"w-{attempt}",
                    workflow_type=WorkflowType(name="Any"),
                    task_queue=TaskQueue(name="nobody"),
                    request_id=f"r-{attempt}",
                ),
                retry=False,
            )
            assert running_address(settings) == server.address
        assert running_address(settings) is None


async def test_workflows_go_on_after_the_server_was_killed(settings):
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        client = await connect(settings, server.address)
        address, before = server.address, server.pid
        async with working(client):
            handles = [await park(client, f"w-{n}", f"text {n}") for n in range(5)]
            os.kill(before, signal.SIGKILL)
            assert await other_pid(server, before) != before
            for handle in handles:
                await handle.signal(Parked.go, "again")
            async with asyncio.timeout(30):
                results = [await handle.result() for handle in handles]
        assert results == [f"TEXT {n} AGAIN" for n in range(5)]
        assert server.address == address
    assert fresh.times == 1


async def test_a_file_removed_under_it_is_begun_anew_and_said(settings, caplog):
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        client = await connect(settings, server.address)
        await park(client, "w")
        before = server.pid
        for file in settings.folder.glob("temporal.db*"):
            file.unlink()
        await other_pid(server, before)
        await eventually(lambda: fresh.times == 2, 10, "the second call of on_fresh")
        with pytest.raises(RPCError, match="not found"):
            await client.get_workflow_handle("w").describe()
        await park(client, "w")
    assert "a new one is begun and every open incident is rebuilt" in caplog.text


async def test_a_file_replaced_under_it_counts_as_removed(settings, tmp_path):
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        before = server.pid
        other = tmp_path / "other.db"
        sqlite3.connect(other).close()
        other.replace(settings.folder / "temporal.db")
        await other_pid(server, before)
        await eventually(lambda: fresh.times == 2, 10, "the second call of on_fresh")


def _garbage(folder: EngineFolder) -> None:
    folder.database.write_bytes(b"this is no database" * 1000)


def _empty(folder: EngineFolder) -> None:
    folder.database.write_bytes(b"")


def _damaged(folder: EngineFolder) -> None:
    """A good first page, so that it looks like a database."""
    data = bytearray(folder.database.read_bytes())
    assert len(data) > 20_000
    data[4096:] = b"\xff" * (len(data) - 4096)
    folder.database.write_bytes(data)
    for side in ("-wal", "-shm"):
        folder.database.with_name(folder.database.name + side).unlink(missing_ok=True)


def _other_tables(folder: EngineFolder) -> None:
    """A sound database, but not the server's: found only when the server does not start."""
    folder.set_aside()
    with sqlite3.connect(folder.database) as database:
        database.execute("CREATE TABLE namespaces (a)")
    database.close()


def _other_version(folder: EngineFolder) -> None:
    note = folder.note()
    assert note is not None
    folder.write_note(note.model_copy(update={"server": "0.9.9/1.0.0"}))


def _no_note(folder: EngineFolder) -> None:
    (folder.path / "engine.json").write_text("{")


@pytest.mark.parametrize(
    "spoil", [_garbage, _empty, _damaged, _other_tables, _other_version, _no_note]
)
async def test_a_file_that_cannot_be_served_is_set_aside(settings, spoil, caplog):
    async with EmbeddedServer(settings) as server:
        client = await connect(settings, server.address)
        for n in range(20):
            await park(client, f"w-{n}", "x" * 2000)
    folder = EngineFolder(settings.folder)
    checkpoint = sqlite3.connect(folder.database)
    checkpoint.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checkpoint.close()
    spoil(folder)
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        await park(await connect(settings, server.address), "w-1")
    assert fresh.times == 1
    assert "is rebuilt from the store" in caplog.text
    assert (settings.folder / "temporal.db.set-aside").exists()
    again = Fresh()
    async with EmbeddedServer(settings, on_fresh=again) as server:
        await server.until_ready()
    assert again.times == 0


@pytest.mark.parametrize(
    ("change", "times"),
    [
        (
            {"boot": "another", "pid": 2**22 + 1},
            1,
        ),  # The power failed: what was not on disk is lost.
        ({"boot": "another"}, 0),  # It was stopped before the machine was.
        ({"pid": 2**22 + 1}, 0),  # We were killed: what the server wrote is in its file.
    ],
)
async def test_after_a_power_cut_everything_is_told_again(settings, change, times):
    async with EmbeddedServer(settings) as server:
        await park(await connect(settings, server.address), "w")
    folder = EngineFolder(settings.folder)
    folder.write_note(folder.note().model_copy(update=change))
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        client = await connect(settings, server.address)
        assert (await client.get_workflow_handle("w").describe()).id == "w"
    assert fresh.times == times


def wrapped(path: Path, before: str) -> Path:
    """Return a program that runs a line of shell before it becomes the server."""
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = server ]; then {before}; fi\nexec {find_binary(None)} "$@"\n'
    )
    path.chmod(0o755)
    return path


async def test_a_file_that_the_server_dies_of_again_and_again_is_set_aside(
    engine_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("it_incident_response.workflow.engine.embedded._PAUSE_S", 0.01)
    aside = engine_folder / "temporal.db.set-aside"
    dies = f"if [ ! -e {aside} ]; then (sleep 0.7; kill -9 $$) & fi"
    settings = EngineSettings(
        folder=engine_folder, embedded_binary=wrapped(tmp_path / "temporal", dies)
    )
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        await eventually(lambda: fresh.times == 2, 60, "a new file")
        await server.until_ready(20)
        await park(await connect(settings, server.address), "w")
    assert aside.exists()


async def test_a_server_that_never_starts_is_told_with_its_last_words(engine_folder, tmp_path):
    fails = wrapped(tmp_path / "temporal", 'echo "Error: the moon is full" >&2; exit 1')
    with pytest.raises(ConnectorUnavailable, match="the moon is full") as failed:
        async with EmbeddedServer(EngineSettings(folder=engine_folder, embedded_binary=fails)):
            pytest.fail("entered")
    assert str(fails) in str(failed.value)


async def test_a_start_that_loses_its_port_takes_another(engine_folder, tmp_path):
    """As if another program had taken it between our look and the server's."""
    once = tmp_path / "once"
    loses = f'if [ ! -e {once} ]; then touch {once}; echo "Error: already in use" >&2; exit 1; fi'
    settings = EngineSettings(
        folder=engine_folder, embedded_binary=wrapped(tmp_path / "temporal", loses)
    )
    async with EmbeddedServer(settings) as server:
        assert server.address != f"127.0.0.1:{free_port_of(engine_folder)}"
        await park(await connect(settings, server.address), "w")


async def test_on_fresh_is_owed_until_it_succeeded(settings):
    failing = Fresh(failures=1)
    with pytest.raises(StoreUnavailable):
        async with EmbeddedServer(settings, on_fresh=failing):
            pytest.fail("entered, though nothing was rebuilt")
    paid = Fresh()
    async with EmbeddedServer(settings, on_fresh=paid):
        pass
    assert paid.times == 1


async def test_on_fresh_is_tried_again_while_it_runs(settings):
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        before = server.pid
        fresh._failures = 2
        (settings.folder / "temporal.db").unlink()
        await other_pid(server, before)
        await eventually(lambda: fresh.times == 3, 30, "on_fresh to be tried again")
        await eventually(lambda: read_note(settings.folder).is_rebuilt, 5, "the note")


async def test_a_folder_has_one_owner(settings):
    async with EmbeddedServer(settings) as server:
        with pytest.raises(ConfigError, match=f"pid {os.getpid()}"):
            async with EmbeddedServer(settings):
                pytest.fail("two servers on one file")
        await server.until_ready(5)
        await connect(settings, server.address)
    async with EmbeddedServer(settings):
        pass


async def test_two_folders_do_not_disturb_each_other(tmp_path):
    one, two = (EngineSettings(folder=tmp_path / name) for name in ("one", "two"))
    async with EmbeddedServer(one) as first, EmbeddedServer(two) as second:
        assert first.address != second.address
        await park(await connect(one, first.address), "w")
        await park(await connect(two, second.address), "w")


async def test_a_file_that_another_program_has_locked_is_left_alone(settings):
    async with EmbeddedServer(settings):
        pass
    held = sqlite3.connect(settings.folder / "temporal.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError, match="is locked by another program"):
        async with EmbeddedServer(settings):
            pytest.fail("served a file that somebody writes to")
    held.close()
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh):
        pass
    assert fresh.times == 0


async def test_a_configured_port_that_is_taken_is_said(engine_folder, temporal_server):
    taken = EngineSettings(folder=engine_folder, embedded_port=temporal_server.port)
    with pytest.raises(ConfigError, match=f"{temporal_server.port} is taken by another program"):
        async with EmbeddedServer(taken):
            pytest.fail("two servers on one port")


async def test_a_configured_port_and_namespace_are_served(engine_folder):
    port = free_port()
    own = EngineSettings(folder=engine_folder, embedded_port=port, namespace="incidents")
    async with EmbeddedServer(own) as server:
        assert server.address == f"127.0.0.1:{port}"
        await park(await connect(own, server.address), "w")


_PARENT = """
import asyncio, pathlib, sys, threading
from it_incident_response.workflow.engine.embedded import EmbeddedServer
from it_incident_response.workflow.engine.server_process import arguments
from it_incident_response.workflow.engine.settings import EngineSettings

async def main():
    settings = EngineSettings(folder=pathlib.Path(sys.argv[1]))
    async with EmbeddedServer(settings) as server:
        print(server.pid, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def _noted_pid(folder: Path, before: int) -> int | None:
    note = read_note(folder)
    return note.pid if note is not None and note.pid != before else None


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_parent_killed_outright_leaves_no_server(engine_folder, restarts):
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(engine_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        pid = int(parent.stdout.readline())
        for _ in range(restarts):
            os.kill(pid, signal.SIGKILL)
            pid = wait_until(partial(_noted_pid, engine_folder, pid), 20, "another server")
        assert is_alive(pid)
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not is_alive(pid), 5, "the server to be gone with its parent")
    assert asyncio.run(_serves_again(engine_folder)) == 0


async def _serves_again(folder: Path) -> int:
    fresh = Fresh()
    async with EmbeddedServer(EngineSettings(folder=folder), on_fresh=fresh):
        return fresh.times


async def test_leaving_ends_the_server_and_all_it_started(settings):
    async with EmbeddedServer(settings) as server:
        pid = server.pid
        assert is_alive(pid)
    assert not is_alive(pid)
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)
    with pytest.raises(ConnectorUnavailable):
        await connect(settings, server.address, timeout_s=2)


async def test_a_server_that_does_not_end_is_killed(settings, monkeypatch):
    monkeypatch.setattr("it_incident_response.workflow.engine.server_process._STOP_S", 0.5)
    async with EmbeddedServer(settings) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
    assert not is_alive(pid)


async def test_an_interrupted_start_leaves_no_server(settings):
    task = asyncio.create_task(EmbeddedServer(settings).__aenter__())
    note = await eventually(
        lambda: (n := read_note(settings.folder)) and n.pid and n, 20, "a server that starts"
    )
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not is_alive(note.pid)


async def test_a_server_that_hangs_is_restarted(settings, monkeypatch):
    monkeypatch.setattr("it_incident_response.workflow.engine.embedded._SICK_S", 1.0)
    monkeypatch.setattr("it_incident_response.workflow.engine.embedded._PROBE_EVERY", 1)
    fresh = Fresh()
    async with EmbeddedServer(settings, on_fresh=fresh) as server:
        before = server.pid
        os.kill(before, signal.SIGSTOP)
        await other_pid(server, before)
        await park(await connect(settings, server.address), "w")
    assert fresh.times == 1


async def test_a_left_over_server_is_ended(settings, caplog):
    """As where the kernel does not end it with its parent: a file must not have two servers."""
    async with EmbeddedServer(settings):
        pass
    folder = EngineFolder(settings.folder)
    left_over = subprocess.Popen(
        arguments(find_binary(None), folder.database, free_port(), "default"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        folder.write_note(folder.note().model_copy(update={"pid": left_over.pid}))
        fresh = Fresh()
        async with EmbeddedServer(settings, on_fresh=fresh):
            assert left_over.wait(5) == -signal.SIGKILL
    finally:
        left_over.kill()
        left_over.wait()
    assert fresh.times == 0
    assert f"left over, pid {left_over.pid}" in caplog.text


async def test_another_process_with_a_noted_pid_is_left_alone(settings):
    async with EmbeddedServer(settings):
        pass
    folder = EngineFolder(settings.folder)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        folder.write_note(folder.note().model_copy(update={"pid": bystander.pid}))
        async with EmbeddedServer(settings):
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
