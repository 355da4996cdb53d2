"""Reads stack traces of Java, Python, Go, JavaScript, .NET and Ruby out of log text."""

import re
from collections.abc import Sequence
from typing import NamedTuple

LIBRARY_PREFIXES: tuple[str, ...] = (
    # Java and other languages of its machine
    "java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "kotlin.", "scala.", "groovy.",
    "org.apache.", "org.springframework.", "org.hibernate.", "org.eclipse.", "org.jboss.",
    "io.netty.", "io.grpc.", "io.micrometer.", "io.opentelemetry.", "reactor.", "rx.",
    "com.google.", "com.fasterxml.", "com.zaxxer.", "okhttp3.", "ch.qos.logback.", "org.slf4j.",
    "org.postgresql.", "com.mysql.", "redis.clients.", "io.lettuce.", "org.junit.",
    # .NET
    "System.", "Microsoft.", "Npgsql.", "Newtonsoft.", "MongoDB.", "StackExchange.", "Grpc.",
    # Go
    "runtime.", "runtime/", "net/", "net.", "sync.", "syscall.", "database/sql.", "reflect.",
    "testing.", "internal/", "panic(", "google.golang.org/", "golang.org/",
)  # fmt: skip
"""Beginnings of names of functions that are a library's, not ours."""
LIBRARY_PATHS: tuple[str, ...] = (
    "/site-packages/", "/dist-packages/", "/lib/python", "<frozen ", "/node_modules/",
    "node:", "internal/", "/gems/", "/lib/ruby/", "/usr/local/go/", "/go/pkg/mod/", "/vendor/",
)  # fmt: skip
"""Parts of file names that are a library's."""
TRACE_LINES_MAX = 1_000
"""Lines of a trace that are looked at; of a longer one, the first and the last."""
_NAME_LENGTH_MAX = 200

_TYPE = r"[A-Za-z_][\w$]*(?:(?:\.|::)[A-Za-z_][\w$]*)*"
_NAMED = re.compile(
    r"(?<![\w.])(?P<type>(?:[A-Za-z_][\w$]*(?:\.|::))*[A-Z][\w$]*"
    r"(?:Exception|Error|Throwable|Fault|Timeout))(?=[:\s(]|$)"
)
"""The name of an exception anywhere in a line."""
_CAUSE = re.compile(rf"^\s*(?:Caused by:|--->|\[cause\]:) ?(?P<type>{_TYPE})")
_AT = re.compile(r"^\s+at (?:async |new )?(?P<rest>.{1,600})$")
_AT_JAVA = re.compile(
    r"(?:[\w.-]+(?:@[\w.-]+)?/)*(?P<call>[\w.$<>/-]+)"
    r"\((?P<file>[^():]{1,200}(?::\d+)?|Native Method|Unknown Source)\)"
)
_AT_NODE = re.compile(r"(?:(?P<call>[^(]{1,200}) \()?(?P<file>[^()\s]{1,300}:\d+:\d+)\)?")
_AT_DOTNET = re.compile(r"(?P<call>[\w.`<>+\[\],|]+)\([^)]{0,400}\)(?: in (?P<file>.{1,300}))?")
_END_OF_INNER = "--- End of inner exception"
_PYTHON = re.compile(
    r'^\s+File "(?P<file>[^"]{1,400})", line (?P<line>\d+)(?:, in (?P<call>.{1,200}))?$'
)
_PYTHON_START = "Traceback (most recent call last):"
_PYTHON_END = re.compile(rf"^(?P<type>{_TYPE})(?:: |:?$)")
_PYTHON_CAUSED = "direct cause of the following exception"
_GO_PANIC = re.compile(r"(?:panic|fatal error): .{0,400}")
_GO_ROUTINE = re.compile(r"^goroutine \d+ ")
_GO_CALL = re.compile(r"^(?P<call>[\w.\-/~()*\[\]]+)\([^()]{0,400}\)$")
_GO_FILE = re.compile(r"^\s+(?P<file>\S{1,300}\.(?:go|s):\d+)(?: \+0x[0-9a-f]+)?$")
_RUBY = re.compile(
    r"^\s*(?:from )?(?P<file>[^\s:]{1,300}\.(?:rb|erb|rake):\d+)"
    r"(?::in [`'](?P<call>[^`']{1,200})')?"
)
_RUBY_TYPE = re.compile(r"\((?P<type>(?:[A-Z]\w*::)*[A-Z]\w*)\)\s*$")
_RAILS_TYPE = re.compile(r"^(?P<type>(?:[A-Z]\w*::)*[A-Z]\w*) \(")


class Trace(NamedTuple):
    """What a stack trace tells."""

    exception: str
    """Type of the first cause: `java.net.SocketException`, `ValueError`, `panic`."""
    frame: str | None
    """Deepest frame in code that is not a library's, as `function (file)`."""
    head: str
    """The line that names the exception."""


class Libraries(NamedTuple):
    """What is not ours."""

    prefixes: tuple[str, ...] = LIBRARY_PREFIXES
    paths: tuple[str, ...] = LIBRARY_PATHS

    def own(self, frame: "_Frame") -> bool:
        """Return whether a frame is in code of ours."""
        if frame.call.startswith(self.prefixes):
            return False
        return not any(path in frame.file for path in self.paths)


