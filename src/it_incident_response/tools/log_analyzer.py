"""LogAnalyzerTool: which log patterns are new or more frequent than usual."""

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from pydantic import Field

from it_incident_response.analysis.log_patterns import mine
from it_incident_response.domain.entity import EntityKind
from it_incident_response.domain.evidence import LogLevel, LogLine, LogPattern, TimeWindow
from it_incident_response.errors import ConfigError
from it_incident_response.ports.clock import Clock, SystemClock
from it_incident_response.ports.sources import LogQuery, LogSource
from it_incident_response.ports.store import IncidentStore
from it_incident_response.safety.redaction import Redactor
from it_incident_response.tools.base import MCPTool, ToolHints, ToolOutput
from it_incident_response.tools.connection import log_source
from it_incident_response.tools.scope import Scope, ScopeInput, scope_of

_LINES_SHOWN = 100
_MESSAGE_LENGTH_MAX = 500
_LEVELS = list(LogLevel)
_ADVICE = "give its base URL, such as http://localhost:9200, or `logs`, a configured source"


class LogInput(ScopeInput):
    """Whose log lines to read."""

    minimum_level: LogLevel = LogLevel.INFO
    lines_max: int = Field(default=5000, ge=1, le=50_000)


class LogOutput(ToolOutput):
    """What the logs show."""

    window: TimeWindow
    baseline: TimeWindow
    patterns: tuple[LogPattern, ...]
    """The most telling first."""
    lines_read: int
    is_truncated: bool
    """There were more lines than `lines_max`."""
    query: str
    """The exact query that anyone can run again."""
    link: str | None
    logs: tuple[dict[str, str], ...]
    """The gravest lines, at most 100, oldest first, for rules written in Python as in the guide:

    `message`, `level` in upper case, `at`, and `service` and `host` where they are known.
    """


class LogAnalyzerTool(MCPTool[LogInput, LogOutput]):
    """Reads lines of a window and of the baseline before it, and compares their patterns."""

    name: ClassVar[str] = "log-analyzer"
    description: ClassVar[str] = (
        "Reads the logs of servers and services, groups the lines into patterns and says which of "
        "them are new or more frequent than before. Secrets in them are blacked out."
    )
    input_model: ClassVar[type[LogInput]] = LogInput
    output_model: ClassVar[type[LogOutput]] = LogOutput
    hints: ClassVar[ToolHints] = ToolHints()

    def __init__(
        self,
        elasticsearch_url: str | None = None,
        *,
        logs: LogSource | None = None,
        incidents: IncidentStore | None = None,
        clock: Clock | None = None,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        """Read from `logs`, or from the Elasticsearch at `elasticsearch_url`.

        Without either, every call answers that no source is configured: nothing is simulated.
        Raises `ConfigError`.
        """
        if elasticsearch_url is not None and logs is not None:
            raise ConfigError("give either elasticsearch_url or logs, not both")
        if elasticsearch_url is not None:
            logs = log_source("elasticsearch", elasticsearch_url, advice=_ADVICE)
        self._logs = logs
        self._incidents = incidents
        self._clock = clock or SystemClock()
        self._redact = redact or Redactor().redact

    async def run(self, request: LogInput) -> LogOutput:
        """Return the patterns; raises `ConfigError`, `InputRejected`, `ConnectorError`."""
        if self._logs is None:
            raise ConfigError(
                "the log analyzer has no log source",
                hint="give `logs`, any object with `async def lines(query)`",
            )
        scope = await scope_of(request, self._clock, self._incidents)
        now, before = await asyncio.gather(
            self._logs.lines(_query(request, scope, scope.window)),
            self._logs.lines(_query(request, scope, scope.baseline)),
        )
        lines = self._redacted(now.lines)
        patterns = mine(lines, self._redacted(before.lines), scope.window, scope.baseline)
        return LogOutput(
            window=scope.window,
            baseline=scope.baseline,
            patterns=tuple(patterns),
            lines_read=len(lines),
            is_truncated=now.is_truncated,
            query=now.query,
            link=now.link,
            logs=flat_lines(lines),
        )

    def _redacted(self, lines: Sequence[LogLine]) -> Sequence[LogLine]:
        return [line.model_copy(update={"message": self._redact(line.message)}) for line in lines]


def flat_lines(lines: Sequence[LogLine]) -> tuple[dict[str, str], ...]:
    """Return the gravest lines as flat records, see `LogOutput.logs`."""
    gravest = sorted(lines, key=lambda line: -_LEVELS.index(line.level))[:_LINES_SHOWN]
    records = []
    for line in sorted(gravest, key=lambda line: line.at):
        record = {
            "message": line.message[:_MESSAGE_LENGTH_MAX],
            "level": line.level.value.upper(),
            "at": line.at.isoformat(),
        }
        optional = {"service": line.service, "host": line.host}
        records.append(record | {name: text for name, text in optional.items() if text})
    return tuple(records)


def _query(request: LogInput, scope: Scope, window: TimeWindow) -> LogQuery:
    services = scope.names(EntityKind.SERVICE)
    # A service's lines come from wherever it runs; hosts narrow only where no service is named.
    hosts = () if services else scope.names(EntityKind.HOST, EntityKind.NODE)
    return LogQuery(
        window=window,
        services=services,
        hosts=hosts,
        minimum_level=request.minimum_level,
        limit=request.lines_max,
    )
