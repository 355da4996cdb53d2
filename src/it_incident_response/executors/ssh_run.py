"""One command that was run over SSH: its bounds, how it ended, and what to tell a human."""

import signal
from dataclasses import dataclass
from enum import StrEnum

from it_incident_response.domain.execution import CommandResult

_SUDO_REFUSALS = (
    "sudo: a password is required",
    "sudo: a terminal is required",
    "is not allowed to execute",
    "is not in the sudoers file",
    "may not run sudo",
)


class NotStarted(Exception):
    """The command certainly did not run; says why."""


class TerminalRefused(NotStarted):
    """The host gives this user no terminal; without one the command may be run."""


class Ending(StrEnum):
    """How a command that was started came to its end, as far as we know."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    OUTPUT_LIMIT = "output_limit"
    TIME_LIMIT = "time_limit"
    CONNECTION_LOST = "connection_lost"


@dataclass(frozen=True)
class Bounds:
    """What one command may take."""

    seconds: float
    stdout_bytes: int
    stops_at_output_limit: bool
    """False for a command that changes something: cutting it off would leave it half done."""
    has_terminal: bool = False
    """Whether it gets a terminal on the host: the only way to stop what sudo runs as root."""


@dataclass(frozen=True)
class Ended:
    """What became of one command."""

    ending: Ending
    exit_status: int | None
    signal: str | None
    """Name without `SIG`, if a signal ended it."""
    stdout: bytes
    stderr: bytes
    is_truncated: bool
    duration_s: float


@dataclass(frozen=True)
class Run:
    """One command with how it ended and its texts, made harmless."""

    command: tuple[str, ...]
    ended: Ended
    stdout: str
    stderr: str

    @property
    def is_success(self) -> bool:
        """True if it ended by itself with status 0."""
        return self.ended.ending is Ending.EXITED and self.ended.exit_status == 0

    @property
    def is_unknown(self) -> bool:
        """True if it may still run, or may have been cut off in the middle."""
        return self.ended.ending in (Ending.TIME_LIMIT, Ending.CONNECTION_LOST)

    @property
    def is_usable(self) -> bool:
        """True if its output, though perhaps cut at the limit, is what it had to say."""
        return self.is_success or self.ended.ending is Ending.OUTPUT_LIMIT

    @property
    def is_sudo_refusal(self) -> bool:
        """True if sudo did not let it run."""
        said = self.stderr or self.stdout  # on a terminal both are one
        return not self.is_success and any(text in said for text in _SUDO_REFUSALS)

    def result(self) -> CommandResult:
        """Return it as the journal keeps it; killed by signal N counts as 128+N, as shells do."""
        needs_break = self.stdout and self.stderr and not self.stdout.endswith("\n")
        return CommandResult(
            command=self.command,
            exit_status=self._status(),
            output=f"{self.stdout}{chr(10) if needs_break else ''}{self.stderr}",
            is_truncated=self.ended.is_truncated,
            duration_s=round(self.ended.duration_s, 3),
        )

    def describe_failure(self) -> str:
        """Return one line about why it is no success."""
        name = " ".join(self.command)
        seconds = f"{self.ended.duration_s:.1f} s"
        match self.ended.ending:
            case Ending.TIME_LIMIT:
                return f"`{name}` had not ended after {seconds} and was told to stop"
            case Ending.CONNECTION_LOST:
                return f"the connection broke {seconds} after `{name}` was started"
            case Ending.OUTPUT_LIMIT:
                return f"`{name}` was stopped at the output limit"
            case Ending.SIGNALLED:
                return f"`{name}` was ended by signal {self.ended.signal}"
            case Ending.EXITED:
                lines = (self.stderr or self.stdout).strip().splitlines()
                said = f": {lines[0][:300]}" if lines else ""
                return f"`{name}` exited with status {self.ended.exit_status}{said}"

    def _status(self) -> int | None:
        if self.ended.ending is Ending.SIGNALLED:
            number = getattr(signal, f"SIG{self.ended.signal}", None)
            return 128 + int(number) if number is not None else 255
        return self.ended.exit_status if self.ended.ending is Ending.EXITED else None
