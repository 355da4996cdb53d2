"""Runs one command line on an open SSH connection: bounded in time and output, really stopped."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import asyncssh

from it_incident_response.executors.ssh_run import (
    Bounds,
    Ended,
    Ending,
    NotStarted,
    TerminalRefused,
)

_GRACE_S = 2.0
"""How long a command has to end after each of INT, TERM and KILL before its channel is closed."""
_INTERRUPT = b"\x03"
"""What a terminal turns into SIGINT for whatever runs in it, whoever it runs as."""
_QUIET_TERMINAL = {
    asyncssh.PTY_ECHO: 0,
    asyncssh.PTY_OPOST: 0,
    asyncssh.PTY_ISIG: 1,
    asyncssh.PTY_VINTR: _INTERRUPT[0],
}


class _Session(asyncssh.SSHClientSession[bytes]):
    """Collects a channel's events; keeps no more output than allowed."""

    def __init__(self, bounds: Bounds) -> None:
        self._room = {
            None: bounds.stdout_bytes,
            asyncssh.EXTENDED_DATA_STDERR: bounds.stdout_bytes // 8,
        }
        self._kept: dict[int | None, bytearray] = {None: bytearray(), 1: bytearray()}
        self.is_truncated = False
        self.overflowed = asyncio.Event()
        self.closed = asyncio.Event()
        self.exit_status: int | None = None
        self.signal: str | None = None
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.has_terminal = bounds.has_terminal

    def connection_made(self, chan: "asyncssh.SSHClientChannel[bytes]") -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        kept = self._kept[datatype]
        room = self._room[datatype] - len(kept)
        kept += data[: max(room, 0)]
        if len(data) > room:
            self.is_truncated = True
            self.overflowed.set()

    def exit_status_received(self, status: int) -> None:
        self.exit_status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    @property
    def stdout(self) -> bytes:
        return bytes(self._kept[None])

    @property
    def stderr(self) -> bytes:
        return bytes(self._kept[asyncssh.EXTENDED_DATA_STDERR])


async def run_command(
    connection: asyncssh.SSHClientConnection,
    line: str,
    bounds: Bounds,
    *,
    on_stop: Callable[[str], None],
) -> Ended:
    """Run one command line with empty standard input, or on a terminal where nothing is typed.

    Raises `NotStarted` only when the request to run it was certainly not carried out. Whenever it
    ends early (time limit, output limit, cancellation) the remote process group is sent TERM and
    then KILL by way of the channel, on a terminal INT before, and the channel is closed, by which
    a terminal hangs up. `on_stop` is told what a cancelled
    command did then, before the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    session = _Session(bounds)
    try:
        ending = await _follow(connection, line, session, bounds)
    except BaseException:
        await asyncio.shield(_stop_and_tell(session, on_stop))
        raise
    if ending not in (Ending.EXITED, Ending.SIGNALLED, Ending.CONNECTION_LOST):
        await asyncio.shield(_stop(session))
    return Ended(
        ending=ending,
        exit_status=session.exit_status,
        signal=session.signal,
        stdout=session.stdout,
        stderr=session.stderr,
        is_truncated=session.is_truncated,
        duration_s=loop.time() - begun,
    )


async def _follow(
    connection: asyncssh.SSHClientConnection, line: str, session: _Session, bounds: Bounds
) -> Ending:
    try:
        async with asyncio.timeout(bounds.seconds):
            early = await _start(connection, line, session)
            return early or await _wait(session, bounds)
    except TimeoutError:
        if session.channel is None:
            raise NotStarted(f"no channel was opened within {bounds.seconds:g} s") from None
        return Ending.TIME_LIMIT


async def _start(
    connection: asyncssh.SSHClientConnection, line: str, session: _Session
) -> Ending | None:
    """Ask for the command to be run; an ending if it is unknown whether it was."""
    try:
        channel, _ = await connection.create_session(
            lambda: session,
            line,
            encoding=None,
            request_pty="force" if session.has_terminal else False,
            term_type="dumb" if session.has_terminal else None,
            term_modes=_QUIET_TERMINAL if session.has_terminal else (),
        )
    except (asyncssh.Error, OSError) as error:
        is_refusal = isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed()
        if is_refusal and session.has_terminal and "PTY" in str(error):
            raise TerminalRefused(str(error)) from None
        if session.channel is None or is_refusal:
            raise NotStarted(str(error) or type(error).__name__) from None
        return Ending.CONNECTION_LOST
    if not session.has_terminal:
        channel.write_eof()
    return None


async def _wait(session: _Session, bounds: Bounds) -> Ending:
    waits = [asyncio.ensure_future(session.closed.wait())]
    if bounds.stops_at_output_limit:
        waits.append(asyncio.ensure_future(session.overflowed.wait()))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if bounds.stops_at_output_limit and session.is_truncated:
        return Ending.OUTPUT_LIMIT
    if session.signal is not None:
        return Ending.SIGNALLED
    return Ending.EXITED if session.exit_status is not None else Ending.CONNECTION_LOST


async def _stop_and_tell(session: _Session, on_stop: Callable[[str], None]) -> None:
    # Told twice: the second may come too late for a caller that is cancelled once more.
    on_stop("it was told to stop on the host, and nobody saw whether it did")
    await _stop(session)
    on_stop(_describe_stop(session))


def _describe_stop(session: _Session) -> str:
    if session.channel is None:
        return "nothing had been sent to the host yet"
    if session.signal is not None:
        return f"on the host it was ended by signal {session.signal}"
    if session.exit_status is not None:
        return f"on the host it ended with status {session.exit_status}"
    if session.has_terminal:
        return "on the host it did not end when told to, so its terminal there was hung up"
    return "on the host it did not end when told to, and may be going on"


async def _stop(session: _Session) -> None:
    """Signal the remote process group until the channel closes; close it in any case."""
    channel = session.channel
    if channel is None:
        return
    ways = [partial(channel.send_signal, signal) for signal in ("TERM", "KILL")]
    if session.has_terminal:
        ways.insert(0, partial(channel.write, _INTERRUPT))
    for tell in ways:
        if session.closed.is_set():
            return
        with suppress(OSError):
            tell()
            await _await_end(session)
    channel.abort()


async def _await_end(session: _Session) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            await session.closed.wait()
