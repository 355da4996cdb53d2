"""Group commit: bodies that arrive together are stored in one transaction, then all answered.

A durable transaction costs a disk flush. One for each request would bound the rate by the disk;
one for all that wait keeps the promise (acknowledged means stored) at many times that rate.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

from it_incident_response.errors import StoreUnavailable
from it_incident_response.ports.clock import Clock
from it_incident_response.ports.store import Inbox

_log = logging.getLogger(__name__)

BATCH_ITEMS_MAX = 500
BATCH_BYTES_MAX = 16_000_000
"""A batch grows while the one before is written: these bound how long one transaction takes."""


PRESSED_IN_FLIGHT = 2
"""One sender that waits for each answer is no pressure."""


class Overloaded(StoreUnavailable):
    """More bodies wait than may be held in memory; the sender has to try again."""


class _Waiting(NamedTuple):
    source: str
    body: bytes
    stored: "asyncio.Future[None]"


class Reservation:
    """Bytes of one request that count against the intake's memory."""

    def __init__(self, intake: "Intake") -> None:
        self._intake = intake
        self._bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count more bytes; raises `Overloaded` if they are too many."""
        if self._intake.held_bytes + size_bytes > self._intake.held_bytes_max:
            raise Overloaded("the receiver holds as many unstored bytes as it may")
        self._bytes += size_bytes
        self._intake.held_bytes += size_bytes

    def release(self) -> None:
        """Give all bytes back."""
        self._intake.held_bytes -= self._bytes
        self._bytes = 0


class Intake:
    """Stores bodies durably, many at a time. Use as `async with Intake(...) as intake`.

    Leaving the block refuses new bodies, stores those that wait, and ends.
    """

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        *,
        held_bytes_max: int = 200_000_000,
        stored_within_s: float = 20.0,
        on_stored: Callable[[], None] | None = None,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._stored_within_s = stored_within_s
        self._on_stored = on_stored
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None
        self.held_bytes = 0
        """Bytes of requests being read, checked or stored."""
        self.held_bytes_max = held_bytes_max
        self.in_flight = 0
        """Requests being read, checked or stored."""
        self.batches = 0
        """Transactions made so far."""

    def is_pressed(self) -> bool:
        """Return whether several requests wait for their answer."""
        return self.in_flight >= PRESSED_IN_FLIGHT

    @property
    def inbox(self) -> Inbox:
        """Where bodies go."""
        return self._inbox

    @property
    def clock(self) -> Clock:
        """What says when a body was received."""
        return self._clock

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._drain(), name="intake")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._is_closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """Count a request's bytes for as long as the block lasts."""
        reservation = Reservation(self)
        self.in_flight += 1
        try:
            yield reservation
        finally:
            self.in_flight -= 1
            reservation.release()

    async def accept(self, source: str, body: bytes) -> None:
        """Return when the body is durably stored.

        Raises `StoreUnavailable` if it is not, or not known to be: the sender must send it again.
        """
        if self._is_closing or self._task is None or self._task.done():
            raise StoreUnavailable("the receiver is shutting down")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(source, body, stored))
        self._arrived.set()
        try:
            async with asyncio.timeout(self._stored_within_s):
                await stored
        except TimeoutError:
            raise StoreUnavailable(
                f"the database did not answer within {self._stored_within_s:g} s"
            ) from None

    async def _drain(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._store(self._next_batch())
            if self._is_closing:
                return

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size_bytes = 0
        while self._queue and len(batch) < BATCH_ITEMS_MAX and size_bytes < BATCH_BYTES_MAX:
            waiting = self._queue.popleft()
            if not waiting.stored.done():  # Nobody waits any more for one that is.
                batch.append(waiting)
                size_bytes += len(waiting.body)
        return batch

    async def _store(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            items = [(waiting.source, waiting.body) for waiting in batch]
            await self._inbox.accept(items, self._clock.now())
        except StoreUnavailable as error:
            self._answer(batch, error)
        except Exception as error:  # noqa: BLE001 - boundary: a server request; none is lost silently
            if len(batch) > 1:
                # One body that the database refuses must not take its neighbours with it.
                for waiting in batch:
                    await self._store([waiting])
                return
            _log.error("a body could not be stored: %s", type(error).__name__)
            self._answer(batch, StoreUnavailable("the body could not be stored"))
        else:
            self.batches += 1
            self._answer(batch, None)
            if self._on_stored is not None:
                self._on_stored()

    @staticmethod
    def _answer(batch: list[_Waiting], error: StoreUnavailable | None) -> None:
        for waiting in batch:
            if waiting.stored.done():
                continue
            if error is None:
                waiting.stored.set_result(None)
            else:
                waiting.stored.set_exception(error)
