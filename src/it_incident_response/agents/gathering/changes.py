"""Changes: what was deployed or reconfigured around the incident's time."""

from collections.abc import Sequence

from it_incident_response.agents.gathering.scope import Scope
from it_incident_response.agents.gathering.seen import Seen, describe_change, missing_part
from it_incident_response.ports import ChangeBatch, ChangeReader, ChangeSource

CHANGES_KEPT = 100
"""The newest ones; of a source that has more."""


async def changes_seen(name: str, source: ChangeSource, scope: Scope) -> Sequence[Seen]:
    """Return the changes from the baseline on; raises `ConnectorError`."""
    if isinstance(source, ChangeReader):
        batch = await source.read_changes(scope.whole)
    else:
        batch = ChangeBatch(changes=tuple(await source.changes(scope.whole)))
    return [
        *(
            Seen(
                source=change.source,
                summary=describe_change(change),
                finding=change,
                link=change.link,
                window=scope.whole,
                is_partial=len(batch.changes) > CHANGES_KEPT,
            )
            for change in batch.changes[-CHANGES_KEPT:]
        ),
        *(missing_part(f"changes {name}", reason) for reason in batch.gaps),
    ]
