"""Changes: what was deployed or reconfigured around the incident's time."""

from collections.abc import Sequence

from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import Seen, describe_change
from it_incident_response.ports import ChangeSource

CHANGES_KEPT = 100
"""The newest ones; of a source that has more."""


async def changes_seen(source: ChangeSource, scope: Scope) -> Sequence[Seen]:
    """Return the changes from the baseline on; raises `ConnectorError`."""
    changes = await source.changes(scope.whole)
    return [
        Seen(
            source=change.source,
            summary=describe_change(change),
            finding=change,
            link=change.link,
            window=scope.whole,
            is_partial=len(changes) > CHANGES_KEPT,
        )
        for change in changes[-CHANGES_KEPT:]
    ]
