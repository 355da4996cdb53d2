"""`infrastructure.changes` and `infrastructure.topology`: what was changed, what stands where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from it_incident_response.config.connections import Section

_Name = Annotated[str, Field(min_length=1, max_length=200)]


class ChangesSection(Section):
    """`infrastructure.changes`: where deploys and other changes are learned from.

    What is posted to `/api/v1/changes/` and what we did ourselves is always among them.
    """

    github_secret: SecretStr | None = None
    """The secret of GitHub's webhook; its signature is required once this is set."""
    gitlab_token: SecretStr | None = None
    """The secret token of GitLab's webhook; required once this is set."""
    launchdarkly_secret: SecretStr | None = None
    """The secret of LaunchDarkly's signed webhook; then `/flags` takes no other sender."""
    services: Annotated[Mapping[_Name, _Name], Field(max_length=10_000)] = {}
    """Repository, project or application to the service it is; else its own last name is taken."""
    folder: Path | None = None
    """Where pipelines write `*.json` and `*.ndjson` deploy events."""
    repositories: Annotated[tuple[Path, ...], Field(max_length=100)] = ()
    """Local git repositories whose commits are read."""
    kubernetes: bool = False
    """Read events, rollouts and nodes of the cluster of `automation.deployment.kubernetes`."""

    @property
    def webhook_secrets(self) -> Mapping[str, SecretStr]:
        """The secrets that are set, by the sender's part of the path."""
        given = {
            "github": self.github_secret,
            "gitlab": self.gitlab_token,
            "flags": self.launchdarkly_secret,
        }
        return {name: secret for name, secret in given.items() if secret is not None}


class TopologySection(Section):
    """`infrastructure.topology`: who calls whom and what runs where, beside the inventory."""

    file: Path | None = None
    """YAML with `services`, `calls` and `runs_on`."""
    kubernetes: bool = False
    """Read services and pods of the cluster of `automation.deployment.kubernetes`."""
