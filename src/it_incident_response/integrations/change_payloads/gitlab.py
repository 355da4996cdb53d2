"""GitLab's webhook events: push, tag_push, deployment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads.fields import LONG, Fields, believed
from it_incident_response.integrations.change_payloads.github import COMMITS_MAX, changed_files
from it_incident_response.integrations.change_payloads.naming import ServiceNames


class _Event:
    """One event, with what every reader needs of it."""

    def __init__(self, fields: Fields, received_at: datetime, names: ServiceNames) -> None:
        project = fields.text("project", "path_with_namespace")
        if project is None:
            raise InputRejected(
                "project.path_with_namespace is missing: is this GitLab's own payload?"
            )
        self.fields = fields
        self.project = project
        self.received_at = received_at
        self.entity = names.entity(project)

    def change(self, kind: str, identity: str, at: datetime | None, **given: object) -> Change:
        given["summary"] = str(given["summary"])[:LONG]
        return Change.model_validate(
            {
                "change_id": f"gitlab:{self.project}:{kind}:{identity}",
                "entity": self.entity,
                "source": "gitlab",
                "at": believed(at, self.received_at),
                **given,
            }
        )


def read_gitlab(fields: Fields, received_at: datetime, names: ServiceNames) -> Sequence[Change]:
    """Return what the event tells; nothing for events that change nothing that runs."""
    reader = _READERS.get(fields.text("object_kind") or "")
    return list(reader(_Event(fields, received_at, names))) if reader else []


def _push(event: _Event) -> Iterator[Change]:
    fields = event.fields
    branch = fields.text("project", "default_branch") or "main"
    if fields.text("ref") != f"refs/heads/{branch}":
        return
    for commit in list(fields.each("commits", limit=10_000))[-COMMITS_MAX:]:
        sha = commit.text("id", limit=64)
        if sha is None:
            raise InputRejected("a commit of the push has no id")
        yield event.change(
            "commit",
            sha,
            None,  # GitLab does not say when it was pushed; when it was written is too early.
            what="commit",
            summary=commit.first_line("title") or commit.first_line("message") or sha[:12],
            author=commit.text("author", "name") or fields.text("user_username"),
            version=sha,
            link=commit.link("url"),
            files=changed_files(commit),
        )


def _tag(event: _Event) -> Iterator[Change]:
    fields = event.fields
    tag = (fields.text("ref") or "").removeprefix("refs/tags/")
    sha = fields.text("checkout_sha", limit=64)
    if not tag or sha is None:
        return  # Without a commit the tag was removed.
    yield event.change(
        "tag",
        f"{tag}:{sha}",
        None,
        what="release",
        summary=f"{event.project} tagged {tag}: {fields.first_line('message') or sha[:12]}",
        author=fields.text("user_username") or fields.text("user_name"),
        version=tag,
        link=fields.link("project", "web_url"),
    )


def _deployment(event: _Event) -> Iterator[Change]:
    fields = event.fields
    identity, status = fields.text("deployment_id"), fields.text("status")
    if identity is None or status is None:
        raise InputRejected("deployment_id or status is missing")
    ref, where = fields.text("ref"), fields.text("environment") or "an environment"
    title = fields.first_line("commit_title")
    version = (fields.text("commit_url", limit=1000) or "").rpartition("/")[2][:64]
    summary = f"{event.project} {ref or version[:12]} to {where}: {status}"
    yield event.change(
        "deployment",
        identity,
        fields.moment("status_changed_at"),
        what="deploy",
        summary=f"{summary} ({title})" if title else summary,
        author=fields.text("user", "username"),
        version=version or fields.text("short_sha"),
        link=fields.link("deployable_url"),
    )


_READERS: Mapping[str, Callable[[_Event], Iterator[Change]]] = {
    "push": _push,
    "tag_push": _tag,
    "deployment": _deployment,
}
