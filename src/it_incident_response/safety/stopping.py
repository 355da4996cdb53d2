"""What a cancellation must not cut off in the middle, and how a running attempt is ended."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Result = TypeVar("Result")

STOP_S = 15.0
"""How long an executor has to stop what it began: the SSH executor needs 4 s for TERM and KILL."""
WRITE_S = 20.0
"""How long the cancelled writer of a journal row may take to write it."""


async def unbroken(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns; a cancellation goes on only when it has ended, or takes too long.

    For what belongs together, such as an action's end and its row.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _outwait(task, WRITE_S)
        raise


async def outlast(work: Coroutine[Any, Any, None], limit_s: float = WRITE_S) -> None:
    """Carry `work` to its end, however often the caller is cancelled meanwhile.

    For a caller on its way out, which raises what it was given afterwards: a failure is logged.
    """
    await _outwait(asyncio.ensure_future(work), limit_s)


async def end_attempt(attempt: "asyncio.Future[Any]", limit_s: float = STOP_S) -> None:
    """Cancel an attempt and wait until it has ended, at most `limit_s`."""
    attempt.cancel()
    await asyncio.wait({attempt}, timeout=limit_s)
    if not attempt.done():
        log.warning("an action could not be stopped within %g s", limit_s)
        attempt.add_done_callback(_consumed)


async def _outwait(task: "asyncio.Future[Any]", limit_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    while not task.done() and (left := deadline - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError:
            continue  # the caller raises the first one when this has ended
    if not task.done():
        log.warning("gave up what had to be written before stopping, after %g s", limit_s)
        task.cancel()
        task.add_done_callback(_consumed)
    elif not task.cancelled() and (error := task.exception()) is not None:
        log.warning("could not be ended in good order: %s", error)


def _consumed(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()
