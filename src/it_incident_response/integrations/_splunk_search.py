"""Runs searches with Splunk's SDK in threads: oneshot, job or export, cancelled when given up."""

import asyncio
import contextlib
import math
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import orjson

from it_incident_response.domain.ids import new_id
from it_incident_response.errors import (
    ConfigError,
    ConnectorError,
    ConnectorRejected,
    ConnectorReplyInvalid,
    ConnectorUnavailable,
)
from it_incident_response.integrations._replies import HttpReply
from it_incident_response.integrations._splunk_answers import (
    exported,
    flag,
    job_messages,
    said,
    streamed,
    whole,
)
from it_incident_response.integrations._splunk_rows import Row, Rows
from it_incident_response.integrations._splunk_settings import NAME, SplunkSettings
from it_incident_response.integrations._splunk_transport import Budget, Transport
from it_incident_response.ports.registry import Surroundings

if TYPE_CHECKING:
    from splunklib.binding import HTTPError
    from splunklib.client import Job, Service

ONESHOT_ROWS_MAX = 1_000
"""Rows that are fetched with the search itself, in one request."""
JOB_ROWS_MAX = 50_000
"""Rows that are fetched page by page; more are streamed."""
THREADS = 8
POLL_S = 0.05
POLL_MAX_S = 1.0
CANCEL_S = 5.0
CANCEL_JOIN_S = 1.0
"""How long a caller that has its answer, or its error, waits for the cancellation."""
RETRY_PAUSE_S = 0.3
RETRY_AFTER_MAX_S = 10.0
KEPT_S = 60
"""How long Splunk keeps the results of a job that we could not cancel."""

T = TypeVar("T")


class Mode(StrEnum):
    """How results are fetched."""

    ONESHOT = "oneshot"
    JOB = "job"
    EXPORT = "export"


