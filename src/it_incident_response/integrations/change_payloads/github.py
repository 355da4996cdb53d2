"""GitHub's webhook events: push, deployment, deployment_status, release, workflow_run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads.fields import (
    FILES_MAX,
    LONG,
    SHORT,
    Fields,
    believed,
)
from it_incident_response.integrations.change_payloads.naming import ServiceNames

COMMITS_MAX = 50
"""Commits kept of one push, the newest ones."""
_NO_COMMIT = "0" * 40
"""What `after` is when a branch was deleted."""


class _Event:
    """One event, with what every reader needs of it."""

    def __init__(self, fields: Fields, received_at: datetime, names: ServiceNames) -> None:
        repository = fields.text("repository", "full_name")
        if repository is None:
            raise InputRejected("repository.full_name is missing: is this GitHub's own payload?")
        self.fields = fields
        self.repository = repository
        self.received_at = received_at
        self.entity = names.entity(repository)
        self.branch = fields.text("repository", "default_branch") or "main"

    def change(self, kind: str, identity: str, **given: object) -> Change:
        given["at"] = believed(_moment(given.get("at")), self.received_at)
        given["summary"] = str(given["summary"])[:LONG]
        return Change.model_validate(
            {
                "change_id": f"github:{self.repository}:{kind}:{identity}",
                "entity": self.entity,
                "source": "github",
                **given,
            }
        )


def _moment(given: object) -> datetime | None:
    return given if isinstance(given, datetime) else None


def read_github(
    event: str, fields: Fields, received_at: datetime, names: ServiceNames
) -> Sequence[Change]:
    """Return what the event tells; nothing for events that change nothing that runs."""
    reader = _READERS.get(event)
    return list(reader(_Event(fields, received_at, names))) if reader else []


def _push(event: _Event) -> Iterator[Change]:
    fields = event.fields
    ref = fields.text("ref") or ""
    if ref.startswith("refs/tags/") or fields.text("after") == _NO_COMMIT:
        return
    if ref != f"refs/heads/{event.branch}":
        return  # Work in progress on another branch changes nothing that runs.
    pushed_at = fields.moment("repository", "pushed_at")
    commits = list(fields.each("commits", limit=10_000))[-COMMITS_MAX:]
    for commit in commits:
        sha = commit.text("id", limit=64)
        if sha is None:
            raise InputRejected("a commit of the push has no id")
        yield event.change(
            "commit",
            sha,
            what="commit",
            at=pushed_at,
            summary=commit.first_line("message") or f"commit {sha[:12]}",
            author=commit.text("author", "username") or commit.text("author", "name"),
            version=sha,
            link=commit.link("url"),
            files=changed_files(commit),
        )


def changed_files(commit: Fields) -> tuple[str, ...]:
    """Return the first files that a commit added, modified or removed."""
    names = chain.from_iterable(commit.texts(how) for how in ("modified", "added", "removed"))
    return tuple(islice(names, FILES_MAX))


def _deployment(event: _Event) -> Iterator[Change]:
    at = event.fields.moment("deployment", "created_at")
    yield _deployed(event, "requested", at, None)


def _deployment_status(event: _Event) -> Iterator[Change]:
    status = event.fields.inner("deployment_status")
    state = status.text("state")
    if state is None:
        raise InputRejected("deployment_status.state is missing")
    if state == "inactive":
        return  # A later deployment has taken its place; that one is told by itself.
    link = status.link("log_url") or status.link("target_url")
    yield _deployed(event, state, status.moment("created_at"), link)


def _deployed(event: _Event, state: str, at: datetime | None, link: str | None) -> Change:
    deployment = event.fields.inner("deployment")
    identity = deployment.text("id")
    if identity is None:
        raise InputRejected("deployment.id is missing")
    ref, sha = deployment.text("ref"), deployment.text("sha", limit=64)
    where = deployment.text("environment") or "an environment"
    described = deployment.first_line("description", limit=SHORT)
    summary = f"{event.repository} {ref or (sha or '')[:12]} to {where}: {state}"
    return event.change(
        "deployment",
        identity,
        what="deploy",
        at=at,
        summary=f"{summary} ({described})" if described else summary,
        author=deployment.text("creator", "login"),
        version=sha or ref,
        link=link,
    )


def _release(event: _Event) -> Iterator[Change]:
    release = event.fields.inner("release")
    if event.fields.text("action") not in ("published", "released"):
        return
    identity, tag = release.text("id"), release.text("tag_name")
    if identity is None or tag is None:
        raise InputRejected("release.id or release.tag_name is missing")
    yield event.change(
        "release",
        identity,
        what="release",
        at=release.moment("published_at"),
        summary=f"{event.repository} {tag} released: {release.first_line('name') or tag}",
        author=release.text("author", "login"),
        version=tag,
        link=release.link("html_url"),
    )


def _workflow_run(event: _Event) -> Iterator[Change]:
    run = event.fields.inner("workflow_run")
    if event.fields.text("action") != "completed" or run.text("head_branch") != event.branch:
        return
    identity = run.text("id")
    if identity is None:
        raise InputRejected("workflow_run.id is missing")
    name, conclusion = run.text("name") or "workflow", run.text("conclusion") or "ended"
    yield event.change(
        "workflow_run",
        f"{identity}:{run.text('run_attempt') or '1'}",
        what="pipeline",
        at=run.moment("updated_at"),
        summary=f"{event.repository}: {name} on {event.branch}: {conclusion}",
        author=run.text("actor", "login"),
        version=run.text("head_sha", limit=64),
        link=run.link("html_url"),
    )


_READERS: Mapping[str, Callable[[_Event], Iterator[Change]]] = {
    "push": _push,
    "deployment": _deployment,
    "deployment_status": _deployment_status,
    "release": _release,
    "workflow_run": _workflow_run,
}
