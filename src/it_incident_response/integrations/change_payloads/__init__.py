"""What other systems post of deploys and other changes: wire shape in, `Change` out.

Every reader raises `InputRejected` for a body that is not what it claims to be, and returns
nothing for an event that changes nothing that runs. The same event read twice has the same
`change_id`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads.argocd import read_argocd
from it_incident_response.integrations.change_payloads.fields import decoded_object
from it_incident_response.integrations.change_payloads.flags import read_flags
from it_incident_response.integrations.change_payloads.generic import read_generic, read_one
from it_incident_response.integrations.change_payloads.github import read_github
from it_incident_response.integrations.change_payloads.gitlab import read_gitlab
from it_incident_response.integrations.change_payloads.naming import ServiceNames

SENDERS = ("github", "gitlab", "argocd", "flags", "generic")


def read_posted(
    sender: str,
    body: bytes,
    headers: Mapping[str, str],
    received_at: datetime,
    names: ServiceNames,
) -> Sequence[Change]:
    """Return the changes that a posted body tells; `headers` have lower-case names."""
    if sender == "generic":
        return read_generic(body, received_at, names)
    fields = decoded_object(body)
    if sender == "github":
        event = headers.get("x-github-event", "")
        if not event:
            raise InputRejected("the header X-GitHub-Event is missing")
        return read_github(event, fields, received_at, names)
    readers = {"gitlab": read_gitlab, "argocd": read_argocd, "flags": read_flags}
    return readers[sender](fields, received_at, names)


__all__ = ["SENDERS", "ServiceNames", "read_generic", "read_one", "read_posted"]
