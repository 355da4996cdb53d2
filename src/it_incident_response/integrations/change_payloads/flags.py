"""Feature flags: webhooks of LaunchDarkly and Unleash, recognised by their shape."""

import re
from collections.abc import Sequence
from datetime import datetime

from it_incident_response.domain.evidence import Change
from it_incident_response.errors import InputRejected
from it_incident_response.integrations.change_payloads.fields import LONG, Fields, believed
from it_incident_response.integrations.change_payloads.naming import ServiceNames

_LAUNCHDARKLY_RESOURCE = re.compile(
    r"proj/(?P<project>[^:;]+)(;[^:]*)?:env/(?P<environment>[^:;]+)(;[^:]*)?:flag/(?P<flag>[^:;]+)"
)


def read_flags(fields: Fields, received_at: datetime, names: ServiceNames) -> Sequence[Change]:
    """Return what was switched; raises `InputRejected` for a shape that is neither."""
    if fields.text("titleVerb", limit=LONG) is not None and fields.text("_id") is not None:
        return _launchdarkly(fields, received_at, names)
    if fields.text("type") is not None and fields.text("createdAt") is not None:
        return _unleash(fields, received_at, names)
    raise InputRejected(
        "neither a LaunchDarkly nor an Unleash webhook",
        hint='of other systems post {"what": "flag", "service": ..., "summary": ...} to '
        "/api/v1/changes/generic",
    )


def _launchdarkly(fields: Fields, received_at: datetime, names: ServiceNames) -> Sequence[Change]:
    if fields.text("kind") != "flag":
        return []  # members, projects, segments
    resources = fields.texts("target", "resources", limit=5)
    matches = [found for text in resources if (found := _LAUNCHDARKLY_RESOURCE.search(text))]
    place = matches[0] if matches else None
    name = fields.text("name") or (place["flag"] if place else "a flag")
    where = f" in {place['environment']}" if place else ""
    author = fields.text("member", "email") or fields.text("member", "_id")
    return [
        Change(
            change_id=f"launchdarkly:{fields.text('_id')}",
            what="flag",
            entity=names.entity(place["project"]) if place else None,
            at=believed(fields.moment("date"), received_at),
            summary=f"{fields.first_line('titleVerb')} {name}{where}"[:LONG],
            author=author,
            source="launchdarkly",
            version=place["flag"][:200] if place else None,
            link=fields.link("_links", "site", "href"),
        )
    ]


def _unleash(fields: Fields, received_at: datetime, names: ServiceNames) -> Sequence[Change]:
    kind, flag = fields.text("type") or "", fields.text("featureName")
    if flag is None:
        return []  # users, tokens, projects
    environment = fields.text("environment")
    where = f" in {environment}" if environment else ""
    identity = fields.text("id") or f"{kind}:{flag}:{fields.text('createdAt')}"
    return [
        Change(
            change_id=f"unleash:{identity}",
            what="flag",
            entity=names.entity(fields.text("project")),
            at=believed(fields.moment("createdAt"), received_at),
            summary=f"{flag}: {kind.replace('-', ' ')}{where}"[:LONG],
            author=fields.text("createdBy"),
            source="unleash",
            version=flag,
        )
    ]
