"""Commits of local git repositories, read with `git log` as a child process; never written."""

import asyncio
import os
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from it_incident_response.domain.evidence import Change, TimeWindow
from it_incident_response.errors import ConnectorError, ConnectorRejected, ConnectorUnavailable
from it_incident_response.integrations.change_payloads import ServiceNames
from it_incident_response.integrations.change_payloads.fields import (
    DIFF_MAX,
    FILES_MAX,
    LONG,
    PATH_MAX,
    SHORT,
)
from it_incident_response.ports import ChangeBatch

NAME = "git"
COMMITS_MAX = 200
"""Of one repository, the newest ones."""
WITH_DIFF = 20
"""Of so many of them, the newest ones, the difference is read too."""
OUTPUT_BYTES_MAX = 4_000_000
_SHA = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_SAFE = (
    "-c",
    "core.fsmonitor=false",  # A repository's own settings could name programs to run.
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "log.showSignature=false",
    "-c",
    "diff.external=",
    "-c",
    "core.pager=cat",
    "--no-optional-locks",
    "--literal-pathspecs",
)


class GitChanges:
    """The commits that each repository's checked-out branch got within a window."""

    def __init__(
        self,
        repositories: Sequence[Path],
        names: ServiceNames | None = None,
        *,
        budget_s: float = 8.0,
    ) -> None:
        self._repositories = tuple(path.expanduser().absolute() for path in repositories)
        self._names = names or ServiceNames()
        self._budget_s = budget_s

    async def changes(self, window: TimeWindow) -> Sequence[Change]:
        """Return the commits of the window, oldest first; raises `ConnectorError`."""
        return (await self.read_changes(window)).changes

    async def read_changes(self, window: TimeWindow) -> ChangeBatch:
        """Return the commits; a repository that cannot be read is a gap, all are an error."""
        answers = await asyncio.gather(
            *(self._of_repository(path, window) for path in self._repositories),
            return_exceptions=True,
        )
        found: list[Change] = []
        gaps: list[str] = []
        errors: list[ConnectorError] = []
        for path, answer in zip(self._repositories, answers, strict=True):
            if isinstance(answer, ConnectorError):
                errors.append(answer)
                gaps.append(f"{path.name}: {answer.message}")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer.changes
                gaps += answer.gaps
        if errors and len(errors) == len(self._repositories):
            raise errors[0]
        found.sort(key=lambda change: (change.at, change.change_id))
        return ChangeBatch(changes=tuple(found), gaps=tuple(gaps))

    async def _of_repository(self, path: Path, window: TimeWindow) -> ChangeBatch:
        try:
            async with asyncio.timeout(self._budget_s):
                return await self._log(path, window)
        except TimeoutError:
            raise ConnectorUnavailable(
                NAME, f"{path} was not read within {self._budget_s:g} s"
            ) from None

    async def _log(self, path: Path, window: TimeWindow) -> ChangeBatch:
        # Neither texts nor file names can hold NUL, and nobody can guess the mark: a commit whose
        # message looks like our form cannot pass for another one.
        mark = token_hex(16)
        # Commit times have whole seconds, and are in no order where clocks differ.
        since = int(window.start.timestamp()) - 1
        until = int((window.end + timedelta(seconds=1)).timestamp())
        output = await self._git(
            path,
            "log",
            f"--max-count={COMMITS_MAX + 1}",
            f"--since={since}",
            f"--until={until}",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-show-signature",
            "--name-only",
            "-z",
            f"--format=%x00{mark}%x00%H%x00%ct%x00%an%x00%s%x00",
            "HEAD",
            "--",
        )
        name = path.name.removesuffix(".git")
        commits = [c for c in _commits(output, mark, name) if window.start <= c.at < window.end]
        gaps = []
        if len(commits) > COMMITS_MAX:
            gaps.append(f"{name}: more than {COMMITS_MAX} commits; the older ones are left out")
        kept = commits[:COMMITS_MAX]
        entity = self._names.entity(name)
        diffs = await self._diffs(path, kept[:WITH_DIFF])
        changes = [
            c.model_copy(update={"entity": entity, "diff": diffs.get(c.version or "")})
            for c in kept
        ]
        return ChangeBatch(changes=tuple(changes), gaps=tuple(gaps))

    async def _diffs(self, path: Path, commits: Sequence[Change]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for commit in commits:
            sha = commit.version or ""
            output = await self._git(
                path,
                "show",
                "--format=",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--no-show-signature",
                "--patch",
                "--unified=3",
                sha,
                "--",
                limit=DIFF_MAX * 4,
            )
            found[sha] = output.decode("utf-8", "replace")[:DIFF_MAX]
        return found

    async def _git(self, path: Path, *arguments: str, limit: int = OUTPUT_BYTES_MAX) -> bytes:
        """Return the beginning of what git prints; raises `ConnectorError` if it fails."""
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                "-C",
                str(path),
                *_SAFE,
                *arguments,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                env=_environment(),
            )
        except OSError as error:
            raise ConnectorUnavailable(
                NAME, f"git cannot be started: {error.strerror}", hint="install git"
            ) from None
        try:
            said = asyncio.create_task(_beginning(process.stderr, 4000))
            output = await _beginning(process.stdout, limit)
            if len(output) < limit:
                status = await process.wait()
                if status != 0:
                    raise _refusal(path, (await said).decode("utf-8", "replace"))
            return output
        finally:
            said.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()


def _environment() -> dict[str, str]:
    """Return what git needs to know of ours: no variable that would point it elsewhere."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "SYSTEMROOT")}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return kept | quiet | {"GIT_NO_LAZY_FETCH": "1", "GIT_PAGER": "cat"}


async def _beginning(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    data = b""
    while stream is not None and len(data) < limit:
        part = await stream.read(min(65_536, limit - len(data)))
        if not part:
            break
        data += part
    return data


def _refusal(path: Path, said: str) -> ConnectorError:
    first = next((line for line in said.splitlines() if line.strip()), "it does not say why")
    first = "".join(char if char.isprintable() else " " for char in first)[:300]
    if "dubious ownership" in said:
        return ConnectorRejected(
            NAME,
            f"{path} belongs to another user, so git refuses to read it",
            hint=f"as the user that runs iir: git config --global --add safe.directory {path}",
        )
    if "not a git repository" in said:
        return ConnectorRejected(
            NAME, f"{path} is no git repository", hint="check infrastructure.changes.repositories"
        )
    return ConnectorRejected(NAME, f"{path} cannot be read: {first}")


def _commits(output: bytes, mark: str, repository: str) -> Iterator[Change]:
    """Yield the commits of a log, newest first; the last may be cut and is then left out."""
    for record in output.split(b"\0" + mark.encode() + b"\0")[1:]:
        parts = record.split(b"\0", 4)
        if len(parts) < 5 or not _SHA.fullmatch(parts[0]) or not parts[1].isdigit():
            continue
        sha = parts[0].decode()
        author, subject = (_text(part) for part in parts[2:4])
        names = [_text(name).strip("\n")[:PATH_MAX] for name in parts[4].split(b"\0")]
        yield Change(
            change_id=f"git:{repository}:{sha}",
            what="commit",
            at=datetime.fromtimestamp(int(parts[1]), UTC),
            summary=(subject or f"commit {sha[:12]}")[:LONG],
            author=author[:SHORT] or None,
            source="git",
            version=sha,
            files=tuple(name for name in names if name)[:FILES_MAX],
        )


def _text(part: bytes) -> str:
    return part.decode("utf-8", "replace").strip()