class _Frame(NamedTuple):
    call: str
    file: str

    def __str__(self) -> str:
        name = f"{self.call} ({self.file})" if self.call and self.file else self.call or self.file
        return name[:_NAME_LENGTH_MAX]


class _Part(NamedTuple):
    """One exception of a chain; its frames, the deepest first."""

    type: str
    head: str
    frames: list[_Frame]


def read_trace(lines: Sequence[str], libraries: Libraries | None = None) -> Trace | None:
    """Return what a stack trace among the lines tells; None if there is none."""
    kept = lines
    if len(lines) > TRACE_LINES_MAX:
        kept = [*lines[: TRACE_LINES_MAX // 2], *lines[-TRACE_LINES_MAX // 2 :]]
    for read in (_python, _go, _at, _ruby):
        parts = read(kept)
        if parts:
            return _told(parts, libraries or Libraries())
    return None


def is_frame(line: str) -> bool:
    """Return whether a line can only be inside of a stack trace."""
    shapes = (_AT, _PYTHON, _CAUSE, _GO_FILE)
    return any(shape.match(line) for shape in shapes) or line.startswith("\tfrom ")


def is_start(line: str) -> bool:
    """Return whether a stack trace begins here: the line names an exception and nothing before."""
    return bool(_NAMED.match(line)) or line.startswith(
        (_PYTHON_START, "Exception in thread ", "panic: ")
    )


def is_python_end(line: str) -> bool:
    """Return whether this can be the last line of a Python traceback: `module.Error: why`."""
    return _PYTHON_END.match(line) is not None


def _told(parts: list[_Part], libraries: Libraries) -> Trace:
    """The first cause comes first in `parts`."""
    own = (frame for part in parts for frame in part.frames if libraries.own(frame))
    frame = next(own, None)
    return Trace(parts[0].type[:_NAME_LENGTH_MAX], str(frame) if frame else None, parts[0].head)


def _at(lines: Sequence[str]) -> list[_Part]:
    """Java, JavaScript and .NET: `at` and a frame, the deepest first; causes after their effect."""
    parts: list[_Part] = []
    head = ""
    inner: _Part | None = None
    for line in lines:
        cause = _CAUSE.match(line)
        if _END_OF_INNER in line:
            inner = parts[0] if parts else None
        elif cause:
            if not parts:
                parts.append(_Part(_type_in(head), head, []))
            parts.append(_Part(cause["type"], line.strip(), []))
            inner = parts[-1]
        elif frame := _at_frame(line):
            if not parts:
                parts.append(_Part(_type_in(head), head, []))
            (inner or parts[-1]).frames.append(frame)
        elif not parts and (line.strip() and (not head or _NAMED.search(line))):
            head = line.strip()
    return [part for part in reversed(parts) if part.type]


def _at_frame(line: str) -> _Frame | None:
    found = _AT.match(line)
    if not found:
        return None
    for shape in (_AT_JAVA, _AT_NODE, _AT_DOTNET):
        if frame := shape.fullmatch(found["rest"]):
            return _Frame(frame["call"] or "", frame["file"] or "")
    return None


def _type_in(head: str) -> str:
    found = _NAMED.search(head)
    return found["type"] if found else ""


def _python(lines: Sequence[str]) -> list[_Part]:
    """Frames come deepest last; an exception is named after its frames, its cause before it."""
    parts: list[_Part] = []
    frames: list[_Frame] | None = None
    is_caused = True
    for line in lines:
        if _PYTHON_START in line:
            frames = []
        elif frames is not None and (found := _PYTHON.match(line)):
            frames.insert(0, _Frame(found["call"] or "", f"{found['file']}:{found['line']}"))
        elif frames and (end := _PYTHON_END.match(line)):
            part = _Part(end["type"], line.strip(), frames)
            parts = [*parts, part] if is_caused else [part, *parts]
            frames = None
        elif line.strip():
            is_caused = _PYTHON_CAUSED in line if frames is None else is_caused
    return parts


def _go(lines: Sequence[str]) -> list[_Part]:
    """A panic, then the goroutine that panicked: function, then file, the deepest first."""
    panics = [found for line in lines if (found := _GO_PANIC.search(line))]
    started = [place for place, line in enumerate(lines) if _GO_ROUTINE.match(line)]
    if not panics or not started:
        return []
    frames: list[_Frame] = []
    call = ""
    for line in lines[started[0] + 1 : started[1] if len(started) > 1 else None]:
        if found := _GO_CALL.match(line):
            call = found["call"]
        elif (found := _GO_FILE.match(line)) and call:
            frames.append(_Frame(call, found["file"]))
            call = ""
    return [_Part("panic", panics[0].group().strip(), frames)]


def _ruby(lines: Sequence[str]) -> list[_Part]:
    """`file:line:in 'method': message (Type)`, then the callers; Rails has the type first."""
    frames, kind, head = [], "", ""
    for line in lines:
        if found := _RUBY.match(line):
            frames.append(_Frame(found["call"] or "", found["file"]))
        if not kind and (named := _RUBY_TYPE.search(line) or _RAILS_TYPE.search(line)):
            kind, head = named["type"], line.strip()
    return [_Part(kind, head, frames)] if kind and frames else []