@dataclass
class Search:
    """One search in Splunk's language, and what becomes of it."""

    text: str
    rows_max: int
    """Most rows to read; 0: as many as Splunk gives at once."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    mode: Mode | None = None
    """None: what fits the number of rows."""
    sid: str = ""
    """The id that we gave it, so that it can be cancelled before Splunk has answered."""

    @property
    def chosen_mode(self) -> Mode:
        """How its results are fetched."""
        if self.mode is not None:
            return self.mode
        if self.rows_max <= ONESHOT_ROWS_MAX:
            return Mode.ONESHOT
        return Mode.JOB if self.rows_max <= JOB_ROWS_MAX else Mode.EXPORT


class SearchRunner:
    """Runs searches against one Splunk; usable from any event loop and thread."""

    def __init__(self, settings: SplunkSettings, surroundings: Surroundings) -> None:
        _require_sdk()
        self._settings = settings
        self._clock = surroundings.clock
        self._transport = Transport(settings, surroundings)
        self._scrub = self._transport.replies.scrub
        self._service: Service | None = None
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, search: Search) -> Rows:
        """Return the results; cancelled, the search is cancelled at the server too.

        Raises `ConnectorError`; after `search_timeout_s` `ConnectorUnavailable`.
        """
        budget = Budget(self._settings.search_timeout_s)
        return await self._beside(lambda: self.run_here(search, budget), search, budget)

    async def call(self, work: Callable[["Service"], T]) -> T:
        """Return what `work` makes of the SDK's service, within one answer's time."""
        budget = Budget(self._settings.timeout_s)

        def here() -> T:
            with self._translated():
                self._transport.within(budget)
                return work(self._opened())

        return await self._beside(here, None, budget)

    def run_here(self, search: Search, budget: Budget | None = None) -> Rows:
        """Like `run`, in this thread."""
        budget = budget or Budget(self._settings.search_timeout_s)
        self._transport.within(budget)
        for attempt in range(self._settings.attempts):
            try:
                return self._attempt(search, budget)
            except ConnectorUnavailable as error:
                pause = _pause_s(error, attempt)
                is_last = attempt + 1 == self._settings.attempts
                if is_last or pause is None or pause >= budget.left_s:
                    raise
                budget.pause(pause)
        raise AssertionError("there is at least one attempt")  # pragma: no cover

    def close(self) -> None:
        """Close the connections; searches that run are given up."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        self._transport.close()

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="iir-splunk")
            return self._threads

    async def _beside(self, work: Callable[[], T], search: Search | None, budget: Budget) -> T:
        task = asyncio.get_running_loop().run_in_executor(self._pool(), work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            budget.abandon()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            if search is not None and search.sid:
                # In a thread of its own: those of the pool may all wait for answers.
                threading.Thread(target=self._cancel, args=(search.sid,), daemon=True).start()
            raise

    def _attempt(self, search: Search, budget: Budget) -> Rows:
        search.sid = self._new_sid()
        needs_cancel = True
        try:
            with self._translated():
                rows = self._by_mode(search, budget)
            # Also of a job that is done: its results would lie there until they expire.
            needs_cancel = rows.is_cut or search.chosen_mode is Mode.JOB
            return rows
        finally:
            if needs_cancel:
                self._cancel_soon(search.sid)

    def stream_here(self, search: Search) -> Iterator[Row]:
        """Yield the results of an export as they come, in this thread; raises `ConnectorError`.

        The whole export may take `search_timeout_s`. Left early, it is cancelled at the server.
        """
        budget = Budget(self._settings.search_timeout_s)
        self._transport.within(budget)
        search.sid, is_done = self._new_sid(), False
        try:
            with self._translated():
                service = self._opened()
                arguments = self._arguments(search, budget)
                stream = service.jobs.export(search.text, preview="false", **arguments)
                yield from exported(stream, search.rows_max, self._scrub)
            is_done = True
        finally:
            if not is_done:
                self._cancel_soon(search.sid)

    def _new_sid(self) -> str:
        return f"iir_{new_id(self._clock.now())}"

    def _cancel_soon(self, sid: str) -> None:
        """Cancel in another thread, and wait a moment for it: whoever waits for us goes on."""
        thread = threading.Thread(target=self._cancel, args=(sid,), daemon=True)
        thread.start()
        thread.join(CANCEL_JOIN_S)

    def _by_mode(self, search: Search, budget: Budget) -> Rows:
        service, arguments = self._opened(), self._arguments(search, budget)
        if search.chosen_mode is Mode.EXPORT:
            stream = service.jobs.export(search.text, preview="false", **arguments)
            return streamed(stream, search.rows_max, self._scrub)
        if search.chosen_mode is Mode.ONESHOT:
            body = service.jobs.oneshot(search.text, count=search.rows_max, **arguments)
            found = whole(body.read(), self._scrub)
            found.is_cut = not search.rows_max and len(found.rows) >= JOB_ROWS_MAX
            return found
        job = service.jobs.create(search.text, timeout=KEPT_S, exec_mode="normal", **arguments)
        if not isinstance(job.sid, str) or not job.sid:
            raise ConnectorReplyInvalid(NAME, "the answer to a new search names no search id")
        search.sid = job.sid
        return self._fetched(job, search, budget)

    def _arguments(self, search: Search, budget: Budget) -> dict[str, Any]:
        """Return the arguments of every search: it ends by itself even if we are gone."""
        return {
            **search.arguments,
            "id": search.sid,
            "max_time": math.ceil(budget.left_s),
            "auto_cancel": math.ceil(budget.left_s) + KEPT_S,
            "output_mode": "json",
        }

    def _fetched(self, job: "Job", search: Search, budget: Budget) -> Rows:
        wait_s = POLL_S
        while not job.is_done():
            budget.check()
            budget.pause(wait_s)
            wait_s = min(POLL_MAX_S, wait_s * 1.5)
        found = Rows(messages=job_messages(job))
        if flag(job, "isFailed"):
            reasons = "; ".join(found.troubles) or "without a reason"
            raise ConnectorRejected(NAME, self._scrub(f"search failed: {reasons}"))
        if flag(job, "isFinalized"):
            found.messages.append(("WARN", "the search was finalized before its end"))
            found.is_cut = True
        limit = search.rows_max or JOB_ROWS_MAX
        while len(found.rows) < limit:
            page = min(self._settings.page_size, limit - len(found.rows))
            before = len(found.rows)
            body = job.results(output_mode="json", count=page, offset=before)
            found.take(body.read())
            if len(found.rows) - before < page:
                break
        return found

    def _cancel(self, sid: str) -> None:
        """Cancel a search at the server; what fails here is over there by itself (`max_time`)."""
        from splunklib.client import Job

        self._transport.within(Budget(CANCEL_S))
        with contextlib.suppress(ConnectorError), self._translated():
            Job(self._opened(), sid).cancel()

    def _opened(self) -> "Service":
        from splunklib.client import Service

        with self._lock:
            if self._service is None:
                settings = self._settings
                parts = urlsplit(settings.url)
                token, password = settings.bearer_token, settings.password
                self._service = Service(
                    handler=self._transport,
                    # The transport puts the real address in front; the SDK only needs one.
                    host=parts.hostname or "splunk",
                    port=parts.port or 8089,
                    scheme=parts.scheme,
                    username=settings.username or "",
                    password=password.get_secret_value() if password else "",
                    splunkToken=token.get_secret_value() if token else "",
                    autologin=True,
                )
            return self._service

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from splunklib.binding import HTTPError

        try:
            yield
        except HTTPError as error:
            self._refuse(error)
        except (ParseError, ValueError, LookupError, AttributeError, TypeError) as error:
            # The SDK takes answers apart without looking: whatever that raises, the answer is why.
            what = self._scrub(f"{type(error).__name__}: {error}")
            raise ConnectorReplyInvalid(
                NAME,
                f"an answer is not as documented ({what})",
                hint="is the URL that of Splunk's management port (8089)?",
            ) from None

    def _refuse(self, error: "HTTPError") -> None:
        """Raise the `ConnectorError` that an HTTP status from 400 means."""
        words = said(error)
        body = orjson.dumps({"message": words}) if words else error.body
        headers = {name.lower(): value for name, value in error.headers}
        reply = HttpReply(self._transport.asked, error.status, headers, body)
        try:
            self._transport.replies.json(reply, self._clock.now())
        except ConnectorRejected as refused:
            if refused.status == 401:
                refused.hint = (
                    "set basic_auth, or api_key to a Splunk authentication token; both expire"
                )
            raise refused from None


def _require_sdk() -> None:
    try:
        import splunklib.client
        import splunklib.results  # noqa: F401 - proves that both are there
    except ImportError as error:
        raise ConfigError(
            "splunk: the package splunk-sdk is not installed",
            hint="pip install 'it-incident-response[splunk]'",
        ) from error


def _pause_s(error: ConnectorUnavailable, attempt: int) -> float | None:
    """Return how long to wait before the next attempt; None: it is not worth one."""
    asked = error.retry_after_s
    if asked is not None and asked > RETRY_AFTER_MAX_S:
        return None
    backoff: float = random.uniform(0.5, 1.0) * RETRY_PAUSE_S * 2**attempt  # noqa: S311 - spreads clients
    return backoff if asked is None else asked + backoff
