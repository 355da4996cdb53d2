"""A stand-in for Splunk's management port, with state; no Splunk can run where this is developed.

Written from the published REST API reference (search endpoints, `auth/login`, `server/info`,
`authentication/current-context`): life cycle of jobs, oneshot, export, paging, control, errors 400,
401, 403, 404, 503. It refuses what the reference does not list: unknown parameters, wrong times,
results of a job that is not done, an id twice.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

from tests.splunk_language import Event, Refused, run

SEARCH_PARAMETERS = frozenset(
    ("search", "earliest_time", "latest_time", "id", "max_time", "max_count", "auto_cancel")
    + ("auto_finalize_ec", "auto_pause", "timeout", "output_mode", "segmentation", "rf")
    + ("namespace", "search_mode", "status_buckets", "now")
)
DISPATCH_PARAMETERS = SEARCH_PARAMETERS | {"exec_mode", "count", "offset", "adhoc_search_level"}
EXPORT_PARAMETERS = SEARCH_PARAMETERS | {"preview"}
RESULT_PARAMETERS = frozenset(["count", "offset", "output_mode", "segmentation", "f", "field_list"])
ROWS_MAX = 50_000
"""`maxresultrows` of limits.conf."""


@dataclass
class Job:
    """One search job."""

    sid: str
    rows: list[Event]
    polls_left: int = 0
    failure: str | None = None
    is_finalized: bool = False
    state: str = "QUEUED"


@dataclass
class Splunk:
    """What the server knows, and how it is to misbehave."""

    events: list[Event] = field(default_factory=list)
    username: str = "admin"
    password: str = "changeme!"
    token: str = "tok-123456"
    version: str = "9.3.1"
    has_search_right: bool = True
    polls: int = 0
    """How often a job is still running when it is asked about."""
    busy: int = 0
    """So many dispatches are refused with 503."""
    failure: str | None = None
    """Jobs fail with this message."""
    warning: str | None = None
    finalizes: bool = False
    hangs: bool = False
    """Oneshot and export send nothing until their search is cancelled."""
    jobs: dict[str, Job] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)

    def expire_sessions(self) -> None:
        self.sessions.clear()

    def find(self, form: dict[str, str]) -> list[Event]:
        """Run a search; raises `Refused`."""
        text = form.get("search", "")
        self.searches.append(text)
        start, end = _moment(form, "earliest_time", 0.0), _moment(form, "latest_time", 1e12)
        if start > end:
            raise Refused("Invalid earliest_time: it is after latest_time")
        wanted = [e for e in self.events if start <= float(str(e["_time"])) < end]
        return run(text, wanted)

    def wait_cancelled(self, sid: str | None, limit_s: float = 5.0) -> bool:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if sid in self.cancelled if sid else self.cancelled:
                return True
            self.released.wait(0.02)
        return False


def _moment(form: dict[str, str], name: str, default: float) -> float:
    if name not in form:
        return default
    try:
        return float(form[name])
    except ValueError:
        raise Refused(f"Invalid {name}.") from None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: "Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET", {})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length).decode()
        self._answer(
            "POST", dict(parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body)))
        )

    def _answer(self, method: str, form: dict[str, str]) -> None:
        parts = urlsplit(self.path)
        splunk = self.server.splunk
        splunk.requests.append(f"{method} {parts.path}")
        path = parts.path.removeprefix(self.server.prefix).rstrip("/")
        path = re.sub(r"^/servicesNS/[^/]+/[^/]+", "/services", path)
        query = dict(parse_qsl(parts.query)) | form
        try:
            self._route(method, path, query)
        except Refused as refusal:
            self._error(400, f"{refusal}", "FATAL")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, method: str, path: str, form: dict[str, str]) -> None:
        splunk = self.server.splunk
        if path == "/services/auth/login" and method == "POST":
            return self._login(form)
        if path == "/services/server/info":
            return self._xml(200, _feed("server-info", _info(splunk)))
        if not self._is_known():
            return self._error(401, "call not properly authenticated", "WARN")
        if path == "/services/authentication/current-context":
            return self._json(200, {"entry": [{"content": {"username": splunk.username}}]})
        if not path.startswith(("/services/search/jobs", "/services/search/v2/jobs")):
            return self._error(404, "Not Found", "ERROR")
        if not splunk.has_search_right:
            return self._error(403, "insufficient permission to access this resource", "ERROR")
        rest = [part for part in path.split("/jobs", 1)[1].split("/") if part]
        if not rest:
            return self._dispatch(form)
        if rest == ["export"]:
            return self._export(form)
        return self._job(method, rest, form)

    def _login(self, form: dict[str, str]) -> None:
        splunk = self.server.splunk
        if (form.get("username"), form.get("password")) != (splunk.username, splunk.password):
            return self._error(401, "Login failed", "WARN")
        session = f"session{len(splunk.requests)}"
        splunk.sessions.add(session)
        text = f"<response><sessionKey>{session}</sessionKey></response>"
        cookie = {"Set-Cookie": f"splunkd_8089={session}"} if form.get("cookie") == "1" else {}
        self._reply(200, "text/xml", text.encode(), cookie)

    def _is_known(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        splunk = self.server.splunk
        cookie = self.headers.get("Cookie", "").removeprefix("splunkd_8089=")
        return (
            cookie in splunk.sessions
            or (kind == "Splunk" and value in splunk.sessions)
            or (kind == "Bearer" and value == splunk.token)
        )

    def _checked(self, form: dict[str, str], allowed: frozenset[str]) -> None:
        unknown = sorted(form.keys() - allowed)
        if unknown:
            raise Refused(f"Argument {unknown[0]!r} is not supported by this handler.")
        if form.get("output_mode", "json") != "json":
            raise Refused("only JSON is asked for here")
        if form.get("id") in self.server.splunk.jobs:
            raise Refused("The search id is in use")

    def _is_busy(self) -> bool:
        splunk = self.server.splunk
        if splunk.busy <= 0:
            return False
        splunk.busy -= 1
        self._error(
            503,
            "Search not executed: The maximum number of concurrent historical searches on this "
            "instance has been reached.",
            "ERROR",
        )
        return True

    def _dispatch(self, form: dict[str, str]) -> None:
        splunk = self.server.splunk
        self._checked(form, DISPATCH_PARAMETERS)
        if self._is_busy():
            return None
        rows = splunk.find(form)
        if form.get("exec_mode") == "oneshot":
            if splunk.hangs:
                splunk.wait_cancelled(form["id"])
            count = int(form.get("count", "100")) or ROWS_MAX
            return self._json(200, _page(rows[: min(count, ROWS_MAX)], splunk))
        job = Job(form["id"], rows[:ROWS_MAX], splunk.polls, splunk.failure, splunk.finalizes)
        splunk.jobs[job.sid] = job
        return self._json(201, {"sid": job.sid})

    def _export(self, form: dict[str, str]) -> None:
        splunk = self.server.splunk
        self._checked(form, EXPORT_PARAMETERS)
        if self._is_busy():
            return
        rows = splunk.find(form)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for offset, row in enumerate(rows):
            if splunk.hangs and offset == 10:
                self.wfile.flush()
                splunk.wait_cancelled(form["id"])
                return
            frame = {"preview": False, "offset": offset, "result": _shown(row)}
            self.wfile.write(json.dumps(frame).encode() + b"\n")
        last: dict[str, Any] = {"preview": False, "lastrow": True, "messages": _messages(splunk)}
        self.wfile.write(json.dumps(last).encode() + b"\n")

    def _job(self, method: str, rest: list[str], form: dict[str, str]) -> None:
        splunk = self.server.splunk
        sid = rest[0]
        if rest[1:] == ["control"] and method == "POST":
            splunk.cancelled.append(sid)  # also of a oneshot search, which is no job to look at
        job = splunk.jobs.get(sid)
        if job is None:
            return self._error(404, "Unknown sid.", "FATAL")
        if rest[1:] == ["control"]:
            if form != {"action": "cancel"}:
                raise Refused("unknown action")
            del splunk.jobs[sid]
            return self._json(
                200, {"messages": [{"type": "INFO", "text": "Search job cancelled."}]}
            )
        if rest[1:] == ["results"]:
            self._checked(form, RESULT_PARAMETERS)
            if job.state != "DONE":
                return self._reply(204, "application/json", b"")
            start, count = int(form.get("offset", "0")), int(form.get("count", "100"))
            return self._json(200, _page(job.rows[start : start + (count or ROWS_MAX)], splunk))
        if len(rest) > 1 or method != "GET":
            return self._error(404, "Not Found", "ERROR")
        return self._state(job)

    def _state(self, job: Job) -> None:
        if job.state == "QUEUED":
            job.state = "RUNNING"
            return self._reply(204, "text/xml", b"")
        if job.polls_left > 0 or job.state == "RUNNING" and self.server.splunk.hangs:
            job.polls_left -= 1
        else:
            job.state = "FAILED" if job.failure else "DONE"
        return self._xml(200, _entry(job.sid, _job_content(job)))

    def _error(self, status: int, text: str, kind: str) -> None:
        if "json" in self.headers.get("Accept", "") or self.server.splunk.version.startswith("8"):
            self._json(status, {"messages": [{"type": kind, "text": text}]})
        else:
            body = f'<msg type="{kind}">{escape(text)}</msg>'
            self._xml(status, f"<response><messages>{body}</messages></response>")

    def _json(self, status: int, content: object) -> None:
        self._reply(status, "application/json; charset=UTF-8", json.dumps(content).encode())

    def _xml(self, status: int, text: str) -> None:
        self._reply(status, "text/xml; charset=UTF-8", text.encode())

    def _reply(
        self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _messages(splunk: Splunk) -> list[dict[str, str]]:
    found = [{"type": "WARN", "text": splunk.warning}] if splunk.warning else []
    return [*found, {"type": "INFO", "text": "Your timerange was substituted"}] if found else found


def _page(rows: list[Event], splunk: Splunk) -> dict[str, Any]:
    return {
        "preview": False,
        "init_offset": 0,
        "messages": _messages(splunk),
        "fields": [],
        "results": [_shown(row) for row in rows],
        "highlighted": {},
    }


def _shown(row: Event) -> dict[str, object]:
    """Values are strings or lists of them; `_time` is written for people."""
    shown: dict[str, object] = {
        name: value if isinstance(value, list) else str(value) for name, value in row.items()
    }
    if "_time" in row:
        moment = time.gmtime(float(str(row["_time"])))
        shown["_time"] = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", moment)
    return shown


def _info(splunk: Splunk) -> str:
    return (
        f'<s:key name="version">{splunk.version}</s:key><s:key name="serverName">sh1</s:key>'
        '<s:key name="product_type">enterprise</s:key>'
    )


def _job_content(job: Job) -> str:
    is_done = job.state in ("DONE", "FAILED")
    text = f"<s:list><s:item>{escape(job.failure)}</s:item></s:list>" if job.failure else ""
    fatal = f'<s:dict><s:key name="fatal">{text}</s:key></s:dict>' if text else "<s:dict/>"
    return (
        '<s:key name="eai:acl"><s:dict><s:key name="app">search</s:key>'
        '<s:key name="owner">admin</s:key><s:key name="sharing">global</s:key></s:dict></s:key>'
        f'<s:key name="sid">{job.sid}</s:key><s:key name="dispatchState">{job.state}</s:key>'
        f'<s:key name="isDone">{int(is_done)}</s:key>'
        f'<s:key name="isFailed">{int(job.state == "FAILED")}</s:key>'
        f'<s:key name="isFinalized">{int(job.is_finalized)}</s:key>'
        f'<s:key name="resultCount">{len(job.rows)}</s:key><s:key name="messages">{fatal}</s:key>'
    )


_SPACES = 'xmlns="http://www.w3.org/2005/Atom" xmlns:s="http://dev.splunk.com/ns/rest"'


def _entry(title: str, keys: str) -> str:
    return (
        f"<entry {_SPACES}><title>{escape(title)}</title><updated>2026-11-24T00:00:00Z</updated>"
        f'<link href="/services/x" rel="alternate"/>'
        f'<content type="text/xml"><s:dict>{keys}</s:dict></content></entry>'
    )


def _feed(title: str, keys: str) -> str:
    entry = _entry(title, keys).replace(f" {_SPACES}", "", 1)
    return f"<feed {_SPACES}><title>{title}</title>{entry}</feed>"


class Server(ThreadingHTTPServer):
    """The server around the state."""

    daemon_threads = True
    splunk: Splunk
    prefix: str = ""

    def handle_error(self, *_: object) -> None:
        """A client that leaves, or trusts no certificate, is no error of ours."""


@contextmanager
def serving(
    splunk: Splunk, *, prefix: str = "", certificate: tuple[Path, Path] | None = None
) -> Iterator[str]:
    """Serve until left; yields the URL."""
    server = Server(("127.0.0.1", 0), Handler)
    server.splunk, server.prefix = splunk, prefix
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}{prefix}"
    finally:
        splunk.released.set()
        server.shutdown()
        server.server_close()
