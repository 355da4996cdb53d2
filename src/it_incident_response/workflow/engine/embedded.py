"""Runs Temporal's development server as a child, restarts it, and says when its file is new."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from temporalio.client import Client
from temporalio.service import RPCError

from it_incident_response.errors import (
    ConfigError,
    ConnectorUnavailable,
    IncidentResponseError,
)
from it_incident_response.ports.clock import Clock, SystemClock
from it_incident_response.workflow.engine.connection import CONNECTOR, connect, probe, until_ready
from it_incident_response.workflow.engine.engine_folder import (
    EngineFolder,
    EngineNote,
    FileState,
    boot_id,
    read_note,
)
from it_incident_response.workflow.engine.ports import free_port, is_free
from it_incident_response.workflow.engine.server_binary import find_binary, server_version
from it_incident_response.workflow.engine.server_log import LogPump
from it_incident_response.workflow.engine.server_process import (
    LOOPBACK,
    ServerProcess,
    arguments,
)
from it_incident_response.workflow.engine.settings import EngineSettings

log = logging.getLogger(__name__)

OnFresh = Callable[[], Awaitable[None]]

_START_S = 30.0
"""For one start until a workflow can be started; it takes 0.2 s on an idle machine."""
_TRIES = 4
_TRUSTED_TRIES = 2
"""Starts that fail before the file is taken to be the reason."""
_WATCH_S = 1.0
_PROBE_EVERY = 5
"""Looks at the file between two probes."""
_SICK_S = 20.0
"""So long without an answer it is restarted; then, its file being the reason, begun anew."""
_QUICK_DEATH_S = 30.0
_DEATHS_OF_A_BAD_FILE = 5
"""Quick deaths in a row, each after a good start."""
_PAUSE_S = 0.2
_PAUSE_MAX_S = 30.0


def running_address(settings: EngineSettings) -> str | None:
    """Return where the embedded server of a folder listens, as its `iir serve` noted it.

    For other processes of the same machine; None if it does not run.
    """
    note = read_note(settings.folder)
    if note is None or note.pid is None or note.port is None or is_free(note.port):
        return None
    return f"{LOOPBACK}:{note.port}"


class EmbeddedServer:
    """The embedded server while the block runs; enter it on the thread that lives longest.

    Its file is disposable: `on_fresh` is awaited whenever the server serves a new one (or one that
    may lack its latest writes, after a power cut), after which everything open has to be told to it
    again. That is asked for until it succeeded once, across
    restarts of ours too. Errors of our tree and `OSError` from it are retried, except at entry.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        on_fresh: OnFresh | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._on_fresh = on_fresh
        self._clock = clock or SystemClock()
        self._folder = EngineFolder(settings.folder.absolute())
        self._binary = Path()
        self._version = ""
        self._port = 0
        self._note = EngineNote(server="")
        self._identity: tuple[int, int] | None = None
        self._process: ServerProcess | None = None
        self._pump = LogPump()
        self._client: Client | None = None
        self._is_serving = asyncio.Event()
        self._is_announced = False
        self._deaths = 0
        self._supervision: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """`127.0.0.1:port`; stays the same through restarts."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the server; None while there is none."""
        return self._process.pid if self._process and self._process.is_running else None

    async def __aenter__(self) -> Self:
        """Start it; a workflow can be started when this returns.

        Raises `ConfigError` if there is no binary, the folder or the file is another process's, or
        the configured port is taken, and `ConnectorUnavailable` if it does not start.
        """
        try:
            self._binary = await asyncio.to_thread(find_binary, self._settings.embedded_binary)
            self._version = await server_version(self._binary)
            await asyncio.to_thread(self._folder.take)
            if pid := await asyncio.to_thread(self._folder.end_survivor):
                log.warning("killed an embedded Temporal server that was left over, pid %d", pid)
            await self._bring_up()
            await self._tell_if_fresh()
        except BaseException:
            await self._close()
            raise
        self._is_announced = True
        self._supervision = asyncio.create_task(self._supervise(), name="embedded engine")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it: by request, by force after 10 s."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        await self._close()

    async def _close(self) -> None:
        self._is_serving.clear()
        try:
            if self._process is not None:
                await self._process.stop()
                self._folder.write_note(self._note.model_copy(update={"pid": None}))
        except OSError as error:  # A full disk; the server is gone all the same.
            log.warning("%s: its note cannot be written: %s", self._folder.path, error.strerror)
        finally:
            self._process = None
            self._folder.release()

    async def until_ready(self, timeout_s: float = 60.0) -> None:
        """Return when a workflow can be started, now or after the restart that is going on.

        Raises `ConnectorUnavailable` when `timeout_s` has passed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_serving.wait()
        except TimeoutError as error:
            raise self._not_started(f"not ready within {timeout_s:g} s") from error
        assert self._client is not None  # noqa: S101 - set before it serves
        await until_ready(self._client, timeout_s, self._clock)

    async def wait(self) -> None:
        """Return never; raises what ended the supervision, which is a bug of ours."""
        if self._supervision is None:
            raise RuntimeError("the embedded server is not entered")
        await asyncio.shield(self._supervision)

    async def _bring_up(self) -> None:
        """Start it, with a new file if need be, until a workflow can be started."""
        failure: ConnectorUnavailable | None = None
        is_dying = self._deaths > 0 and self._deaths % _DEATHS_OF_A_BAD_FILE == 0
        for attempt in range(_TRIES):
            # Who cannot listen has not even looked at the file.
            is_suspect = attempt >= _TRUSTED_TRIES and not self._pump.said("already in use")
            self._choose_port(attempt)
            try:
                await self._check_port()
                await asyncio.to_thread(self._prepare, is_suspect or (is_dying and attempt == 0))
                return await self._start_once()
            except ConnectorUnavailable as error:
                failure = error
                log.info("the embedded Temporal server did not start: %s", error.message)
                await self._clock.sleep(_PAUSE_S * 2**attempt)
        assert failure is not None  # noqa: S101 - or it had returned
        raise failure

    def _prepare(self, is_suspect: bool) -> None:
        state, note = self._folder.look(), self._folder.note()
        if state is FileState.LOCKED:
            raise ConfigError(
                f"temporal: {self._folder.database} is locked by another program",
                hint="end the program that has it open; `fuser` or `lsof` names it",
            )
        why = self._why_not(state, note, is_suspect)
        if why is None and note is not None:
            if note.lost_power():
                log.warning("the machine went down under the engine; everything is told it again")
                note = note.model_copy(update={"is_rebuilt": False})
            self._note = note
            return
        if state is FileState.MISSING and note is None:
            log.info("the embedded Temporal server begins with a new file")
        else:
            log.warning(
                "%s %s; a new one is begun and every open incident is rebuilt from the store",
                self._folder.database,
                why,
            )
        self._folder.set_aside()
        self._note = EngineNote(server=self._version)
        self._folder.write_note(self._note)

    def _why_not(self, state: FileState, note: EngineNote | None, is_suspect: bool) -> str | None:
        """Return why the file cannot be served, or None if it can."""
        if state is FileState.MISSING:
            return "is gone"
        if state is FileState.BAD:
            return "is damaged or cannot be read"
        if note is None:
            return "was made by a version that nobody noted"
        if note.server != self._version:
            return f"was made by Temporal {note.server}, which is now {self._version}"
        return "does not let the server start" if is_suspect else None

    def _choose_port(self, attempt: int) -> None:
        """Choose the port anew until somebody was told; from then on it stays."""
        if self._is_announced:
            return
        before, wanted = self._note.port, self._settings.embedded_port
        if wanted:
            self._port = wanted
        elif attempt == 0 and before is not None and is_free(before):
            self._port = before
        else:
            self._port = free_port(self._folder.path, attempt)

    async def _start_once(self) -> None:
        self._pump = LogPump()
        self._pump.is_quiet = True
        command = arguments(
            self._binary, self._folder.database, self._port, self._settings.namespace
        )
        self._process = process = await ServerProcess.start(command, self._pump)
        try:
            self._note = self._note.model_copy(
                update={"port": self._port, "pid": process.pid, "boot": boot_id()}
            )
            self._folder.write_note(self._note)
            async with asyncio.timeout(_START_S):
                await self._until_serving(process)
        except TimeoutError as error:
            await process.kill()
            raise self._not_started(f"not ready within {_START_S:g} s") from error
        except BaseException:
            await process.kill()
            raise
        self._identity = self._folder.identity()
        self._pump.is_quiet = False
        self._is_serving.set()
        log.info("the embedded Temporal server serves %s, pid %d", self.address, process.pid)

    async def _check_port(self) -> None:
        for pause in (0.05, 0.1, 0.2, 0.4):  # A server that was just killed lets its port go.
            if is_free(self._port):
                return
            await self._clock.sleep(pause)
        if self._is_announced or not self._settings.embedded_port:
            raise self._not_started(f"port {self._port} is taken by another program")
        raise ConfigError(
            f"temporal.embedded.port: {self._port} is taken by another program",
            hint="write another port, or 0 for any free one",
        )

    async def _until_serving(self, process: ServerProcess) -> None:
        pause = 0.02
        while process.is_running:
            with contextlib.suppress(ConnectorUnavailable, RPCError):
                if self._client is None:
                    self._client = await connect(self._settings, self.address)
                await probe(self._client)
                return
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        await process.kill()  # Which reads its last words.
        raise self._not_started(self._pump.tail)

    def _not_started(self, why: str) -> ConnectorUnavailable:
        hint = f"the log of it_incident_response.temporal says more; the binary is {self._binary}"
        return ConnectorUnavailable(CONNECTOR, f"the embedded server: {why}", hint=hint)

    async def _tell_if_fresh(self) -> None:
        if self._note.is_rebuilt:
            return
        if self._on_fresh is not None:
            await self._on_fresh()
        self._note = self._note.model_copy(update={"is_rebuilt": True})
        self._folder.write_note(self._note)

    async def _supervise(self) -> None:
        while True:
            since = asyncio.get_running_loop().time()
            why = await self._until_bad()
            self._is_serving.clear()
            log.warning("the embedded Temporal server %s; it is started again", why)
            if self._process is not None:
                await self._process.kill()
            is_quick = asyncio.get_running_loop().time() - since < _QUICK_DEATH_S
            self._deaths = self._deaths + 1 if is_quick else 0
            await self._clock.sleep(self._pause())
            while not await self._is_up_again():
                self._deaths += 1
                await self._clock.sleep(self._pause())
            await self._tell_again()

    def _pause(self) -> float:
        """Return the pause before the next start: none after a first death."""
        if self._deaths < 2:
            return 0.0
        return min(_PAUSE_S * float(2 ** min(self._deaths, 20)), _PAUSE_MAX_S)

    async def _is_up_again(self) -> bool:
        try:
            await self._bring_up()
        except (IncidentResponseError, OSError) as error:
            log.error("the embedded Temporal server cannot be started: %s", error)
            return False
        return True

    async def _until_bad(self) -> str:
        """Watch the process, its file and its answers; returns what is wrong with them."""
        process = self._process
        assert process is not None  # noqa: S101 - started before it is watched
        looks, well_at = 0, asyncio.get_running_loop().time()
        while True:
            try:
                async with asyncio.timeout(_WATCH_S):
                    return f"ended with status {await process.ended()}: {self._pump.tail}"
            except TimeoutError:
                looks += 1
            if self._folder.identity() != self._identity:
                return "lost its file, which was removed or replaced under it"
            if looks % _PROBE_EVERY:
                continue
            last = await self._complaint()
            now = asyncio.get_running_loop().time()
            if last is None:
                well_at = now
                await self._tell_again()
            elif now - well_at > _SICK_S:
                return f"has answered nothing else for {now - well_at:.0f} s than {last}"

    async def _complaint(self) -> str | None:
        assert self._client is not None  # noqa: S101 - connected before it is watched
        try:
            await probe(self._client)
        except RPCError as error:
            return str(error)[:200]
        return None

    async def _tell_again(self) -> None:
        try:
            await self._tell_if_fresh()
        except (IncidentResponseError, OSError) as error:
            log.error("open incidents are not rebuilt in the engine yet: %s", error)
